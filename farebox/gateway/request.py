"""One request as a stranger sent it: its head, checked and sorted once, in one pass over the headers."""

from typing import Final

from farebox.core.attribution import HEADER_DIMENSIONS
from farebox.errors import CallRefused, InvalidRequest

_PLAIN, _DROP, _CREDENTIAL, _DIMENSION, _TAGS, _KEY, _LENGTH, _TRANSFER, _HOST, _CONNECTION = range(10)
_EXPECT, _UNITS, _ROUTE, _UPGRADE, _RETRIES, _TYPE, _FETCH, _ORIGIN, _ENCODINGS, _REQUEST_ID = range(10, 20)
_IDEMPOTENCY, _ATTEMPT = 20, 21
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
    b"upgrade": _UPGRADE,
    b"x-farebox-units": _UNITS,
    b"x-farebox-route": _ROUTE,
    b"x-stainless-retry-count": _RETRIES,
    b"content-type": _TYPE,
    b"sec-fetch-mode": _FETCH,
    b"origin": _ORIGIN,
    b"accept-encoding": _ENCODINGS,
    b"x-request-id": _REQUEST_ID,
    b"x-client-request-id": _REQUEST_ID,
    b"idempotency-key": _IDEMPOTENCY,
    b"x-idempotency-key": _IDEMPOTENCY,
    b"amz-sdk-request": _ATTEMPT,
}
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
"""A tunnel's end is no request's, and an echo would show the stored credential to the caller."""
_REPEATABLE: Final = frozenset({_ENCODINGS, _RETRIES, _TYPE, _FETCH, _UPGRADE, _REQUEST_ID, _IDEMPOTENCY, _ATTEMPT})
LENGTH_MAX: Final = 1 << 62
"""A greater Content-Length counts as this one, which is refused as well."""
_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64


class HeaderName:
    """What a header's name means here. `bit` is its own among the names that may stand only once, 0 for others;
    `dimension` is what an attribution header names, as bytes. `name` is as it was sent, empty where it is too long to
    be kept."""

    __slots__ = ("bit", "dimension", "kind", "name")

    def __init__(self, kind: int, bit: int, dimension: bytes, name: bytes = b"") -> None:
        self.name = name
        self.kind = kind
        self.bit = bit
        self.dimension = dimension

    def sent_as(self, name: bytes) -> "HeaderName":
        return HeaderName(self.kind, self.bit, self.dimension, name)


_MEANINGS: Final[dict[bytes, HeaderName]] = {
    name: HeaderName(kind, 0 if kind in _REPEATABLE else 1 << index, HEADER_DIMENSIONS.get(name, "").encode())
    for index, (name, kind) in enumerate(_KINDS.items())
}
_ANY: Final = HeaderName(_PLAIN, 0, b"")
_OURS: Final = HeaderName(_DROP, 0, b"")
_names: Final[dict[bytes, HeaderName]] = {}
"""Header names as sent -> meaning, looked up once. Bounded, since strangers name them."""
_places: Final[list[HeaderName]] = [_ANY] * 64
"""What stood at each place of the heads before this one; the last stands for all further ones. Most callers send the
same names in the same order, and to compare bytes costs a sixth of looking them up."""
_PLACE_LAST: Final = len(_places) - 1


def _learn(name: bytes) -> HeaderName:
    lower = name.lower()
    known = _MEANINGS.get(lower) or (_OURS if lower.startswith(b"x-farebox-") else _ANY)
    if len(name) > _NAME_BYTES_MAX:
        return known
    if len(_names) >= _NAMES_MAX:
        _names.clear()
    meaning = _names[name] = known.sent_as(name)
    return meaning


_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te", b""})


