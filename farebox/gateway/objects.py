"""Whose stored objects are: what keys bound to a tenant may name, in a path or in a body.

Who made an object is in the ledger's index. A worker remembers what it made or asked for lately; for the rest it asks
the keeper, which first takes in whatever any worker has recorded. So an object that one worker made is known to the
next call at another; and where the keeper does not answer in time, such a call is refused, never let through.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from farebox.core.events import Head, Stored
from farebox.directory.snapshot import KeyView
from farebox.errors import (
    FareboxError,
    InvalidRequest,
    KeeperUnavailable,
    ObjectNotFound,
    ObjectsUnavailable,
    RouteNotAllowed,
)
from farebox.gateway.request import Request
from farebox.ledger.client import SOCKET_NAME, AsyncKeeperClient
from farebox.ledger.objects import space_of
from farebox.providers.protocol import Endpoint, Metered
from farebox.providers.references import Unreadable, references

KNOWN_MAX: Final = 65_536
"""Objects of which a worker remembers the tenant: about 20 MB."""
_RETRY_S: Final = 0.1
_JOINS: Final = frozenset({"call_id", "conversation_id"})
NOTHING: Final[tuple[Stored, ...]] = ()


def is_bound(key: KeyView) -> bool:
    return "tenant" in key.bind


def check_action(key: KeyView, method: str, path: str, endpoint: Endpoint) -> None:
    """Whether a key bound to a tenant may take a route of stored objects at all. Raises RouteNotAllowed."""
    what = f"{method} {path}: a key bound to a tenant"
    if not key.allow_objects:
        raise RouteNotAllowed(f"{what} may not reach stored objects: create it with --allow-objects")
    if endpoint.action == "list":
        raise RouteNotAllowed(f"{what} may not list what is stored: it would show objects of others; read them by id")
    if not endpoint.action:
        raise RouteNotAllowed(f"{what} may not take this route: whose objects it reaches cannot be told")


def named(endpoint: Endpoint, request: Request, body: bytes) -> frozenset[str]:
    """The stored objects that a call names. Raises InvalidRequest where that cannot be told."""
    roots = frozenset({endpoint.root}) if endpoint.root is not None else frozenset[str]()
    if endpoint.websocket and request.query:
        roots |= _joined(request.query)
    if not body or not (endpoint.stored or endpoint.body == "json"):
        return roots
    if any(name.lower() == b"content-encoding" for name, _ in request.headers):
        raise InvalidRequest("a key bound to a tenant must send bodies that can be read: leave out content-encoding")
    try:
        return roots | references(endpoint.family, body)
    except Unreadable as problem:
        raise InvalidRequest(f"the body may name stored objects and cannot be read: {problem}") from None


def _joined(query: bytes) -> frozenset[str]:
    """The calls that a session's query joins: `?call_id=` is OpenAI's sideband to a call by WebRTC or SIP."""
    pairs = parse_qsl(query[1:].decode("latin-1"), keep_blank_values=True)
    return frozenset(value for name, value in pairs if name in _JOINS)


def joined_call(query: bytes) -> str | None:
    """The call that a session's query joins beside others, where it joins one."""
    pairs = parse_qsl(query[1:].decode("latin-1"))
    return next((value for name, value in pairs if name == "call_id"), None)


def told(endpoint: Endpoint, status: int | None, head: Head, metered: Metered) -> tuple[Stored, ...]:
    """What the event says of stored objects. Parts of answers that nobody but their tenant may name are left out
    where there is no tenant."""
    if status is None or not 200 <= status < 300:
        return NOTHING
    objects = metered.objects if endpoint.stored or head.tenant is not None else NOTHING
    return objects if endpoint.object_id is None else (*objects, Stored(endpoint.object_id, "read"))


class Makers:
    """What this worker knows of who made what. Used by the event loop's thread only."""

    def __init__(self, run: Path, wait_s: float) -> None:
        self._keeper = AsyncKeeperClient(run / SOCKET_NAME, connections_max=8)
        self._wait_s = wait_s
        self._tenants: dict[tuple[str, str], str] = {}

    def made(self, head: Head, object_id: str | None, objects: tuple[Stored, ...]) -> None:
        """An attempt made these, and it is recorded."""
        if head.tenant is None:
            return
        space = space_of(head.provider, byok=head.byok)
        read = {stored.id for stored in objects if stored.role == "read"}
        if object_id is not None and object_id not in read and object_id not in head.endpoint:
            self._keep(space, object_id, head.tenant)
        for stored in objects:
            if stored.role == "gone":
                self._tenants.pop((space, stored.id), None)

    def unproven(self, space: str, tenant: str, ids: Iterable[str]) -> list[str]:
        """Those of the objects that are not known here to be the tenant's."""
        return [object_id for object_id in ids if self._tenants.get((space, object_id)) != tenant]

    async def check(self, space: str, tenant: str, ids: list[str]) -> None:
        """Raises ObjectNotFound unless the tenant made all of them, ObjectsUnavailable where nobody can say."""
        try:
            found = await self._asked({"space": space, "ids": ids})
        except FareboxError as error:
            raise ObjectsUnavailable(f"whose the stored object is cannot be told now: {error}") from error
        for object_id in ids:
            if found.get(object_id) != tenant:
                raise ObjectNotFound(f"there is no stored object {object_id[:128]!r}")
            self._keep(space, object_id, tenant)

    async def close(self) -> None:
        await self._keeper.close()

    async def _asked(self, question: dict[str, object]) -> dict[str, str | None]:
        """The keeper's answer; one that is being restarted is waited for, within bounds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_s
        while True:
            left = until - loop.time()
            try:
                found: dict[str, str | None] = await self._keeper.call("makers", question, max(left, 0.01))
                return found
            except KeeperUnavailable:
                if left <= _RETRY_S:
                    raise
            await asyncio.sleep(_RETRY_S)

    def _keep(self, space: str, object_id: str, tenant: str) -> None:
        if len(self._tenants) >= KNOWN_MAX:
            for key in list(self._tenants)[: KNOWN_MAX // 8]:
                del self._tenants[key]
        self._tenants[space, object_id] = tenant
