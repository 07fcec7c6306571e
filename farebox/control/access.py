"""Who may call what: every route declares a role, and `undeclared` finds one that does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import FastAPI, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.concurrency import run_in_threadpool

from farebox.control.answers import ApiError
from farebox.directory.portal_tokens import PORTAL_PREFIX
from farebox.directory.portal_tokens import SECRET_CHARS_MAX as PORTAL_CHARS_MAX
from farebox.directory.rows import KeyRow, PortalRow
from farebox.directory.store import Directory
from farebox.portal.pace import Pace

Role = Literal["admin", "analyst", "ingest"]
MAY: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset({"admin", "analyst", "ingest"}),
    "analyst": frozenset({"analyst"}),
    "ingest": frozenset({"ingest"}),
}
"""What a token's role may do: an admin everything, an analyst read, an ingester send events."""

TOKEN_PREFIX: Final = "fba_"  # noqa: S105  (a public prefix)
KEY_PREFIX: Final = "fbx_"
TOKEN_CHARS_MAX: Final = 200
FAILURES_PER_MINUTE: Final = 30
SOURCES_MAX: Final = 4096
VIEWS_PER_MINUTE: Final = 60
"""Answers to one link of a customer's."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever a token stands for."""

    id: str
    name: str
    role: str


FindToken = Callable[[str], Caller | None]
"""The caller of a raw token, None for an unknown, expired or revoked one. May block."""


FindKey = Callable[[str], KeyRow | None]


def _no_key(_secret: str) -> KeyRow | None:
    return None


FindPortal = Callable[[str], PortalRow | None]


def _no_portal(_secret: str) -> PortalRow | None:
    return None


def portal_finder(store: Directory, now_us: Callable[[], int]) -> FindPortal:
    return lambda secret: store.portal_tokens.verify(secret, now_us())


def key_finder(store: Directory, now_us: Callable[[], int]) -> FindKey:
    return lambda secret: store.keys.verify(secret, now_us())


def token_finder(store: Directory, now_us: Callable[[], int]) -> FindToken:
    """Looks tokens up where they are stored, so that a revoked one ends at once."""

    def find(token: str) -> Caller | None:
        row = store.tokens.verify(token, now_us())
        return None if row is None else Caller(row.id, row.name, row.role)

    return find


class Needs:
    """A dependency that lets a role pass: `dependencies=[needs("analyst")]`."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Caller:
        """Raises 401 without a valid token, 403 where its role is not enough, 429 after many failures."""
        access: Access = request.app.state.access
        caller = await access.caller(bearer(request.headers.get("authorization")), _source(request))
        if self.role not in MAY.get(caller.role, frozenset()):
            raise ApiError(
                403,
                "forbidden",
                f"this route needs a token with role {self.role}; {caller.name!r} has role {caller.role}",
                {"needs": self.role, "role": caller.role},
            )
        request.state.caller = caller
        return caller


class Takes(Needs):
    """A dependency that lets senders of events pass: a token with role ingest, or a Farebox key, whose bindings then
    hold for each event (`request.state.key`)."""

    def __init__(self) -> None:
        super().__init__("ingest")

    async def __call__(self, request: Request) -> Caller:
        request.state.key = None
        secret = request.headers.get("x-farebox-key") or bearer(request.headers.get("authorization")) or ""
        if not secret.startswith(KEY_PREFIX):
            return await super().__call__(request)
        access: Access = request.app.state.access
        key = await access.key(secret, _source(request))
        request.state.key = key
        request.state.caller = caller = Caller(key.id, key.name, "key")
        return caller


class Shows(Needs):
    """A dependency that lets analysts pass, and whoever has a link to the portal of the customer in the path, whose
    user, if any, then holds for the answer (`request.state.portal`)."""

    def __init__(self) -> None:
        super().__init__("analyst")

    async def __call__(self, request: Request) -> Caller:
        request.state.portal = None
        secret = bearer(request.headers.get("authorization")) or ""
        if not secret.startswith(PORTAL_PREFIX):
            return await super().__call__(request)
        access: Access = request.app.state.access
        found = await access.portal(secret, _source(request))
        if found.tenant != request.path_params.get("tenant"):
            raise ApiError(403, "forbidden", "this link is for another customer")
        request.state.portal = found
        request.state.caller = caller = Caller(found.id, found.tenant, "portal")
        return caller


class Public:
    """A dependency that lets anyone pass and says why that is right."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def __call__(self) -> None:
        return None


