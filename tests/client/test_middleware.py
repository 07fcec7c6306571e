"""Whose a web request is becomes the context of its calls, and of nobody else's."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from farebox import context
from farebox.client.context import NOBODY, SCOPE
from farebox.client.middleware import AsgiContext, WsgiContext, nobody
from farebox.errors import InvalidRequest


def request(*headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "headers": list(headers)}


async def nothing(*_: Any) -> None: ...


def asgi(middleware: Callable[..., AsgiContext], *requests: dict[str, Any]) -> list[Any]:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        seen.append(dict(SCOPE.get().dimensions))

    async def main() -> None:
        wrapped = middleware(app)
        await asyncio.gather(*(wrapped(request, nothing, nothing) for request in requests))

    asyncio.run(main())
    return seen


def test_farebox_headers_are_believed_unless_the_app_says_otherwise() -> None:
    acme = request((b"X-Tenant-Id", b"acme"), (b"x-user-id", b"u_1"), (b"cookie", b"s=1"))
    globex = request((b"x-customer-id", b"globex"), kind="websocket")
    assert asgi(AsgiContext, acme, globex, request()) == [{"tenant": "acme", "user": "u_1"}, {"tenant": "globex"}, {}]
    assert asgi(AsgiContext, request(kind="lifespan")) == [{}]
    assert SCOPE.get() == NOBODY


def test_an_app_says_whose_a_request_is() -> None:
    def who(headers: Any) -> dict[str, object]:
        return {"user_id": headers["cookie"].removeprefix("s="), "tenant_id": None}

    acme = request((b"x-tenant-id", b"forged"), (b"cookie", b"s=u_7"))
    assert asgi(lambda app: AsgiContext(app, who), acme) == [{"user": "u_7"}]


def test_a_name_that_is_no_dimension_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="there is no dimension 'usr'"):
        asgi(lambda app: AsgiContext(app, lambda headers: {"usr": "x"}), request())


def test_wsgi_is_in_force_while_the_body_is_made() -> None:
    seen: list[Any] = []
    closed: list[bool] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            for piece in (b"a", b"b"):
                seen.append(dict(SCOPE.get().dimensions))
                yield piece

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Pieces:
        seen.append(dict(SCOPE.get().dimensions))
        return Pieces()

    body: Any = WsgiContext(app)({"HTTP_X_TENANT_ID": "acme", "REQUEST_METHOD": "GET"}, nothing)
    found = []
    for piece in body:
        found.append(piece)
        assert SCOPE.get() == NOBODY
    body.close()
    assert (found, closed) == ([b"a", b"b"], [True])
    assert seen == [{"tenant": "acme"}] * 3


def test_what_an_app_says_further_in_holds_for_its_request_and_its_body_and_for_none_after_it() -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        if "HTTP_COOKIE" in environ:
            context(tenant_id="acme")
        return body()

    def body() -> Iterator[bytes]:
        seen.append(dict(SCOPE.get().dimensions))
        yield b"a"

    wrapped = WsgiContext(app, nobody)
    for environ in ({"HTTP_COOKIE": "s=1", "HTTP_X_TENANT_ID": "forged"}, {}):
        answer: Any = wrapped(environ, nothing)
        assert list(answer) == [b"a"]
    assert seen == [{"tenant": "acme"}, {}]


def test_asgi_ends_what_an_app_says_further_in() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            context(tenant_id="acme")
            assert SCOPE.get().dimensions == {"tenant": "acme"}

        await AsgiContext(app, nobody)(request(), nothing, nothing)
        assert SCOPE.get() == NOBODY

    asyncio.run(main())
