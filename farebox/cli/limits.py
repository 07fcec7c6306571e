"""`farebox limits`: what each user, customer, tier or tag may spend."""

from typing import Annotated, Any, Final

import typer

from farebox.cli.context import (
    Config,
    Data,
    Json,
    Token,
    Url,
    UsageError,
    actor,
    command_group,
    directory_of,
    hint,
    keeper_of,
    print_json,
    print_table,
    remote_of,
    say,
)
from farebox.cli.values import pairs, shown_moment
from farebox.core.asking import words
from farebox.core.limit_text import FIELDS, read_limit, sentence

app = command_group("Limits: what each user, customer, tier or tag may spend.")

LimitId = Annotated[str, typer.Argument(metavar="LIMIT", help="Its id (lim_…).")]
EXPLAINED: Final = ("id", "for", "amount", "used", "held", "left", "unit", "resets (UTC)", "next call")
COLUMNS: Final = ("id", "for", "where", "amount", "window", "then", "warns at")
DETAILS: Final = (
    "per",
    "where",
    "subject",
    "amount",
    "window",
    "time_zone",
    "anchor_day",
    "action",
    "model",
    "rate",
    "warn_at",
    "strict",
    "reserve",
    "unpriced",
    "allow_unbounded",
    "min_output",
    "include_byok",
    "message",
    "created_at",
    "changed_at",
    "removed_at",
)


@app.command("set")
def set_(
    per: Annotated[
        str, typer.Option(metavar="NAME", help="Each user, tenant, tier, key, tag.NAME …; all: one amount for all.")
    ],
    amount: Annotated[str, typer.Option(metavar="TEXT", help="How much, with its unit: '5 usd', '2000 requests'.")],
    where: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only calls with this value. Repeatable.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Only this one, in place of what holds for each.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="WINDOW", help="minute, hour, day, week, month, billing or lifetime.", show_default="month"
        ),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Whose days, weeks and months.", show_default="UTC")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(metavar="ACTION", help="block, warn, dry_run, downgrade or throttle.", show_default="block"),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="What downgrade turns calls to.")] = None,
    rate: Annotated[int | None, typer.Option(metavar="N", help="Calls a minute that throttle still lets pass.")] = None,
    warn_at: Annotated[
        str | None, typer.Option(metavar="SHARES", help="When to warn, such as 0.5,0.8.", show_default="0.8")
    ] = None,
    reserve: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="Hold the expected cost of a call, or its ceiling.", show_default="expected"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Never one cent over: refuse calls whose cost has no bound.")
    ] = False,
    unpriced: Annotated[
        str | None, typer.Option(metavar="HOW", help="Models without a price: refuse or pass.", show_default="refuse")
    ] = None,
    allow_unbounded: Annotated[
        bool, typer.Option("--allow-unbounded", help="Let unbounded calls pass a strict limit.")
    ] = False,
    min_output: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Least output a strict limit leaves a call.", show_default="16")
    ] = None,
    include_byok: Annotated[
        bool, typer.Option("--include-byok", help="Count calls with the caller's own credential, too.")
    ] = False,
    anchor_day: Annotated[
        int | None, typer.Option(metavar="DAY", help="First day of a billing month.", show_default="1")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="For the end customer; may use {amount} {used} {reset_at} {tier}."),
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set a limit; one that counts the same is changed and keeps its id; what is left out is the default."""
    said: dict[str, Any] = {
        "per": per,
        "amount": amount,
        "where": pairs(where or [], "--where"),
        "subject": subject,
        "window": window,
        "time_zone": time_zone,
        "action": action,
        "model": model,
        "rate": rate,
        "warn_at": None if warn_at is None else _shares(warn_at),
        "reserve": reserve,
        "strict": strict,
        "unpriced": unpriced,
        "allow_unbounded": allow_unbounded,
        "min_output": min_output,
        "include_byok": include_byok,
        "anchor_day": anchor_day,
        "message": message,
    }
    form = {name: value for name, value in said.items() if value is not None}
    if remote := remote_of(url, token):
        made = remote.call("POST", "/limits", body=form)
    else:
        from farebox.directory.showing import limit_shown

        made = limit_shown(directory_of(data, config).limits.set(read_limit(form), by=actor()))
    if as_json:
        print_json(made)
    else:
        say(_line(made))


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List limits, oldest first."""
    if remote := remote_of(url, token):
        rows = remote.listed("/limits", removed=str(every).lower())
    else:
        from farebox.directory.showing import limit_shown

        rows = [limit_shown(row) for row in directory_of(data, config).limits.list(removed=every)]
    if as_json:
        print_json(rows)
        return
    empty = "No limits. `farebox limits set --per user --amount '5 usd'` gives each user five dollars a month."
    columns = (*COLUMNS, "removed (UTC)") if every else COLUMNS
    print_table(columns, (_cells(row)[: len(columns)] for row in rows), right=("amount",), empty=empty)


