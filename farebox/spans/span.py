"""One span, whichever encoding brought it: only what an event can need of it.

Prompts and answers stand in attributes and span events. Neither reader makes a value of them: an attribute is kept only
where `names.is_kept` knows its name, of span events only the type of an exception, of links and names nothing.
"""

from typing import Final, Literal

import msgspec

from farebox.spans.names import OURS

Value = str | int | float | bool | tuple[str, ...]
Attributes = dict[str, Value]

SPANS_MAX: Final = 10_000
"""Spans in one request; exporters send 512 unless told otherwise, collectors some 8,000."""
VALUE_CHARS_MAX: Final = 1024
"""A longer value is no name, id or count, and is left out."""
LIST_MAX: Final = 16
"""Entries of a list that are kept."""
SERVER: Final = 2
CONSUMER: Final = 5
ERROR: Final = 2
"""A span's status code that says that it failed."""

Encoding = Literal["protobuf", "json"]


class Span(msgspec.Struct, frozen=True):
    """Ids are lower-case hex, '' where there is none; times nanoseconds since 1970, 0 where unknown. `exception` is
    the type of what was raised last, '' for nothing; `attributes` are the span's own, `resource` its sender's."""

    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    failed: bool
    exception: str
    attributes: Attributes
    resource: Attributes

    def said(self, name: str) -> Value | None:
        """An attribute of the span, else of its resource."""
        own = self.attributes.get(name)
        return self.resource.get(name) if own is None else own


def bounded(name: str, value: Value) -> Value | None:
    """The value as it may be kept, None where it is too long. One of our own attributes is cut instead: it is still too
    long for an id, and its span is refused for it rather than booked without."""
    if not isinstance(value, str) or len(value) <= VALUE_CHARS_MAX:
        return value
    return value[:VALUE_CHARS_MAX] if name.startswith(OURS) else None
