"""The place where an SDK's bytes are seen: `send` of its own HTTP client (httpx, or httpx2, which is the same shape).

What an app gets is what the provider sent, but for the usage chunk that was asked for on its behalf.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from farebox.client.calls import Call, Inflating, Service, begin
from farebox.client.context import REFUSED, SCOPE, LimitWarning, Scope
from farebox.client.door import Permit
from farebox.core.attribution import HEADER_DIMENSIONS
from farebox.errors import FareboxError, LimitExceeded, Unreachable

_MARK: Final = "_farebox_metered"
_HEADERS: Final = {dimension: name.decode() for name, dimension in reversed(HEADER_DIMENSIONS.items())}
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"})
"""Errors before anything has left for the provider."""
_TIMEOUTS: Final = ("TimeoutException", "ReadTimeout", "ConnectTimeout", "WriteTimeout", "PoolTimeout")


class Office(Protocol):
    """What a metered client works with."""

    @property
    def base_url(self) -> str: ...
    def permit(self, call: Call) -> Permit: ...
    async def permit_async(self, call: Call) -> Permit: ...
    def post(self, call: Call) -> None: ...
    def warn(self, scope: Scope, warning: LimitWarning) -> None: ...


def meter(client: Any, service: Service, office: Office, *, raises: bool) -> None:
    """Have every call of this HTTP client metered. Idempotent: who came first meters, but for calls whose scope names
    another. `raises`: whether the SDK above lets a LimitExceeded through; else a refusal is an answer of the provider's
    own kind, and noted in REFUSED."""
    if getattr(client, _MARK, None) is not None:
        return
    streams = _streams(_flavour(client))
    made = _Sends(client, service, office, streams, raises=raises)
    client.send = made.send_async if hasattr(client, "aclose") else made.send
    setattr(client, _MARK, made)


class _Sends:
    def __init__(self, client: Any, service: Service, office: Office, streams: "_Streams", *, raises: bool) -> None:
        self._raises = raises
        self._original: Callable[..., Any] = client.send
        self._service = service
        self._office = office
        self._streams = streams
        self._gateway = _place(office.base_url)

    def send(self, request: Any, *, stream: bool = False, **more: Any) -> Any:
        if self._is_gateways(request):
            _attribute(request, SCOPE.get())
            response = self._original(request, stream=stream, **more)
            if response.status_code == 429:
                response.read()
            return self._told(response)
        call = self._begin(request, stream)
        if call is None:
            return self._original(request, stream=stream, **more)
        try:
            permit = self._office_of(call.scope).permit(call)
        except FareboxError as error:
            return self._refused(call, request, error)
        request = self._ready(call, request, permit)
        try:
            response = self._original(request, stream=stream, **more)
        except BaseException as error:
            self._failed(call, error)
            raise
        return self._answered(call, response, stream, is_async=False)

    async def send_async(self, request: Any, *, stream: bool = False, **more: Any) -> Any:
        if self._is_gateways(request):
            _attribute(request, SCOPE.get())
            response = await self._original(request, stream=stream, **more)
            if response.status_code == 429:
                await response.aread()
            return self._told(response)
        call = self._begin(request, stream)
        if call is None:
            return await self._original(request, stream=stream, **more)
        try:
            permit = await self._office_of(call.scope).permit_async(call)
        except FareboxError as error:
            return self._refused(call, request, error)
        request = self._ready(call, request, permit)
        try:
            response = await self._original(request, stream=stream, **more)
        except BaseException as error:
            self._failed(call, error)
            raise
        return self._answered(call, response, stream, is_async=True)

    def _office_of(self, scope: Scope) -> Office:
        """Whoever makes the call, where one is told; else who wrapped the client."""
        return scope.office or self._office

    def _is_gateways(self, request: Any) -> bool:
        url = request.url
        if self._gateway is not None and (url.host, url.port) != self._gateway:
            return False
        return str(url).startswith(self._office.base_url + "/")

    def _told(self, response: Any) -> Any:
        """An answer that came by way of the gateway: what it says of limits."""
        warned = response.headers.get("x-farebox-warning")
        if warned:
            limit_id, _, share = warned.partition(" ")
            scope = SCOPE.get()
            self._office_of(scope).warn(scope, LimitWarning(limit_id, float(share or 0)))
        refusal = _refusal(response) if response.status_code == 429 else None
        if refusal is not None:
            self._note(refusal)
        return response

    def _note(self, refusal: FareboxError) -> None:
        if self._raises:
            raise refusal
        noted = REFUSED.get()
        if noted is not None:
            noted.append(refusal)

    def _begin(self, request: Any, stream: bool) -> Call | None:
        try:
            body = request.read()
        except Exception:  # noqa: BLE001 - an upload that can be read once only: it is the SDK's to send
            body = b""
        url = request.url
        call = begin(self._service, request.method, url.path, url.host, body, SCOPE.get())
        if call is not None:
            call.sent_headers = request.headers.raw
            if stream:
                request.headers["accept-encoding"] = "gzip, deflate"
        return call

    def _ready(self, call: Call, request: Any, permit: Permit) -> Any:
        body = call.permitted(permit)
        if body is call.body or body == call.body:
            return request
        headers = [(n, v) for n, v in request.headers.multi_items() if n not in ("content-length", "transfer-encoding")]
        return type(request)(
            request.method, request.url, headers=headers, content=body, extensions=dict(request.extensions)
        )

    def _refused(self, call: Call, request: Any, error: FareboxError) -> Any:
        """As the gateway answers: in the provider's own shape, so that no exception of ours is taken for a broken
        connection and tried again. Raises it where the SDK lets it through."""
        self._note(error)
        status, code, facts = (503 if isinstance(error, Unreachable) else 400), "farebox", None
        if isinstance(error, LimitExceeded):
            status, code, facts = 429, error.code, error.facts
        body = call.provider.error_body(status, code, str(error), facts)
        headers = {"content-type": "application/json", "x-should-retry": "false"}
        return self._streams.response(status, headers=headers, content=body, request=request)

    def _failed(self, call: Call, error: BaseException) -> None:
        kind = type(error).__name__
        gone = isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)
        state = "client_closed" if gone else "timeout" if kind in _TIMEOUTS else "upstream_error"
        if call.finish(state, kind, sent=kind not in _UNSENT):
            self._office_of(call.scope).post(call)

    def _answered(self, call: Call, response: Any, stream: bool, *, is_async: bool) -> Any:
        call.answered(response.status_code, response.headers)
        if not stream:
            content = response.content
            kept = call.take_whole(content)
            if kept is not content and kept != content:
                response._content = kept
            if call.finish("done"):
                self._office_of(call.scope).post(call)
            return response
        coding = response.headers.get("content-encoding", "")
        inflating = Inflating(coding) if coding else None
        if inflating is not None and inflating.is_read:
            for name in ("content-encoding", "content-length"):
                if name in response.headers:
                    del response.headers[name]
        read = inflating if inflating is not None and inflating.is_read else None
        passage = _Passage(call, self._office_of(call.scope), read)
        wrap = self._streams.asynchronous if is_async else self._streams.synchronous
        response.stream = wrap(response.stream, passage, self._failed)
        return response


class _Passage:
    """The body of one streamed answer on its way to the app."""

    def __init__(self, call: Call, office: Office, inflating: Inflating | None) -> None:
        self.call = call
        self._office = office
        self._inflating = inflating

    def take(self, data: bytes) -> bytes:
        return self.call.take(data if self._inflating is None else self._inflating.feed(data))

    def end(self) -> bytes:
        rest = self.call.take(self._inflating.end()) if self._inflating is not None else b""
        rest += self.call.end()
        self._finish("done")
        return rest

    def close(self) -> None:
        """Where the body is not over yet, its reader has left."""
        self._finish("client_closed")

    def _finish(self, state: str) -> None:
        if self.call.finish(state):
            self._office.post(self.call)


class _Streams:
    """Bodies that are of the HTTP library's own kind: it looks."""

    def __init__(self, library: Any) -> None:
        self.response: Callable[..., Any] = library.Response
        self.synchronous: Callable[..., Any] = type("MeteredStream", (_Plain, library.SyncByteStream), {})
        self.asynchronous: Callable[..., Any] = type("MeteredAsyncStream", (_Async, library.AsyncByteStream), {})