class Request:
    """A request's head and, as it arrives, its body.

    `forward` holds the header lines that a provider may see, as (name, value), in the order and case they came;
    `headers` all of them, for the control plane. `problem` is what is wrong with the call, though it is clean HTTP:
    its exchange says so in the provider's shape.
    """

    __slots__ = (
        "body", "body_bytes", "chunked", "complete", "content_length", "content_type", "credentials", "dimensions",
        "expects_continue", "farebox_key", "fetch_mode", "forward", "headers", "host", "is_old", "keep_alive", "method",
        "origin", "problem", "query", "request_id", "retries", "route", "tags", "target", "units", "upgrade",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.query = b""
        self.is_old = False
        """It speaks HTTP/1.0."""
        self.farebox_key: bytes | None = None
        self.host: bytes | None = None
        self.units: bytes | None = None
        self.route: bytes | None = None
        """The route that it names in a header."""
        self.origin: bytes | None = None
        self.content_type = b""
        self.fetch_mode = b""
        self.upgrade = b""
        """The protocols it offers to switch to, in lower case; empty where it may not be switched."""
        self.content_length = -1
        """-1 where it is not said."""
        self.chunked = False
        self.expects_continue = False
        self.keep_alive = True
        self.retries = 0
        """How often the caller's SDK says that it sent this before."""
        self.request_id = b""
        """The caller's own id of what it asks for, by which a repetition is known; an idempotency key before others."""
        self.body_bytes = 0
        self.complete = False
        self.problem: CallRefused | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.forward: list[tuple[bytes, bytes]] = []
        self.credentials: list[tuple[bytes, bytes]] = []
        self.dimensions: list[bytes] = []
        """What attribution headers name and say, in turn."""
        self.tags: list[bytes] = []
        self.body: list[bytes] = []

    def has_body(self) -> bool:
        return self.chunked or self.content_length > 0

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

    def check(self, version: str) -> None:
        """Sort the headers and refuse what is ambiguous. Raises InvalidRequest or InvalidTags; what llhttp already
        refuses (both lengths, bad chunks, bare CR, odd names) never gets here."""
        self._check_target(version)
        seen = 0
        named: list[bytes] | None = None
        place = 0
        for line in self.headers:
            name, value = line
            meaning = _places[place]
            if meaning.name != name:
                meaning = _places[place] = _names.get(name) or _learn(name)
            if place < _PLACE_LAST:
                place += 1
            kind = meaning.kind
            if kind == _PLAIN:
                self.forward.append(line)
                continue
            if kind == _DROP:
                continue
            if kind == _CONNECTION:
                if value not in _PLAIN_CONNECTION and value.lower() not in _PLAIN_CONNECTION:
                    named = (named or []) + [token.strip() for token in value.lower().split(b",")]
                continue
            if kind >= _FORWARDED:
                self.forward.append(line)
            if seen & meaning.bit:
                self._twice(kind, name.lower())
            seen |= meaning.bit
            if kind == _DIMENSION:
                self.dimensions.append(meaning.dimension)
                self.dimensions.append(value)
            else:
                self._take(kind, name, value)
        if named is not None and (hop := frozenset(named) - _PLAIN_CONNECTION):
            self.forward = [line for line in self.forward if line[0].lower() not in hop]
        if self.host is None and not self.is_old:
            raise InvalidRequest("the Host header is missing")

    def _twice(self, kind: int, lower: bytes) -> None:
        twice = InvalidRequest(f"header {lower.decode()} is given twice")
        if kind == _HOST:
            raise twice
        self.problem = self.problem or twice

    def _check_target(self, version: str) -> None:
        if version != "1.1":
            if version != "1.0":
                raise InvalidRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")
            self.is_old = True
        if self.method in _REFUSED_METHODS:
            raise InvalidRequest(f"{self.method.decode()} is not spoken here")
        target = self.target
        if not target.startswith(b"/") or b"#" in target:
            raise InvalidRequest("the request target must be a path that begins with '/'")
        if b"?" in target:
            mark = target.find(b"?")
            self.target, self.query = target[:mark], target[mark:]

    def _take(self, kind: int, name: bytes, value: bytes) -> None:
        if kind == _LENGTH:
            self.content_length = min(int(value), LENGTH_MAX)
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
            if value.strip().lower() != b"chunked" or self.is_old:
                raise InvalidRequest("the only transfer coding spoken here is 'chunked', over HTTP/1.1")
            self.chunked = True
        elif kind == _EXPECT:
            if value.lower() != b"100-continue":
                raise InvalidRequest("the only expectation known here is '100-continue'")
            self.expects_continue = True
        elif kind == _UNITS:
            self.units = value
        elif kind == _ROUTE:
            self.route = value.strip()
        elif kind == _IDEMPOTENCY:
            self.request_id = b"i" + value
        elif kind == _REQUEST_ID:
            if not self.request_id.startswith(b"i"):
                self.request_id = b"r" + value
        elif kind == _ATTEMPT:
            self.retries = max(self.retries, _retries_of(value))
        elif kind == _FETCH:
            self.fetch_mode = value.lower()
        elif kind == _ORIGIN:
            self.origin = value
        elif kind == _UPGRADE:
            self.upgrade = (self.upgrade + b"," + value if self.upgrade else value).strip().lower()


def _retries_of(value: bytes) -> int:
    """What AWS' SDKs say: 'attempt=2; max=3' is the first retry."""
    for part in value.split(b";"):
        name, _, said = part.strip().partition(b"=")
        if name == b"attempt" and said.isdigit() and len(said) < 4:
            return max(int(said) - 1, 0)
    return 0
