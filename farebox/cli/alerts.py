"""`farebox alerts`: what is watched for, what was found, and whether it arrived."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    fail,
    print_json,
    print_table,
    remote_of,
    say,
    settings_of,
)
from farebox.cli.values import pairs, shown_moment
from farebox.core.alert_rules import BY_KIND, HOURLY_MAX, KINDS, read_spec
from farebox.core.asking import words

if TYPE_CHECKING:
    from farebox.alerts.outbox import Outbox

app = command_group("What is watched for, what was found, and whether it arrived.")

RuleId = Annotated[str, typer.Argument(metavar="RULE", help="Its id (alr_…).")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME=VALUE", help="A number of the rule, such as factor=4. Repeatable."),
]
Channels = Annotated[
    list[str] | None, typer.Option("--channel", metavar="CHANNEL", help="Who is told, by name or id. Repeatable.")
]
HourlyMax = Annotated[
    int | None, typer.Option(metavar="N", help="Messages an hour; beyond them one says so.", show_default="100")
]
Count = Annotated[int, typer.Option("--top", metavar="N", help="So many of the newest.", min=1, max=1000)]
COLUMNS: Final = ("id", "kind", "when", "channels", "state")
HISTORY: Final = ("id", "at (UTC)", "what", "delivered")
DEAD: Final = ("id", "given up (UTC)", "channel", "what", "attempts", "why")
SEVERAL: Final = ("limits", "shares")
"""Numbers that are lists: written with commas."""


@app.command("list")
def list_(
    data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """List alert rules, oldest first."""
    if remote := remote_of(url, token):
        rows, channels = remote.listed("/alerts"), remote.listed("/channels")
    else:
        from farebox.directory.showing import channel_shown, rule_shown

        directory = directory_of(data, config)
        rows = [rule_shown(row) for row in directory.alert_rules.list()]
        channels = [channel_shown(row) for row in directory.channels.list()]
    if as_json:
        print_json(rows)
        return
    names = {row["id"]: row["name"] for row in channels}
    empty = "No alert rules. `farebox alerts set limit` watches limits; `farebox alerts kinds` shows what there is."
    print_table(COLUMNS, (_cells(row, names) for row in rows), empty=empty)


app.command("rules", help="The same as list.", hidden=True)(list_)


@app.command()
def kinds(as_json: Json = False) -> None:
    """Show what can be watched for, and with which numbers."""
    from farebox.core.alert_rules import fields, shown_spec

    shown = [
        {"kind": kind, "about": spec.about, "fields": fields(spec), "defaults": shown_spec(spec())}
        for kind, spec in BY_KIND.items()
    ]
    if as_json:
        print_json(shown)
        return
    for kind, spec in BY_KIND.items():
        say(f"{kind}: {spec.about}")
        defaults = shown_spec(spec())
        for name, about in fields(spec).items():
            say(f"  {name} = {_written(defaults[name]) or '(none)'}: {about}")


@app.command("set")
def set_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))],
    numbers: With = None,
    channel: Channels = None,
    hourly_max: HourlyMax = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make an alert rule; `farebox alerts kinds` shows the numbers that each has."""
    spec = _numbers(numbers)
    most = HOURLY_MAX if hourly_max is None else hourly_max
    if remote := remote_of(url, token):
        body = {"kind": kind, "spec": spec, "channels": channel or [], "hourly_max": most}
        row = remote.call("POST", "/alerts", body=body)
    else:
        from farebox.directory.showing import rule_shown

        rules = directory_of(data, config).alert_rules
        row = rule_shown(rules.set(read_spec(kind, spec), channel or (), hourly_max=most, by=actor()))
    _tell(row, as_json)


