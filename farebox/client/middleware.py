"""For web apps: whose a request is becomes the context of every call that is made for it.

`who` says it: a function of the request's headers (by lower-case name) that gives dimensions, such as {"tenant_id": …,
"user_id": …}; an app that knows its user from a session looks there. Unless given, Farebox's own headers are believed,
which is right only behind a gateway of one's own that sets them. An app that knows its user only further in gives
`nobody`, and says it there with `context(…)`: it holds until the request is over, and for none after it.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from farebox.client.context import SCOPE, Scope, widened
from farebox.core.attribution import HEADER_DIMENSIONS

Who = Callable[[Mapping[str, str]], Mapping[str, object]]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]
_OWN: Final = {name.decode(): dimension for name, dimension in HEADER_DIMENSIONS.items()}


def by_headers(headers: Mapping[str, str]) -> dict[str, object]:
    """What `x-tenant-id`, `x-user-id` and their like say."""
    return {dimension: headers[name] for name, dimension in _OWN.items() if headers.get(name)}


def nobody(_: Mapping[str, str]) -> dict[str, object]:
    """Says nothing: the app does so further in."""
    return {}


class AsgiContext:
    """ASGI middleware: `app.add_middleware(AsgiContext, who=…)`, or AsgiContext(app, who=…)."""

    def __init__(self, app: _App, who: Who = by_headers) -> None:
        self._app = app
        self._who = who

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope.get("type") not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        token = SCOPE.set(_scope(self._who, headers))
        try:
            await self._app(scope, receive, send)
        finally:
            SCOPE.reset(token)


class WsgiContext:
    """WSGI middleware: `app.wsgi_app = WsgiContext(app.wsgi_app, who=…)`. In force while the answer is made and while
    its body is read."""

    def __init__(self, app: Callable[..., Iterable[bytes]], who: Who = by_headers) -> None:
        self._app = app
        self._who = who

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        token = SCOPE.set(_scope(self._who, headers))
        try:
            body = self._app(environ, start_response)
            scope = SCOPE.get()
        finally:
            SCOPE.reset(token)
        return _Body(body, scope)


class _Body:
    """A WSGI body, each piece made in the request's scope."""

    def __init__(self, inner: Iterable[bytes], scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._inner)
        while True:
            token = SCOPE.set(self._scope)
            try:
                piece = next(pieces)
            except StopIteration:
                return
            finally:
                SCOPE.reset(token)
            yield piece

    def close(self) -> None:
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


def _scope(who: Who, headers: Mapping[str, str]) -> Scope:
    return widened(SCOPE.get(), {name: value for name, value in who(headers).items() if value})
