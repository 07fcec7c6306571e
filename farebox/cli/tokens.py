"""`farebox tokens`: who may use the API, and as what."""

import time
from typing import Annotated, Any, Final, Literal

import typer

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
)
from farebox.cli.values import shown_moment
from farebox.core.asking import deadline

app = command_group("Admin tokens for the API.")

Role = Literal["admin", "analyst", "ingest"]
COLUMNS: Final = ("id", "name", "role", "made (UTC)", "expires (UTC)", "state")


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for.")],
    role: Annotated[Role, typer.Option(help="admin: all; analyst: read; ingest: send events.")],
    expires: Annotated[str | None, typer.Option(metavar="WHEN", help="In how long (90d) or when (2027-01-31).")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: it is not shown again."""
    if remote := remote_of(url, token):
        made = remote.call("POST", "/tokens", body={"name": name, "role": role, "expires": expires})
    else:
        from farebox.directory.showing import token_shown

        expires_at_us = deadline(expires, _now_us()) if expires else None
        row, secret = directory_of(data, config).tokens.create(name, role, expires_at_us, by=actor())
        made = {"id": row.id, "token": secret, **token_shown(row, _now_us())}
    if as_json:
        print_json(made)
    else:
        say(made["token"])
        hint(f"{made['id']} ({name}, {role}): keep the token, it is not shown again")


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List tokens, without their secrets. With --json all of them."""
    if remote := remote_of(url, token):
        rows = remote.listed("/tokens")
    else:
        from farebox.directory.showing import token_shown

        rows = [token_shown(row, _now_us()) for row in directory_of(data, config).tokens.list()]
    if as_json:
        print_json(rows)
        return
    shown = [row for row in rows if every or row["active"]]
    print_table(COLUMNS, map(_cells, shown), empty="No tokens. `farebox tokens create NAME --role analyst` makes one.")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id (tok_…).")],
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """End a token at once."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/tokens/{token_id}")
    else:
        from farebox.directory.showing import token_shown

        row = token_shown(directory_of(data, config).tokens.revoke(token_id, by=actor()), _now_us())
    if as_json:
        print_json(row)
    else:
        say(f"Revoked {row['id']} ({row['name']}).")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    state = "active" if row["active"] else "revoked" if row["revoked_at"] else "expired"
    moments = shown_moment(row["created_at"]), shown_moment(row["expires_at"])
    return row["id"], row["name"], row["role"], *moments, state


def _now_us() -> int:
    return time.time_ns() // 1000
