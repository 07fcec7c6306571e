"""Journal records to columns: the typed decoding of what workers wrote, many records at a time.

What is only kept for evidence (rates, parts, limits …) passes undecoded from msgpack to JSON text, and once for
each distinct value where values repeat: ingest has about ten microseconds for an event.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final

import msgspec
import pyarrow as pa
from pyarrow import compute

from farebox.core.events import Head, Part, Stored, Tail
from farebox.core.meters import BY_NAME
from farebox.errors import LedgerError

Raw = msgspec.Raw
COUNT_MAX: Final = 10**12
"""No attempt has more units of one meter, nor a longer time in microseconds: above it a record is damaged."""
COST_MAX: Final = 10**18
TIME_MAX_US: Final = 4_102_444_800_000_000
_CACHE_MAX: Final = 20_000
_EMPTY: Final = (b"\xc0", b"\x80", b"\x90")


class RowHead(msgspec.Struct, array_like=True, gc=False):
    """`farebox.core.events.Head` with what ingest does not look into left undecoded."""

    id: str
    call_id: str
    attempt: int
    started_at_us: int
    provider: str
    operation: str
    endpoint: str
    model_requested: str | None
    streaming: bool
    key_id: str | None
    byok: bool
    tenant: str | None = None
    workspace: str | None = None
    user: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: Raw = Raw(b"\xc0")
    units: dict[str, int] | None = None
    route: str | None = None
    fallback_from: str | None = None
    retries: int = 0


class RowTail(msgspec.Struct, array_like=True, gc=False):
    """`farebox.core.events.Tail`, likewise."""

    finished_at_us: int
    first_byte_us: int | None
    status: int | None
    state: str
    error: str | None = None
    model_billed: str | None = None
    service_tier: str | None = None
    usage: dict[str, int] = {}
    usage_raw: bytes = b""
    cost: int | None = None
    cost_by_meter: dict[str, int] = {}
    rates: Raw = Raw(b"\x80")
    cost_source: str = "unpriced"
    price_id: str | None = None
    price_from: str | None = None
    parts: tuple[Part, ...] = ()
    reported_cost: int | None = None
    object_id: str | None = None
    limits: Raw = Raw(b"\x90")
    saved: int | None = None
    outcome: str | None = None
    marks: tuple[str, ...] = ()
    qualifiers: dict[str, str | bool] = {}
    objects: tuple[Stored, ...] = ()


class Row(msgspec.Struct, array_like=True, gc=False):
    """A finished or refused record, or a correction (which adds its kind and the event it corrects)."""

    record: int
    head: RowHead
    tail: RowTail
    refused_count: int = 1
    kind: str = "charge"
    corrects: str | None = None


class Reject(msgspec.Struct, frozen=True):
    """A record that passed its checksum and yet makes no event. It is kept, and reported, never dropped."""

    record: bytes
    reason: str


def _tuple_of(row: type[msgspec.Struct], record: type[msgspec.Struct]) -> Any:
    """The type of an array that has all fields of `record`, read as `row` reads those that it knows."""
    known = {field.name: field.type for field in msgspec.structs.fields(row)}
    return tuple[tuple(known.get(name, Any) for name in record.__struct_fields__)]  # type: ignore[misc]


_rows = msgspec.msgpack.Decoder(list[Row])
_plain = msgspec.msgpack.Decoder(list[tuple[int, _tuple_of(RowHead, Head), _tuple_of(RowTail, Tail)]])  # type: ignore[misc]
_row = msgspec.msgpack.Decoder(Row)
_json = msgspec.json.Encoder()
_to_json = _json.encode
_from_msgpack = msgspec.msgpack.Decoder().decode
_cache: dict[bytes, bytes | None] = {}

HEAD_TEXTS: Final = (
    "id", "call_id", "provider", "operation", "endpoint", "model_requested", "key_id", "tenant", "workspace", "user",
    "tier", "feature", "task", "session", "route", "fallback_from",
)  # fmt: skip
TAIL_TEXTS: Final = (
    "state", "error", "model_billed", "service_tier", "cost_source", "price_id", "price_from", "object_id", "outcome",
)  # fmt: skip
INTEGERS: Final = {
    "attempt": COUNT_MAX, "retries": COUNT_MAX, "refused_count": COUNT_MAX, "first_byte_us": COUNT_MAX, "status": 999,
    "cost": COST_MAX, "reported_cost": COST_MAX, "saved": COST_MAX,
}  # fmt: skip
"""The largest value of each, either sign."""
RARE: Final = ("parts", "marks", "qualifiers", "objects")
"""Fields of a tail that are empty in nearly every record."""
OWN: Final[dict[str, object]] = {"refused_count": 1, "kind": "charge", "corrects": None}
"""Fields of a row beside its head and tail, as a finished record has them."""
UNUSABLE: Final = (LedgerError, pa.ArrowException, OverflowError, UnicodeError)
"""What `build` raises for a value that no event can have."""


def decode(records: Sequence[bytes]) -> tuple[list[Row], list[Reject]]:
    """Rows of finished and refused records; those that cannot be read come back as rejects."""
    if not records:
        return [], []
    with gc_paused():
        try:
            return _rows.decode(_array_of(records)), []
        except msgspec.DecodeError:
            return _decode_each(records)


def build(rows: Sequence[Row]) -> tuple[pa.Table, pa.Table]:
    """(events, usage_raw) as tables; raises LedgerError where a value is out of all bounds."""
    with gc_paused():
        heads = [row.head for row in rows]
        tails = [row.tail for row in rows]
        values = {name: [*map(attrgetter(name), heads)] for name in RowHead.__struct_fields__}
        values |= {name: [*map(attrgetter(name), tails)] for name in RowTail.__struct_fields__}
        values |= {name: [*map(attrgetter(name), rows)] for name in OWN}
        return _tables(values)


def build_plain(records: Sequence[bytes]) -> tuple[pa.Table, pa.Table] | None:
    """`build` of finished records as this version writes them, in about two thirds of the time. None where any of them
    is another, or cannot be kept: `decode` and `build_bounded` tell which."""
    if not records:
        return None
    with gc_paused():
        try:
            _, heads, tails = zip(*_plain.decode(_array_of(records)), strict=True)
            values = dict(zip(Head.__struct_fields__, zip(*heads, strict=True), strict=True))
            values.update(zip(Tail.__struct_fields__, zip(*tails, strict=True), strict=True))
            values.update((name, (default,) * len(records)) for name, default in OWN.items())
            return _tables(values)
        except msgspec.DecodeError:
            return None
        except UNUSABLE:
            return None


def build_bounded(rows: Sequence[Row], raw: Callable[[Row], bytes]) -> tuple[pa.Table, pa.Table, list[Reject]]:
    """`build`, with rows that cannot be kept taken out and returned as rejects (their record by `raw`)."""
    try:
        return (*build(rows), [])
    except UNUSABLE:
        good, rejects = [], []
        for row in rows:
            try:
                build([row])
                good.append(row)
            except UNUSABLE as error:
                rejects.append(Reject(raw(row), str(error)))
        return (*build(good), rejects)


def encode_row(row: Row) -> bytes:
    return msgspec.msgpack.encode(row)


def _decode_each(records: Sequence[bytes]) -> tuple[list[Row], list[Reject]]:
    rows, rejects = [], []
    for record in records:
        try:
            rows.append(_row.decode(record))
        except msgspec.DecodeError as error:
            rejects.append(Reject(record, str(error)))
    return rows, rejects


def _array_of(records: Sequence[bytes]) -> bytes:
    """One msgpack array of them all."""
    return b"\xdd" + len(records).to_bytes(4, "big") + b"".join(records)


def _tables(values: Mapping[str, Sequence[Any]]) -> tuple[pa.Table, pa.Table]:
    columns: dict[str, pa.Array] = {}
    for name in (*HEAD_TEXTS, *TAIL_TEXTS, "kind", "corrects"):
        columns[name] = _column(values[name], pa.string())
    for name in ("streaming", "byok"):
        columns[name] = _column(values[name], pa.bool_())
    for name in (*RARE, "units"):
        columns[name] = _rare_column(values[name])
    for name in ("tags", "rates", "limits"):
        columns[name] = _repeated_column([*map(bytes, values[name])])
    for name, largest in INTEGERS.items():
        columns[name] = _integers(values[name], largest)
    columns["started_at"] = _times(values["started_at_us"])
    columns["finished_at"] = _times(values["finished_at_us"])
    columns["cost_by_meter"] = _distinct_column([costs or None for costs in values["cost_by_meter"]])
    columns.update(_usage_columns(values["usage"]))
    raw = pa.array([usage or None for usage in values["usage_raw"]], pa.binary())
    usage_raw = pa.table({"id": columns["id"], "started_at": columns["started_at"], "usage_raw": raw})
    return pa.table(columns), usage_raw.filter(raw.is_valid()) if raw.null_count else usage_raw


def _column(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Many columns hold one value, or none, all over: those cost a comparison each."""
    first = values[0] if values else None
    if values.count(first) < len(values):
        return pa.array(values, kind)
    return pa.nulls(len(values), kind) if first is None else pa.repeat(pa.scalar(first, kind), len(values))


