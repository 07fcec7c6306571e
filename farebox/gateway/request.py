"""One request as a stranger sent it: its head, checked and sorted once, in one pass over the headers."""

from typing import Final

from farebox.core.attribution import HEADER_DIMENSIONS
from farebox.errors import CallRefused, InvalidRequest

_PLAIN, _DROP, _CREDENTIAL, _DIMENSION, _TAGS, _KEY, _LENGTH, _TRANSFER, _HOST, _CONNECTION = range(10)
_EXPECT, _UNITS, _ROUTE, _RETRIES, _TYPE, _FETCH, _ORIGIN, _ENCODINGS = range(10, 18)
_FORWARDED: Final = _RETRIES
"""Kinds from here on are of interest to us and to the provider."""

CREDENTIAL_HEADERS: Final = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

_KINDS: Final[dict[bytes, int]] = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    b"cookie": _DROP,
    **dict.fromkeys(CREDENTIAL_HEADERS, _CREDENTIAL),
    **dict.fromkeys(HEADER_DIMENSIONS, _DIMENSION),
    b"x-metering-tags": _TAGS,
    b"x-farebox-tags": _TAGS,
    b"x-farebox-key": _KEY,
    b"content-length": _LENGTH,
    b"transfer-encoding": _TRANSFER,
    b"host": _HOST,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"x-farebox-units": _UNITS,
    b"x-farebox-route": _ROUTE,
    b"x-stainless-retry-count": _RETRIES,
    b"content-type": _TYPE,
    b"sec-fetch-mode": _FETCH,
    b"origin": _ORIGIN,
    b"accept-encoding": _ENCODINGS,
}
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
"""A tunnel's end is no request's, and an echo would show the stored credential to the caller."""
_REPEATABLE: Final = frozenset({_ENCODINGS, _RETRIES, _TYPE, _FETCH})
_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64
_kinds: Final[dict[bytes, int]] = {}
"""Header names as sent -> kind, looked up once. Bounded, since strangers name them."""


def _learn(name: bytes) -> int:
    lower = name.lower()
    kind = _KINDS.get(lower, _DROP if lower.startswith(b"x-farebox-") else _PLAIN)
    if len(name) <= _NAME_BYTES_MAX:
        if len(_kinds) >= _NAMES_MAX:
            _kinds.clear()
        _kinds[name] = kind
    return kind


_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te", b""})


class Request:
    """A request's head and, as it arrives, its body.

    `forward` holds the header lines that a provider may see, as bytes, in the order and case they came; `headers`
    all of them, for the control plane.
    """

    # Defaults stand on the class: a request pays only for what it brings.
    method = b""
    target = b""
    query = b""
    version = "1.1"
    farebox_key: bytes | None = None
    host: bytes | None = None
    units: bytes | None = None
    origin: bytes | None = None
    content_type = b""
    fetch_mode = b""
    content_length: int | None = None
    chunked = False
    expects_continue = False
    keep_alive = True
    retries = 0
    body_bytes = 0
    complete = False
    problem: CallRefused | None = None
    """What is wrong with the call, though it is clean HTTP: its exchange says so in the provider's shape."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.forward: list[bytes] = []
        self.credentials: list[tuple[bytes, bytes]] = []
        self.dimensions: list[tuple[str, bytes]] = []
        self.tags: list[bytes] = []
        self.body: list[bytes] = []

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    @property
    def head_bytes(self) -> int:
        return len(self.target) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def take_body(self) -> bytes:
        """The whole buffered body; the buffer is empty afterwards."""
        if len(self.body) == 1:
            data = self.body[0]
        else:
            data = b"".join(self.body)
        self.body = []
        return data

    def check(self) -> None:
        """Sort the headers and refuse what is ambiguous. Raises InvalidRequest or InvalidTags; what llhttp already
        refuses (both lengths, bad chunks, bare CR, odd names) never gets here."""
        self._check_target()
        seen: set[bytes] = set()
        named: list[bytes] | None = None
        forward = self.forward
        for line in self.headers:
            name, value = line
            kind = _kinds[name] if name in _kinds else _learn(name)
            if kind == _PLAIN:
                forward.append(b"%b: %b\r\n" % line)
                continue
            if kind == _DROP:
                continue
            if kind == _CONNECTION:
                if value.lower() not in _PLAIN_CONNECTION:
                    named = (named or []) + [token.strip() for token in value.lower().split(b",")]
                continue
            if kind >= _FORWARDED:
                forward.append(b"%b: %b\r\n" % line)
            lower = name.lower()
            if lower in seen and kind not in _REPEATABLE:
                self._twice(kind, lower)
            seen.add(lower)
            if kind == _DIMENSION:
                self.dimensions.append((HEADER_DIMENSIONS[lower], value))
            else:
                self._take(kind, name, value)
        if named is not None and (hop := frozenset(named) - _PLAIN_CONNECTION):
            self.forward = [line for line in forward if line.split(b":", 1)[0].lower() not in hop]
        if self.host is None and self.version == "1.1":
            raise InvalidRequest("the Host header is missing")

    def _twice(self, kind: int, lower: bytes) -> None:
        twice = InvalidRequest(f"header {lower.decode()} is given twice")
        if kind == _HOST:
            raise twice
        self.problem = self.problem or twice

    def _check_target(self) -> None:
        if self.version not in ("1.1", "1.0"):
            raise InvalidRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if self.method in _REFUSED_METHODS:
            raise InvalidRequest(f"{self.method.decode()} is not spoken here")
        target = self.target
        if not target.startswith(b"/") or b"#" in target:
            raise InvalidRequest("the request target must be a path that begins with '/'")
        mark = target.find(b"?")
        if mark >= 0:
            self.target, self.query = target[:mark], target[mark:]

    def _take(self, kind: int, name: bytes, value: bytes) -> None:
        if kind == _LENGTH:
            self.content_length = int(value)
        elif kind == _CREDENTIAL:
            self.credentials.append((name, value))
        elif kind == _TAGS:
            self.tags.append(value)
        elif kind == _KEY:
            self.farebox_key = value.strip()
        elif kind == _HOST:
            self.host = value
        elif kind == _TYPE:
            self.content_type = value
        elif kind == _RETRIES:
            self.retries = min(int(value), 1000) if value.isdigit() and len(value) < 6 else 0
        else:
            self._take_rare(kind, value)

    def _take_rare(self, kind: int, value: bytes) -> None:
        if kind == _TRANSFER:
            if value.strip().lower() != b"chunked" or self.version == "1.0":
                raise InvalidRequest("the only transfer coding spoken here is 'chunked', over HTTP/1.1")
            self.chunked = True
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise InvalidRequest("the only expectation known here is '100-continue'")
            self.expects_continue = True
        elif kind == _UNITS:
            self.units = value
        elif kind == _FETCH:
            self.fetch_mode = value.lower()
        elif kind == _ORIGIN:
            self.origin = value
