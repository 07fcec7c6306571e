"""`farebox limits`: what each user, customer, tier or tag may spend."""

from contextlib import closing
from typing import Annotated, Any, Final

import typer

from farebox.cli import limit_options as options
from farebox.cli.context import (
    Config,
    Data,
    Json,
    Token,
    Url,
    actor,
    command_group,
    directory_of,
    hint,
    print_json,
    print_table,
    remote_of,
    say,
    settings_of,
)
from farebox.cli.ledgers import connected
from farebox.cli.values import pairs, shown_moment
from farebox.core.limit_text import FIELDS, read_limit, sentence
from farebox.core.limits import Limit
from farebox.settings import Settings

app = command_group("Limits: what each user, customer, tier or tag may spend.")

LimitId = Annotated[str, typer.Argument(metavar="LIMIT", help="Its id (lim_…).")]
VERDICTS: Final = {
    "passes": "passes",
    "downgraded": "is downgraded",
    "throttled": "is throttled",
    "limit_exceeded": "is refused (limit_exceeded)",
    "limit_busy": "is refused (limit_busy)",
}
"""What becomes of a call, in words."""
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
    per: Annotated[str, options.PER],
    amount: Annotated[str, options.AMOUNT],
    where: options.Where = None,
    subject: options.Subject = None,
    window: options.Window = None,
    time_zone: options.TimeZone = None,
    action: options.Action = None,
    model: options.Model = None,
    rate: options.Rate = None,
    warn_at: options.WarnAt = None,
    reserve: options.Reserve = None,
    strict: options.Strict = False,
    unpriced: options.Unpriced = None,
    allow_unbounded: options.AllowUnbounded = False,
    min_output: options.MinOutput = None,
    include_byok: options.IncludeByok = False,
    anchor_day: options.AnchorDay = None,
    message: options.Message = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set a limit; one that counts the same is changed and keeps its id; what is left out is the default."""
    form = options.written(
        per=per, amount=amount, where=where, subject=subject, window=window, time_zone=time_zone, action=action,
        model=model, rate=rate, warn_at=warn_at, reserve=reserve, unpriced=unpriced, min_output=min_output,
        anchor_day=anchor_day, message=message,
        flags={"strict": strict, "allow_unbounded": allow_unbounded, "include_byok": include_byok},
    )  # fmt: skip
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
        found = _explained_here(settings_of(data, config), {"dimensions": dimensions, "tags": tags})
    if as_json:
        print_json(found)
        return
    print_table(EXPLAINED, map(_explained, found["limits"]), empty="No limit applies.")
    for entry in found["limits"]:
        for holder in entry["holders"]:
            for call in holder["calls"]:
                hint(f"{entry['limit_id']}: call {call['event_id']} holds {call['held']} since {call['since']}")
    say(f"The next call {VERDICTS[found['next_call']['code']]}: {found['next_call']['why']}.")


def _explained_here(settings: Settings, asked: dict[str, Any]) -> dict[str, Any]:
    """By the running keeper, which knows who holds what, else from the ledger."""
    from farebox.directory.store import Directory
    from farebox.directory.watch import directory_path
    from farebox.ledger.client import KeeperClient

    with closing(connected(settings)) as client:
        if isinstance(client, KeeperClient):
            answered: dict[str, Any] = client.call("limits_explain", asked)
            return answered
        from farebox.keeper.explaining import explain_alone  # loads the store

        limits: tuple[Limit, ...] = ()
        if directory_path(settings).exists():
            with closing(Directory.open(settings)) as directory:
                limits = tuple(row.limit for row in directory.limits.list())
        return explain_alone(client.ledger, limits, asked)


def _explained(entry: dict[str, Any]) -> tuple[object, ...]:
    resets = entry["window"]["resets_at"]
    return (
        entry["limit_id"], f"{entry['per']} {entry['subject']}", entry["amount"], entry["used"], entry["held"],
        entry["left"], entry["unit"], shown_moment(resets) if resets else "never", entry["next_call"]["code"],
    )  # fmt: skip