def _integers(values: Sequence[int | None], largest: int) -> pa.Array:
    array = _column(values, pa.int64())
    if array.null_count < len(array):
        least, most = _bounds(array)
        if most > largest or least < -largest:
            raise LedgerError(f"{least} to {most} is beyond {largest}: such a record cannot be right")
    return array


def _times(values: Sequence[int]) -> pa.Array:
    array = pa.array(values, pa.int64())
    if values:
        earliest, latest = _bounds(array)
        if earliest < 0 or latest >= TIME_MAX_US:
            raise LedgerError("a time is before 1970 or after 2099: such a record cannot be right")
    return array.view(pa.timestamp("us"))


def _bounds(array: pa.Array) -> tuple[int, int]:
    """The least and the largest of an array that is not all NULL."""
    found = compute.min_max(array).as_py()
    return found["min"], found["max"]


def _usage_columns(usages: Sequence[dict[str, int]]) -> dict[str, pa.Array]:
    """A column for each meter that occurs; names that are no meter are kept in `usage_other`."""
    names: set[str] = set().union(*usages) if usages else set()
    columns = {name: _integers([usage.get(name, 0) for usage in usages], COUNT_MAX) for name in names & BY_NAME.keys()}
    other = names - BY_NAME.keys()
    if other:
        rest = [{name: count for name, count in usage.items() if name in other} for usage in usages]
        columns["usage_other"] = pa.array([_to_json(part).decode() if part else None for part in rest], pa.string())
    return columns


