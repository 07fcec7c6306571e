"""`farebox channels`: where alerts are sent."""

import sys
from typing import Annotated, Any, Final, Literal

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
    print_json,
    print_table,
    remote_of,
    say,
)
from farebox.cli.values import shown_moment

app = command_group("Where alerts are sent: Slack, Teams, e-mail, webhooks …")

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its id (chn_…) or name.")]
COLUMNS: Final = ("id", "name", "kind", "address", "made (UTC)", "state")
FROM_STDIN: Final = "-"


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What rules call it, such as ops.")],
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="slack://…, workflows://…, mailtos://… (appriseit.com/services), or https://… for a webhook. "
            "- reads it from standard input, so that no shell keeps it.",
        ),
    ],
    kind: Annotated[
        Literal["apprise", "webhook"] | None,
        typer.Option(help="webhook for http:// and https://, else apprise.", show_default=False),
    ] = None,
    to: Annotated[
        Literal["owner"] | None, typer.Option(help="E-mail to the owner of the customer that an alert is about.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="A webhook in a private network; http:// then, too.")
    ] = False,
    all_rules: Annotated[bool, typer.Option("--all-rules", help="Add it to every alert rule there is.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Add a channel. A webhook's secret is printed once."""
    where = sys.stdin.readline().strip() if address == FROM_STDIN else address
    if not where:
        raise UsageError("there is no address on standard input")
    kind = kind or ("webhook" if where.startswith(("http://", "https://")) else "apprise")
    if remote := remote_of(url, token):
        form = {"name": name, "kind": kind, "url": where, "to": to}
        made = remote.call("POST", "/channels", body={**form, "allow_private": allow_private, "all_rules": all_rules})
    else:
        made = _add(directory_of(data, config), name, kind, where, to or "", allow_private, all_rules)
    if as_json:
        print_json(made)
        return
    if made.get("secret"):
        say(made["secret"])
        hint("this secret signs the messages (x-farebox-signature): keep it, it is not shown again")
    hint(f"{made['id']} ({name}, {made['hint']}): try it with `farebox alerts test {name}`")
    if not all_rules:
        hint(f"to tell it of what a rule finds: `farebox alerts change RULE --channel {name}`")


def _add(
    directory: Any, name: str, kind: str, address: str, to: str, allow_private: bool, all_rules: bool
) -> dict[str, Any]:
    from farebox.alerts.apprise import understood
    from farebox.directory.showing import channel_shown

    if kind == "apprise":
        understood(address)
    row, secret = directory.channels.add(name, kind, address, to=to, allow_private=allow_private, by=actor())
    if all_rules:
        directory.alert_rules.tell_all(row.id, by=actor())
    return {**channel_shown(row), **({"secret": secret} if secret else {})}


@app.command("list")
def list_(
    data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """List channels, without their addresses."""
    if remote := remote_of(url, token):
        rows = remote.listed("/channels")
    else:
        from farebox.directory.showing import channel_shown

        rows = [channel_shown(row) for row in directory_of(data, config).channels.list()]
    if as_json:
        print_json(rows)
        return
    empty = "No channels. `farebox channels add ops slack://… --all-rules` sends alerts to Slack."
    print_table(COLUMNS, map(_cells, rows), empty=empty)


@app.command()
def disable(
    channel: Channel,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send nothing there until it is enabled again."""
    _switch(channel, False, data, config, url, token, as_json)


@app.command()
def enable(
    channel: Channel,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Send there again."""
    _switch(channel, True, data, config, url, token, as_json)


@app.command()
def remove(
    channel: Channel,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Forget a channel; rules go on without it."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/channels/{channel}")
    else:
        from farebox.directory.showing import channel_shown

        row = channel_shown(directory_of(data, config).channels.remove(channel, by=actor()))
    if as_json:
        print_json(row)
    else:
        say(f"Removed {row['id']} ({row['name']}).")


def _switch(channel: str, enabled: bool, data: Data, config: Config, url: Url, token: Token, as_json: bool) -> None:
    row: Any
    if remote := remote_of(url, token):
        row = remote.call("PATCH", f"/channels/{channel}", body={"enabled": enabled})
    else:
        from farebox.directory.showing import channel_shown

        channels = directory_of(data, config).channels
        changed = channels.enable(channel, actor()) if enabled else channels.disable(channel, "by hand", actor())
        row = channel_shown(changed)
    if as_json:
        print_json(row)
    else:
        say(f"{'Enabled' if enabled else 'Disabled'} {row['id']} ({row['name']}).")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    state = "enabled" if row["enabled"] else f"disabled: {row['note']}"
    address = f"{row['hint']} to the owner" if row["to"] else row["hint"]
    return row["id"], row["name"], row["kind"], address, shown_moment(row["created_at"]), state