@app.command()
def show(
    limit_id: LimitId,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show one limit, with all that it says."""
    if remote := remote_of(url, token):
        row = remote.call("GET", f"/limits/{limit_id}")
    else:
        from farebox.directory.showing import limit_shown

        row = limit_shown(directory_of(data, config).limits.get(limit_id))
    if as_json:
        print_json(row)
        return
    say(_line(row))
    details = ((name, _detail(name, row[name])) for name in DETAILS if name in row)
    print_table(("field", "value"), details, empty="")


@app.command()
def remove(
    limit_id: LimitId,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """End a limit for good, in force within a second."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/limits/{limit_id}")
    else:
        from farebox.directory.showing import limit_shown

        row = limit_shown(directory_of(data, config).limits.remove(limit_id, by=actor()))
    if as_json:
        print_json(row)
    else:
        say(f"Removed {_line(row)}")


def _line(row: dict[str, Any]) -> str:
    limit = read_limit({name: row.get(name) for name in FIELDS})
    return f"{row['id']}  {sentence(limit)}"


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    whom = "all together" if row["per"] == "all" else f"each {row['per']}"
    if row["subject"] is not None:
        whom = f"{row['per']} {row['subject']}"
    zoned = "" if row["time_zone"] == "UTC" else f" ({row['time_zone']})"
    return (
        row["id"],
        whom,
        _detail("where", row["where"]),
        row["amount"],
        f"{row['window']}{zoned}",
        _then(row),
        _detail("warn_at", row["warn_at"]),
        shown_moment(row.get("removed_at")),
    )


def _then(row: dict[str, Any]) -> str:
    match row["action"]:
        case "downgrade":
            return f"downgrade to {row['model']}"
        case "throttle":
            return f"throttle to {row['rate']} a minute"
        case action:
            return f"{action} (strict)" if row["strict"] else str(action)


def _detail(name: str, value: Any) -> object:
    if name == "where":
        return ", ".join(f"{condition}={wanted}" for condition, wanted in value.items())
    if name == "warn_at":
        return ", ".join(f"{share * 100:g} %" for share in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown_moment(value) if name.endswith("_at") else value


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in words([text])]
    except ValueError:
        raise UsageError(f"--warn-at {text!r}: give shares of the amount, such as 0.5,0.8") from None


@app.command(context_settings={"allow_extra_args": True})
def explain(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Whose limits.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="The user, within the tenant.")] = None,
    who: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="Any dimension, key or tag.NAME. Repeatable."),
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Tell which limits apply to a subject, what is used and held by whom, and what its next call would get."""
    named = pairs([*(who or []), *context.args], "--where")
    named |= {name: value for name, value in (("tenant", tenant), ("user", user)) if value is not None}
    asked = {name: str(value) for name, value in named.items()}
    if remote := remote_of(url, token):
        found = remote.call("GET", "/limits/explain", params=asked)
    else:
        tags = {name[4:]: value for name, value in asked.items() if name.startswith("tag.")}
        dimensions = {name: value for name, value in asked.items() if not name.startswith("tag.")}
        with keeper_of(data, config) as keeper:
            found = keeper.call("limits_explain", {"dimensions": dimensions, "tags": tags})
    if as_json:
        print_json(found)
        return
    print_table(EXPLAINED, map(_explained, found["limits"]), empty="No limit applies.")
    for entry in found["limits"]:
        for holder in entry["holders"]:
            for call in holder["calls"]:
                hint(f"{entry['limit_id']}: call {call['event_id']} holds {call['held']} since {call['since']}")
    say(f"The next call {found['next_call']['code'].replace('_', ' ')}: {found['next_call']['why']}.")


def _explained(entry: dict[str, Any]) -> tuple[object, ...]:
    resets = entry["window"]["resets_at"]
    return (
        entry["limit_id"], f"{entry['per']} {entry['subject']}", entry["amount"], entry["used"], entry["held"],
        entry["left"], entry["unit"], shown_moment(resets) if resets else "never", entry["next_call"]["code"],
    )  # fmt: skip