class _Plain:
    def __init__(self, inner: Any, passage: _Passage, failed: Callable[[Call, BaseException], None]) -> None:
        self._inner = inner
        self._passage = passage
        self._failed = failed

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._inner:
                if taken := self._passage.take(data):
                    yield taken
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failed(self._passage.call, error)
            raise
        if rest := self._passage.end():
            yield rest

    def close(self) -> None:
        self._inner.close()
        self._passage.close()


class _Async:
    def __init__(self, inner: Any, passage: _Passage, failed: Callable[[Call, BaseException], None]) -> None:
        self._inner = inner
        self._passage = passage
        self._failed = failed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._inner:
                if taken := self._passage.take(data):
                    yield taken
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failed(self._passage.call, error)
            raise
        if rest := self._passage.end():
            yield rest

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._passage.close()


def _attribute(request: Any, scope: Scope) -> None:
    """Farebox's own headers, for a call that goes by way of the gateway; the app's own ones stand."""
    said = {_HEADERS[dimension]: value for dimension, value in scope.dimensions.items()}
    if scope.tags:
        said["x-metering-tags"] = msgspec.json.encode(dict(scope.tags)).decode()
    if scope.units:
        said["x-farebox-units"] = ", ".join(f"{unit}={n}" for unit, n in scope.units.items())
    headers = request.headers
    more = [(name.encode(), value.encode()) for name, value in said.items() if name not in headers]
    if more:  # made anew: names of people are UTF-8, and these headers may have settled on less
        request.headers = type(headers)([*headers.raw, *more])


def _place(base_url: str) -> tuple[str, int | None] | None:
    """(host, port) as the library tells those of a URL; None where it may write them otherwise."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    is_plain = host.isascii() and "xn--" not in host and ":" not in host
    return (host, parts.port) if is_plain else None


def _refusal(response: Any) -> LimitExceeded | None:
    """The limit that a gateway's answer tells of; None for a provider's own rate limit."""
    try:
        facts = msgspec.json.decode(response.content, type=dict[str, Any]).get("farebox")
    except msgspec.DecodeError:
        return None
    return LimitExceeded(facts) if isinstance(facts, dict) else None


def _flavour(client: Any) -> str:
    """The library that an HTTP client comes from."""
    for kind in type(client).__mro__:
        if kind.__name__ in ("Client", "AsyncClient") and kind.__module__.partition(".")[0] in ("httpx", "httpx2"):
            return kind.__module__.partition(".")[0]
    raise TypeError(f"{type(client).__qualname__} is no client of httpx: it cannot be metered")


@lru_cache(maxsize=4)
def _streams(flavour: str) -> _Streams:
    return _Streams(sys.modules[flavour])
