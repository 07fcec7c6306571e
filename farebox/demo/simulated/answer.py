"""A call as received and its answer as values: the wire formats are functions from the one to the other."""

import random
from collections.abc import Callable, Iterator, Mapping

import msgspec

from farebox.demo.simulated.plan import Plan

Json = dict[str, object]
Headers = tuple[tuple[str, str], ...]
JSON_TYPE = ("content-type", "application/json")
SSE_TYPE = ("content-type", "text/event-stream; charset=utf-8")
encode = msgspec.json.encode


class Call(msgspec.Struct):
    """One request, read to its end. `path` begins after the provider's prefix; `body` holds the first megabyte."""

    provider: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    body_bytes: int
    fields: Json
    """The JSON body, or the text fields of a multipart one."""
    text: str

    @property
    def streaming(self) -> bool:
        return self.fields.get("stream") in (True, "true")


class Answer(msgspec.Struct):
    """`stream` yields wire bytes piece by piece; each piece that carries generated text counts as one chunk."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    plan: Plan | None = None
    usage: dict[str, int] = {}
    """What the provider bills for, as disjoint meters."""


Responder = Callable[[Call], Answer]


def fresh(length: int = 24) -> str:
    """A new id's random part."""
    return f"{random.getrandbits(4 * length):0{length}x}"


def sse(data: Json | str, event: str | None = None) -> bytes:
    """One server-sent event, LF framing."""
    body = data.encode() if isinstance(data, str) else encode(data)
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + body + b"\n\n"


def as_int(value: object) -> int | None:
    """A count from a request, None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return None


def as_text(value: object, default: str = "") -> str:
    return value if isinstance(value, str) else default


def as_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