@app.command()
def change(
    rule_id: RuleId,
    numbers: With = None,
    channel: Channels = None,
    no_channel: Annotated[bool, typer.Option("--no-channel", help="Tell nobody: only the history.")] = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Watch, or do not.")] = None,
    hourly_max: HourlyMax = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change a rule; what is left out stays. --channel names all who are told."""
    given: dict[str, Any] = {
        "spec": _numbers(numbers) or None,
        "channels": [] if no_channel else channel or None,
        "enabled": enable,
        "hourly_max": hourly_max,
    }
    if remote := remote_of(url, token):
        body = {name: value for name, value in given.items() if value is not None}
        row = remote.call("PATCH", f"/alerts/{rule_id}", body=body)
    else:
        from farebox.directory.showing import rule_shown

        spec = given.pop("spec")
        row = rule_shown(directory_of(data, config).alert_rules.change(rule_id, spec, by=actor(), **given))
    _tell(row, as_json)


@app.command()
def remove(
    rule_id: RuleId,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Forget a rule; what it found stays in the history."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/alerts/{rule_id}")
    else:
        row = directory_of(data, config).alert_rules.remove(rule_id, by=actor())
    if as_json:
        print_json(row)
    else:
        say(f"Removed {row['id']} ({row['kind']}).")


@app.command()
def history(
    top: Count = 50,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only of this kind.")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show what was found, newest first, and whether it was delivered."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind!r}: give {', '.join(KINDS)}")
    if remote := remote_of(url, token):
        params = {"limit": top, **({"kind": kind} if kind else {})}
        rows = remote.call("GET", "/alerts/history", params=params)["data"]
    else:
        from farebox.alerts.showing import alert_shown

        with _outbox(data, config) as outbox:
            rows = [alert_shown(*found) for found in outbox.history(top, None, kind)]
    if as_json:
        print_json(rows)
        return
    cells = ((row["id"], shown_moment(row["at"]), row["text"], _delivered(row)) for row in rows)
    print_table(HISTORY, cells, empty="Nothing was found yet. `farebox alerts list` shows what is watched for.")


@app.command()
def dead(
    top: Count = 50,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show messages that were given up, newest first."""
    if remote := remote_of(url, token):
        rows = remote.call("GET", "/alerts/dead", params={"limit": top})["data"]
    else:
        from farebox.alerts.showing import letter_shown

        with _outbox(data, config) as outbox:
            rows = [letter_shown(row) for row in outbox.dead(top)]
    if as_json:
        print_json(rows)
        return
    cells = (
        (row["id"], shown_moment(row["changed_at"]), row["channel"], row["title"], row["attempts"], row["error"])
        for row in rows
    )
    print_table(DEAD, cells, right=("attempts",), empty="No dead letters.")


@app.command()
def retry(
    entry_id: Annotated[
        str, typer.Argument(metavar="ID", help="A dead letter (dlv_…), or an alert (al_…) for all of its own.")
    ],
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send a dead letter again."""
    if remote := remote_of(url, token):
        rows = remote.call("POST", f"/alerts/dead/{entry_id}/retry")["data"]
    else:
        from farebox.alerts.showing import letter_shown

        with _outbox(data, config) as outbox:
            rows = [letter_shown(row) for row in outbox.retry(entry_id, _now_us())]
    if as_json:
        print_json(rows)
    else:
        say(f"{len(rows)} to be sent again: a running server does so within a second.")


@app.command()
def test(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its id (chn_…) or name.")],
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send a test message now, and say whether it was taken: exit code 1 where it was not."""
    if remote := remote_of(url, token):
        outcome = remote.call("POST", f"/channels/{channel}/test")
    else:
        outcome = _test(channel, data, config)
    if as_json:
        print_json(outcome)
    if not outcome["ok"]:
        fail(f"channel {channel} did not take the message: {outcome['error']}")
    if not as_json:
        say(f"Channel {channel} took the message.")


def _test(channel: str, data: Data, config: Config) -> dict[str, Any]:
    from farebox.alerts.dispatcher import send_test
    from farebox.control.alerting import target_of
    from farebox.errors import DeliveryFailed

    directory = directory_of(data, config)
    target = target_of(directory, directory.channels.get(channel))
    try:
        send_test(target, _now_us(), settings_of(data, config).alerts.dashboard_url)
    except DeliveryFailed as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, "error": None}


@contextmanager
def _outbox(data: Path | None, config: Path | None) -> "Iterator[Outbox]":
    from farebox.alerts.outbox import FILE_NAME, Outbox
    from farebox.settings import private_dir

    settings = settings_of(data, config)
    private_dir(settings.data)
    outbox = Outbox(settings.data / FILE_NAME)
    try:
        yield outbox
    finally:
        outbox.close()


def _numbers(given: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = dict(pairs(given or [], "--with"))
    return {name: list(words([value])) if name in SEVERAL else value for name, value in found.items()}


def _tell(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(row)
    else:
        say(_line(row))


def _line(row: dict[str, Any]) -> str:
    return f"{row['id']}  {row['kind']}: {row['about']}"


def _cells(row: dict[str, Any], names: dict[str, str]) -> tuple[object, ...]:
    numbers = ", ".join(f"{name}={_written(value)}" for name, value in row["spec"].items() if _written(value))
    told = ", ".join(names.get(channel, channel) for channel in row["channels"])
    state = "watching" if row["enabled"] else "disabled"
    return row["id"], row["kind"], numbers, told or "only the history", state


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _delivered(row: dict[str, Any]) -> str:
    if row["held_back"]:
        return "held back: hourly_max"
    told = []
    for entry in row["deliveries"]:
        why = f" ({entry['error']})" if entry["error"] else ""
        told.append(f"{entry['channel']} {entry['state']}{why}")
    return ", ".join(told)


def _now_us() -> int:
    return time.time_ns() // 1000