def needs(role: Role) -> Depends:
    return Depends(Needs(role))


def takes_events() -> Depends:
    return Depends(Takes())


def shows_usage() -> Depends:
    return Depends(Shows())


def public(reason: str) -> Depends:
    return Depends(Public(reason))


class Failures:
    """Failed attempts by source and minute. Only failures are slowed down: a valid token always passes, so that
    nobody can lock an owner out. Bounded: the table is emptied each minute and holds SOURCES_MAX sources."""

    def __init__(self) -> None:
        self._minute = -1
        self._counts: dict[str, int] = {}

    def add(self, source: str, now_s: float) -> bool:
        """Count one; whether the source is over its share."""
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        if source not in self._counts and len(self._counts) >= SOURCES_MAX:
            source = ""
        self._counts[source] = self._counts.get(source, 0) + 1
        return self._counts[source] > FAILURES_PER_MINUTE


class Access:
    """Checks tokens. `find` hashes the whole token (HMAC-SHA-256) and looks the hash up, so that neither the
    comparison's time nor a prefix says anything of a stored token."""

    def __init__(
        self,
        find: FindToken,
        clock_s: Callable[[], float],
        find_key: FindKey = _no_key,
        find_portal: FindPortal = _no_portal,
    ) -> None:
        self._find = find
        self._find_key = find_key
        self._find_portal = find_portal
        self._views = Pace(VIEWS_PER_MINUTE, clock_s)
        self._clock_s = clock_s
        self._failures = Failures()

    async def caller(self, token: str | None, source: str) -> Caller:
        found = None
        if token and token.startswith(TOKEN_PREFIX) and len(token) <= TOKEN_CHARS_MAX:
            found = await run_in_threadpool(self._find, token)
        if found is not None:
            return found
        raise self._refused(_what_is_wrong(token), source)

    async def key(self, secret: str, source: str) -> KeyRow:
        """The active Farebox key of a secret."""
        found = await run_in_threadpool(self._find_key, secret) if len(secret) <= TOKEN_CHARS_MAX else None
        if found is not None:
            return found
        raise self._refused("this Farebox key is unknown, expired or revoked: `farebox keys create NAME`", source)

    async def portal(self, secret: str, source: str) -> PortalRow:
        """The active link of a portal token."""
        found = await run_in_threadpool(self._find_portal, secret) if len(secret) <= PORTAL_CHARS_MAX else None
        if found is None:
            raise self._refused("this link is unknown, expired or revoked: ask for a new one", source)
        if not self._views.allows(found.id):
            wait = "this link was asked too often; try again in a minute"
            raise ApiError(429, "too_many_requests", wait, headers={"retry-after": "60"})
        return found

    def _refused(self, why: str, source: str) -> ApiError:
        if not self._failures.add(source, self._clock_s()):
            return ApiError(401, "invalid_token", why, headers={"www-authenticate": "Bearer"})
        wait = "too many failed attempts; try again in a minute"
        return ApiError(429, "too_many_attempts", wait, headers={"retry-after": "60"})


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header, None where there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _what_is_wrong(token: str | None) -> str:
    make = "`farebox tokens create NAME --role analyst` makes one"
    if not token:
        return f"this route needs an admin token in `Authorization: Bearer fba_…`; {make}"
    if token.startswith("fbx_"):
        return f"a Farebox key (fbx_…) is for calls to providers; this route needs an admin token (fba_…): {make}"
    return f"this token is unknown, expired or revoked; {make}"


def _source(request: Request) -> str:
    """Who to count failures for: the peer's address; behind the gateway, what the gateway says it is."""
    if request.client is not None and request.client.host:
        return request.client.host
    return request.headers.get("x-forwarded-for", "").split(",")[-1].strip()[:64]


def declared(route: RouteContext) -> Needs | Public | None:
    """What a route says of who may call it."""
    for dependant in getattr(route.dependant, "dependencies", ()):
        if isinstance(dependant.call, Needs | Public):
            return dependant.call
    return None


def undeclared(app: FastAPI) -> list[str]:
    """Paths of routes that do not declare who may call them. The application refuses to start unless it is empty."""
    return [
        route.path or repr(route)
        for route in iter_route_contexts(app.routes)
        if not isinstance(route.original_route, APIRoute) or declared(route) is None
    ]
