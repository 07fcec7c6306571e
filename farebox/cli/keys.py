"""`farebox keys`: keys for your applications. A secret is printed once, when it is made."""

import time
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
    print_json,
    print_table,
    remote_of,
    say,
)
from farebox.cli.values import pairs, shown_moment
from farebox.core.asking import deadline, span_s, words

app = command_group("Farebox keys for your applications.")

Key = Annotated[str, typer.Argument(metavar="KEY", help="Its id (key_…), or a name that only one active key has.")]
COLUMNS: Final = ("id", "name", "bound to", "may call", "expires (UTC)", "state")


@app.command(context_settings={"allow_extra_args": True})
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    bind: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Bind to a dimension: no call can bill another. Repeatable."),
    ] = None,
    providers: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Only these providers, such as openai,anthropic.")
    ] = None,
    models: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only these models.")] = None,
    routes: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only these upstream paths, or routes by name.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Refuse calls without these, such as user,feature.")
    ] = None,
    trust: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Believe the caller on these, such as tier.")
    ] = None,
    audience: Annotated[
        str, typer.Option(metavar="WHO", help="team, or customer: never told amounts in usd.")
    ] = "team",
    allow_objects: Annotated[
        bool, typer.Option("--allow-objects", help="May list, read and delete stored objects (files, batches …).")
    ] = False,
    expires: Annotated[str | None, typer.Option(metavar="WHEN", help="In how long (90d) or when (2027-01-31).")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it: it is not shown again."""
    form: dict[str, Any] = {
        "name": name,
        "bind": pairs([*(bind or []), *context.args], "--bind"),
        "providers": _named(providers, "--providers"),
        "models": _named(models, "--models"),
        "routes": _named(routes, "--routes"),
        "require": _named(require, "--require"),
        "trust": _named(trust, "--trust"),
        "audience": _audience(audience),
        "allow_objects": allow_objects,
    }
    if remote := remote_of(url, token):
        made = remote.call("POST", "/keys", body={**form, "expires": expires})
    else:
        from farebox.directory.rows import KeySpec
        from farebox.directory.showing import key_shown

        expires_at_us = deadline(expires, _now_us()) if expires else None
        row, secret = directory_of(data, config).keys.create(KeySpec(**form, expires_at_us=expires_at_us), by=actor())
        made = {"id": row.id, "key": secret, **key_shown(row, _now_us())}
    _print_secret(made, as_json, f"{made['id']} ({name}): keep the key, it is not shown again")


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List keys, without their secrets. With --json all of them."""
    if remote := remote_of(url, token):
        rows = remote.listed("/keys")
    else:
        from farebox.directory.showing import key_shown

        rows = [key_shown(row, _now_us()) for row in directory_of(data, config).keys.list()]
    if as_json:
        print_json(rows)
        return
    shown = [row for row in rows if every or row["active"]]
    print_table(COLUMNS, map(_cells, shown), empty="No keys. `farebox keys create NAME` makes one.")


@app.command()
def rotate(
    key: Key,
    overlap: Annotated[str, typer.Option(metavar="SPAN", help="How long the old secret goes on, such as 24h.")] = "0s",
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Give a key a new secret and print it; the old one ends when the overlap does."""
    overlap_s = span_s(overlap)
    if remote := remote_of(url, token):
        made = remote.call("POST", f"/keys/{key}/rotate", body={"overlap": overlap})
    else:
        from farebox.directory.showing import key_shown

        row, secret = directory_of(data, config).keys.rotate(key, overlap_s, by=actor())
        made = {"id": row.id, "key": secret, **key_shown(row, _now_us())}
    until = f"the old secret works {overlap} more" if overlap_s else "the old secret has ended"
    _print_secret(made, as_json, f"{made['id']} ({made['name']}): {until}; keep the new one, it is not shown again")


@app.command()
def revoke(
    key: Key, data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """End a key for good, in force within a second."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/keys/{key}")
    else:
        from farebox.directory.showing import key_shown

        row = key_shown(directory_of(data, config).keys.revoke(key, by=actor()), _now_us())
    if as_json:
        print_json(row)
    else:
        say(f"Revoked {row['id']} ({row['name']}).")


def _print_secret(made: dict[str, Any], as_json: bool, note: str) -> None:
    if as_json:
        print_json(made)
    else:
        say(made["key"])
        hint(note)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    bound = ", ".join(f"{name}={value}" for name, value in row["bind"].items())
    limits = ", ".join([*row["providers"], *row["models"], *row["routes"]]) or "anything"
    state = "active" if row["active"] else "revoked" if row["revoked_at"] else "expired"
    return row["id"], row["name"], bound, limits, shown_moment(row["expires_at"]), state


def _named(given: list[str] | None, option: str) -> tuple[str, ...]:
    """The names of an option. One that names nothing is no restriction, and nobody writes it to say so."""
    names = words(given or [])
    if given and not names:
        raise UsageError(f"{option} names nothing: give at least one, or leave it out")
    return names


def _audience(text: str) -> str:
    if text not in ("team", "customer"):
        raise UsageError(f"--audience {text!r}: give team or customer")
    return text


def _now_us() -> int:
    return time.time_ns() // 1000