def _rare_column(values: Sequence[object]) -> pa.Array:
    """JSON text of what is there, NULL for None and what is empty."""
    if not any(values):
        return pa.nulls(len(values), pa.string())
    return pa.array([_to_json(value) if value else None for value in values], pa.binary()).view(pa.string())


def _distinct_column(values: list[dict[str, int] | None]) -> pa.Array:
    """JSON text of values that hardly ever repeat, NULL for None: encoded all at once, a line each."""
    lines = _json.encode_lines(values).split(b"\n")
    lines.pop()
    texts = [None if line == b"null" else line for line in lines]
    return pa.array(texts, pa.binary()).view(pa.string())


def _repeated_column(values: list[bytes]) -> pa.Array:
    """JSON text of msgpack values of which few are distinct, NULL for nil and for what is empty."""
    if values and values.count(values[0]) == len(values):
        text = _json_text(values[0])
        return pa.nulls(len(values), pa.string()) if text is None else pa.repeat(text.decode(), len(values))
    try:
        texts = [*map(_cache.__getitem__, values)]
    except KeyError:
        if len(_cache) > _CACHE_MAX:
            _cache.clear()
        _cache.update((value, _json_text(value)) for value in set(values) - _cache.keys())
        texts = [*map(_cache.__getitem__, values)]
    return pa.array(texts, pa.binary()).view(pa.string())


def _json_text(value: bytes) -> bytes | None:
    return None if value in _EMPTY else json_text(value)


def json_text(value: bytes, decode: Callable[[bytes], object] = _from_msgpack) -> bytes:
    """JSON from msgspec is valid UTF-8, so that the column needs no further check. Raises LedgerError."""
    try:
        return _to_json(decode(value))
    except (msgspec.MsgspecError, TypeError) as error:  # TypeError: a map whose keys are no text
        raise LedgerError(f"what should become JSON does not: {error}") from None


@contextmanager
def gc_paused() -> Iterator[None]:
    """Many acyclic objects are made at once: walking them again and again would cost more than they do."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
