"""`farebox users`: who may open the dashboard. On the server itself: whoever can read its data may let people in."""

from typing import Annotated, Final, Literal

import typer

from farebox.cli.context import (
    Config,
    Data,
    Json,
    actor,
    command_group,
    directory_of,
    hint,
    print_json,
    print_table,
    say,
)
from farebox.cli.values import shown_moment
from farebox.core.events import iso_us
from farebox.directory.rows import UserRow
from farebox.supervisor.lock import running

app = command_group("Who may open the dashboard, and links to get in.")

Role = Literal["admin", "analyst"]
COLUMNS: Final = ("id", "name", "role", "password", "made (UTC)", "last seen (UTC)")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or e-mail address.")]


@app.command()
def create(
    name: Name,
    role: Annotated[Role, typer.Option(help="admin: all; analyst: read.")],
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a user, and a link by which they set a password."""
    users = directory_of(data, config).users
    row = users.create(name, role, by=actor())
    _print_link(row, users.make_link(row.id, by=actor()), data, config, as_json)


@app.command("list")
def list_(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """List users."""
    rows = directory_of(data, config).users.list()
    if as_json:
        print_json([_shown(row) for row in rows])
        return
    cells = [
        (
            row.id,
            row.name,
            row.role,
            "set" if row.has_password else "none",
            shown_moment(iso_us(row.created_at_us)),
            shown_moment(None if row.seen_at_us is None else iso_us(row.seen_at_us)),
        )
        for row in rows
    ]
    print_table(COLUMNS, cells, empty="No users. `farebox serve` prints a link that makes the first one.")


@app.command()
def link(name: Name, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """A new login link: works once, for an hour, and sets a new password. Sessions go on until it is used."""
    users = directory_of(data, config).users
    row = users.get(name)
    _print_link(row, users.make_link(row.id, by=actor()), data, config, as_json)


@app.command()
def remove(name: Name, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Remove a user; their sessions end at once. The last admin stays."""
    row = directory_of(data, config).users.remove(name, by=actor())
    if as_json:
        print_json(_shown(row))
    else:
        say(f"Removed {row.name} ({row.id}).")


def _print_link(row: UserRow, secret: str, data: Data, config: Config, as_json: bool) -> None:
    from farebox.cli.context import settings_of

    settings = settings_of(data, config)
    note = running(settings.data)
    base = settings.alerts.dashboard_url.rstrip("/") or (note.url if note else "")
    url = f"{base or 'http://HOST:PORT'}/login/link/{secret}"
    if as_json:
        print_json({**_shown(row), "link": url})
        return
    say(url)
    hint(f"{row.name} ({row.role}): the link works once, for an hour, and sets a password")


def _shown(row: UserRow) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "has_password": row.has_password,
        "created_at": iso_us(row.created_at_us),
        "seen_at": None if row.seen_at_us is None else iso_us(row.seen_at_us),
    }
