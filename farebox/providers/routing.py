"""Paths: which route of a provider's API a request means, however it is spelt."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from msgspec.structs import replace

from farebox.providers.protocol import Action, Endpoint

ESCAPED: Final = Endpoint("other", "escaped", body="opaque", stored=True, admin=True)
"""A path that could mean another one upstream (dot segments, endless escapes): treated as an admin route."""
ADMIN: Final = Endpoint("other", "admin", body="opaque", stored=True, admin=True)

_UNQUOTE_ROUNDS_MAX: Final = 4
_VERSION: Final = re.compile(r"/v\d\w*(?=/|$)")


def segments(path: str) -> tuple[str, ...] | None:
    """The decoded segments of a path without empty ones; None for a path that may climb out of its place.

    What servers may decode (escapes, also doubled ones, encoded or backward slashes) is decoded here, so that
    no spelling of a route is taken for another route.
    """
    for _ in range(_UNQUOTE_ROUNDS_MAX):
        if "%" not in path:
            break
        path = unquote(path, errors="replace")
    else:
        if "%" in path:
            return None
    # A path parameter (`;x`) is cut off by some servers, a control character by some clients.
    if any(ord(char) < 0x20 or char in "?#;" for char in path):
        return None
    found = tuple(segment for segment in path.replace("\\", "/").split("/") if segment)
    if any(segment.strip() in (".", "..") for segment in found):
        return None
    return found


def with_prefix(prefix: str, path: str) -> str:
    """`path` with the version prefix in front of it, unless (part of) it stands there already.

    >>> with_prefix("/openai/v1", "/v1/chat/completions")
    '/openai/v1/chat/completions'
    """
    path = path if path[:1] == "/" else "/" + path
    tail = prefix
    while tail:
        if path == tail or path.startswith(tail + "/"):
            return prefix + path[len(tail) :]
        slash = tail.find("/", 1)
        tail = tail[slash:] if slash > 0 else ""
    return prefix + path


def joined(base_path: str, prefix: str, path: str) -> str:
    """The upstream path under a base URL's path: a prefix that `base_path` already ends with is not doubled, nor is a
    version. `path` as `Provider.upstream_path` gives it.

    >>> joined("/v1", "/v1", "/v1/models")
    '/v1/models'
    >>> joined("/v1beta", "", "/v1beta/models")
    '/v1beta/models'
    """
    base_path = base_path.rstrip("/")
    if not prefix and (version := _VERSION.match(path)) and base_path.endswith(version[0]):
        prefix = version[0]
    if prefix and base_path.endswith(prefix) and path.startswith(prefix):
        return base_path + path[len(prefix) :]
    return base_path + path


_ACTIONS: Final[dict[str, Action]] = {"GET": "read", "HEAD": "read", "DELETE": "delete", "POST": "change"}
_COLLECTION_ACTIONS: Final[dict[str, Action]] = {"GET": "list", "HEAD": "list", "POST": "make"}


def placed(endpoint: Endpoint, collections: Iterable[tuple[str, ...]], method: str, rest: tuple[str, ...]) -> Endpoint:
    """The endpoint of stored objects with the one that its path leads to, and what it does there. Below a collection
    stands `/{id}`, and what belongs to that object below that. `rest` is the path without its version.

    >>> placed(Endpoint("other", "files"), [("files",)], "DELETE", ("files", "file-1")).root
    'file-1'
    """
    for collection in collections:
        if rest[: len(collection)] != collection:
            continue
        below = rest[len(collection) :]
        if not below or below == ("runs",):  # POST /threads/runs makes a thread and runs it
            return replace(endpoint, action=_COLLECTION_ACTIONS.get(method, ""))
        action = _ACTIONS.get(method, "")
        return replace(endpoint, action="change" if action == "delete" and below[1:] else action, root=below[0])
    return endpoint
