"""What holds for every request and answer of the control plane, whatever route they belong to."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Enough for ten thousand price rows; nothing else that is sent here comes near."""


class Shield:
    """Adds HEADERS to each answer, unless the route has set one itself, and ends a body at BODY_BYTES_MAX."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        await self._app(scope, _bounded(scope, receive), send_shielded)


def _add_headers(message: Message) -> None:
    headers = list(message.get("headers", ()))
    present = {name.lower() for name, _value in headers}
    message["headers"] = [*headers, *(pair for pair in HEADERS if pair[0] not in present)]


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """The same body, until it is too long: then 413 is raised where it is read."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        if declared.isdigit() and int(declared) > BODY_BYTES_MAX:
            raise HTTPException(413, f"a body has at most {BODY_BYTES_MAX} bytes")
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES_MAX:
            raise HTTPException(413, f"a body has at most {BODY_BYTES_MAX} bytes")
        return message

    return receive_bounded
