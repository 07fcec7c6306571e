"""`farebox customers portal`: links by which a customer sees its own usage."""

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
    directory_of,
    hint,
    print_json,
    print_table,
    remote_of,
    say,
    settings_of,
)
from farebox.cli.plans import quoted
from farebox.cli.values import shown_moment
from farebox.core.asking import deadline
from farebox.supervisor.lock import running

COLUMNS: Final = ("id", "user", "made (UTC)", "expires (UTC)", "state")


def portal(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The customer, as calls name it.")],
    expires: Annotated[str, typer.Option(metavar="WHEN", help="In how long (24h) or when (2027-01-31).")] = "1h",
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only this user's own usage.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="A site that may show it in a frame. Repeatable.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the customer's links; make none.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="End this link (ptl_…) at once; make none.")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a link by which a customer sees its own usage: units and shares, never money."""
    if listed and revoke:
        raise UsageError("give --list or --revoke, not both")
    if listed:
        _list(tenant, data, config, url, token, as_json)
    elif revoke:
        _revoke(tenant, revoke, data, config, url, token, as_json)
    else:
        form = {"expires_in": expires, "user": user, "origins": origin or []}
        _create(tenant, form, data, config, url, token, as_json)


def _create(tenant: str, form: dict[str, Any], data: Any, config: Any, url: Any, token: Any, as_json: bool) -> None:
    if remote := remote_of(url, token):
        made = remote.call("POST", f"/customers/{quoted(tenant)}/portal-tokens", body=form)
    else:
        from farebox.directory.showing import portal_shown

        now_us = _now_us()
        expires_at_us = deadline(form["expires_in"], now_us)
        row, secret = directory_of(data, config).portal_tokens.create(
            tenant, expires_at_us, form["user"], form["origins"], by=actor()
        )
        address = f"{_base(data, config)}/portal/{secret}"
        made = {"url": address, "token": secret, **portal_shown(row, now_us)}
    if as_json:
        print_json(made)
    else:
        say(made["url"])
        hint(f"{made['id']} (until {shown_moment(made['expires_at'])} UTC): whoever has the link can look")


def _list(tenant: str, data: Any, config: Any, url: Any, token: Any, as_json: bool) -> None:
    if remote := remote_of(url, token):
        rows = remote.listed(f"/customers/{quoted(tenant)}/portal-tokens")
    else:
        from farebox.directory.showing import portal_shown

        rows = [portal_shown(row, _now_us()) for row in directory_of(data, config).portal_tokens.list(tenant)]
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, map(_cells, rows), empty="No links. `farebox customers portal TENANT` makes one.")


def _revoke(tenant: str, link: str, data: Any, config: Any, url: Any, token: Any, as_json: bool) -> None:
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/customers/{quoted(tenant)}/portal-tokens/{quoted(link)}")
    else:
        from farebox.directory.showing import portal_shown

        revoked = directory_of(data, config).portal_tokens.revoke(tenant, link, by=actor())
        row = portal_shown(revoked, _now_us())
    if as_json:
        print_json(row)
    else:
        say(f"Revoked {row['id']}.")


def _base(data: Any, config: Any) -> str:
    settings = settings_of(data, config)
    note = running(settings.data)
    return settings.alerts.dashboard_url.rstrip("/") or (note.url if note else "") or "http://HOST:PORT"


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    state = "active" if row["active"] else "revoked" if row["revoked_at"] else "expired"
    return row["id"], row["user"], shown_moment(row["created_at"]), shown_moment(row["expires_at"]), state


def _now_us() -> int:
    return time.time_ns() // 1000
