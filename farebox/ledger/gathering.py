# cython: boundscheck=False, wraparound=False, cdivision=True
"""Finished records straight into the columns of Arrow: no object is made for a field, where this runs compiled.

It reads what this version writes and nothing else; whatever it does not know, it leaves to `columns.py`, which tells
what is wrong with a record or makes the same columns of it, more slowly. Nothing is read or stored outside its bounds:
each place that advances checks first, since the compiled copy does not.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Final

import msgspec
import pyarrow as pa

from farebox.core.events import Head, Part, Stored, Tail
from farebox.core.meters import BY_NAME
from farebox.errors import LedgerError
from farebox.ledger.buffers import ROWS_AT_FIRST, Flags, Integers, Texts
from farebox.ledger.columns import COST_MAX, COUNT_MAX, HEAD_TEXTS, INTEGERS, OWN, TAIL_TEXTS, TIME_MAX_US, json_text

BYTES_MAX: Final = 1 << 30
"""A column of text counts its bytes in 31 bits."""
_BEGINNING: Final = b"\x93\x02"
_NIL: Final = 0xC0
_DEPTH_MAX: Final = 16
"""Nothing that is kept is nested deeper."""
_JSON_CACHE_MAX: Final = 20_000
_COST_MAX: Final = COST_MAX
_HEAD_FIELDS: Final = len(Head.__struct_fields__)
_TAIL_FIELDS: Final = len(Tail.__struct_fields__)
_WHOLE: Final = ("attempt", "retries", "first_byte_us", "status", "cost", "reported_cost", "saved")
_anything: Final = msgspec.msgpack.Decoder().decode
_JSONS: Final[dict[str, tuple[Callable[[bytes], object], bytes]]] = {
    "tags": (_anything, b"\xc0\x80\x90"),
    "units": (msgspec.msgpack.Decoder(dict[str, int] | None).decode, b"\xc0\x80"),
    "rates": (_anything, b"\xc0\x80\x90"),
    "parts": (msgspec.msgpack.Decoder(tuple[Part, ...]).decode, b"\x90"),
    "limits": (_anything, b"\xc0\x80\x90"),
    "marks": (msgspec.msgpack.Decoder(tuple[str, ...]).decode, b"\x90"),
    "qualifiers": (msgspec.msgpack.Decoder(dict[str, str | bool]).decode, b"\x80"),
    "objects": (msgspec.msgpack.Decoder(tuple[Stored, ...]).decode, b"\x90"),
}
"""Fields that become JSON text, in their order: how they are decoded, and the single bytes that say there is none."""


class Json:
    """Fields that are kept as JSON text, which is made once for each distinct value."""

    __slots__ = ("_decode", "_known", "empties", "last", "text", "texts")

    def __init__(self, name: str) -> None:
        self.texts = Texts(name)
        self._decode, self.empties = _JSONS[name]
        self._known: dict[bytes, bytes] = {}
        self.last = b""
        """The msgpack of the row before, as it hardly ever changes in some columns; `text` is made of it."""
        self.text = b""

    def turn(self, value: bytes) -> None:
        """Make `text` that of a value. Raises LedgerError."""
        text = self._known.get(value)
        if text is None:
            text = json_text(value, self._decode)
            if len(self._known) >= _JSON_CACHE_MAX:
                self._known.clear()
            self._known[value] = text
        self.last, self.text = value, text


class Gatherer:
    """Columns that finished records are added to, one after the other."""

    __slots__ = (
        "_costs", "_end", "_flags", "_is_none", "_jsons", "_meter_names", "_meters", "_raw", "_record", "_room",
        "_text_columns", "_times", "_value", "_whole", "rows",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows = 0
        self._room = ROWS_AT_FIRST
        self._record = b""
        self._end = 0
        self._value = 0
        self._is_none = False
        self._text_columns = [Texts(name) for name in (*HEAD_TEXTS, *TAIL_TEXTS)]
        self._raw = Texts("usage_raw")
        self._whole = [Integers(name, INTEGERS[name], -INTEGERS[name]) for name in _WHOLE]
        self._times = [Integers(name, TIME_MAX_US - 1, 0) for name in ("started_at", "finished_at")]
        self._flags = [Flags(name) for name in ("streaming", "byok")]
        self._jsons = [Json(name) for name in _JSONS]
        self._costs = Texts("cost_by_meter")
        self._meters: list[Integers] = []
        self._meter_names: list[bytes] = []

    def add(self, record: bytes) -> bool:
        """Take in a finished record. False, and nothing is taken, where it is not as this version writes them, or holds
        what no event can have."""
        if self.rows == self._room:
            self._grow()
        self._record = record
        self._end = len(record)
        try:
            at = self._tail(self._head(2)) if record[:2] == _BEGINNING else 0
        except (LedgerError, UnicodeError):
            at = 0
        if at == 0 or at != self._end:
            for meter in self._meters:
                meter.clear(self.rows)
            return False
        self.rows += 1
        return True

    def is_full(self) -> bool:
        """Whether a column of text nears its bound: `tables`, and go on with another."""
        return max([texts.used(self.rows) for texts in self._all_texts()]) > BYTES_MAX

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """(events, usage_raw), as `columns.build` makes them. Nothing may be added afterwards."""
        rows = self.rows
        columns = {texts.name: texts.array(rows, pa.string()) for texts in self._text_columns}
        columns["kind"] = pa.repeat(pa.scalar(OWN["kind"], pa.string()), rows)
        columns["corrects"] = pa.nulls(rows, pa.string())
        columns |= {flags.name: flags.array(rows) for flags in self._flags}
        columns |= {json.texts.name: json.texts.array(rows, pa.string()) for json in self._jsons}
        columns |= {whole.name: whole.array(rows) for whole in (*self._whole, *self._meters)}
        columns |= {times.name: times.array(rows).view(pa.timestamp("us")) for times in self._times}
        columns["refused_count"] = pa.repeat(pa.scalar(OWN["refused_count"], pa.int64()), rows)
        columns["cost_by_meter"] = self._costs.array(rows, pa.string())
        raw = self._raw.array(rows, pa.binary())
        usage_raw = pa.table({"id": columns["id"], "started_at": columns["started_at"], "usage_raw": raw})
        return pa.table(columns), usage_raw.filter(raw.is_valid()) if raw.null_count else usage_raw

    def _grow(self) -> None:
        self._room *= 2
        for texts in self._all_texts():
            texts.make_room(self._room)
        for integers in (*self._whole, *self._times, *self._meters):
            integers.make_room(self._room)
        for flags in self._flags:
            flags.make_room(self._room)

    def _all_texts(self) -> list[Texts]:
        return [*self._text_columns, self._raw, self._costs, *[json.texts for json in self._jsons]]

    def _head(self, at: int) -> int:
        """The fields of `Head` in their order. -> where they end, 0 where they are not."""
        record = self._record
        if at + 3 > self._end or record[at] != 0xDC or record[at + 1] != 0 or record[at + 2] != _HEAD_FIELDS:
            return 0
        at = self._texts(at + 3, 0, 2, False)
        at = self._number(at, self._whole[0], False)  # attempt
        at = self._number(at, self._times[0], False)
        at = self._texts(at, 2, 3, False)
        at = self._texts(at, 5, 1, True)  # model_requested
        at = self._flag(at, self._flags[0])
        at = self._texts(at, 6, 1, True)  # key_id
        at = self._flag(at, self._flags[1])
        at = self._texts(at, 7, 7, True)
        at = self._json(at, self._jsons[0])
        at = self._json(at, self._jsons[1])
        at = self._texts(at, 14, 2, True)
        at = self._number(at, self._whole[1], False)  # retries
        at = self._skip(at, 0)  # slot
        at = self._skip(at, 0)  # input_estimate
        return self._skip(at, 0)  # held

    def _tail(self, at: int) -> int:
        """The fields of `Tail` in their order. -> where they end, 0 where they are not."""
        record = self._record
        if at == 0 or at + 3 > self._end or record[at] != 0xDC or record[at + 1] != 0 or record[at + 2] != _TAIL_FIELDS:
            return 0
        at = self._number(at + 3, self._times[1], False)
        at = self._number(at, self._whole[2], True)  # first_byte_us
        at = self._number(at, self._whole[3], True)  # status
        at = self._texts(at, 16, 1, False)  # state
        at = self._texts(at, 17, 3, True)
        at = self._usage(at)
        at = self._blob(at, self._raw)
        at = self._number(at, self._whole[4], True)  # cost
        at = self._costs_of(at)
        at = self._json(at, self._jsons[2])
        at = self._texts(at, 20, 1, False)  # cost_source
        at = self._texts(at, 21, 2, True)
        at = self._json(at, self._jsons[3])
        at = self._number(at, self._whole[5], True)  # reported_cost
        at = self._texts(at, 23, 1, True)  # object_id
        at = self._json(at, self._jsons[4])
        at = self._number(at, self._whole[6], True)  # saved
        at = self._texts(at, 24, 1, True)  # outcome
        at = self._json(at, self._jsons[5])
        at = self._json(at, self._jsons[6])
        return self._json(at, self._jsons[7])

    def _texts(self, at: int, first: int, count: int, may_be_none: bool) -> int:
        """The next texts, into as many columns. As all that reads here: 0 where they are not, and 0 for 0."""
        record = self._record
        for number in range(first, first + count):
            if at == 0 or at >= self._end:
                return 0
            column = self._text_columns[number]
            if record[at] == _NIL:
                if not may_be_none:
                    return 0
                column.none(self.rows)
                at += 1
                continue
            start = self._text(at)
            if start == 0:
                return 0
            size = self._value
            if column.add(self.rows, record, start, size) > 127:
                record[start : start + size].decode()
            at = start + size
        return at

    def _text(self, at: int) -> int:
        """Where the bytes of a text begin whose header stands at `at`; `_value` is how many, and they are there."""
        record, end = self._record, self._end
        if at >= end:
            return 0
        kind = record[at]
        if 0xA0 <= kind <= 0xBF:
            start, size = at + 1, kind & 31
        elif kind == 0xD9 and at + 2 <= end:
            start, size = at + 2, record[at + 1]
        elif kind == 0xDA and at + 3 <= end:
            start, size = at + 3, record[at + 1] << 8 | record[at + 2]
        else:
            return 0
        self._value = size
        return start if start + size <= end else 0

    def _blob(self, at: int, column: Texts) -> int:
        """Bytes; none where they are empty."""
        record, end = self._record, self._end
        if at == 0 or at + 2 > end:
            return 0
        kind = record[at]
        if kind == 0xC4:
            start, size = at + 2, record[at + 1]
        elif kind == 0xC5 and at + 3 <= end:
            start, size = at + 3, record[at + 1] << 8 | record[at + 2]
        else:
            return 0
        if start + size > end:
            return 0
        if size:
            column.add(self.rows, record, start, size)
        else:
            column.none(self.rows)
        return start + size

    def _number(self, at: int, column: Integers, may_be_none: bool) -> int:
        at = self._integer(at)
        if at == 0:
            return 0
        if self._is_none:
            column.none(self.rows)
            return at if may_be_none else 0
        return at if column.add(self.rows, self._value) else 0

    def _integer(self, at: int) -> int:
        """A whole number below 2^63 into `_value`, or `_is_none`."""
        record, end = self._record, self._end
        if at == 0 or at >= end:
            return 0
        kind = record[at]
        self._is_none = kind == _NIL
        if kind < 0x80:
            self._value = kind
            return at + 1
        if kind >= 0xE0:
            self._value = kind - 256
            return at + 1
        if kind == _NIL:
            return at + 1
        if kind < 0xCC or kind > 0xD3:
            return 0
        size = 1 << (kind & 3)
        if at + 1 + size > end:
            return 0
        value = record[at + 1]
        if kind >= 0xD0 and value > 127:
            value -= 256
        elif size == 8 and value > 127:
            return 0
        for index in range(at + 2, at + 1 + size):
            value = value * 256 + record[index]
        self._value = value
        return at + 1 + size

    def _flag(self, at: int, column: Flags) -> int:
        if at == 0 or at >= self._end:
            return 0
        kind = self._record[at]
        if kind != 0xC2 and kind != 0xC3:
            return 0
        column.add(self.rows, kind == 0xC3)
        return at + 1

    def _json(self, at: int, column: Json) -> int:
        """Any value, as JSON text; none where it is nil or empty."""
        if at == 0 or at >= self._end:
            return 0
        if self._record[at] in column.empties:
            column.texts.none(self.rows)
            return at + 1
        end = self._skip(at, 0)
        if end == 0:
            return 0
        value = self._record[at:end]
        if value != column.last:
            column.turn(value)
        text = column.text
        column.texts.add(self.rows, text, 0, len(text))
        return end

    def _usage(self, at: int) -> int:
        """Counts by meter, each into its meter's column; 0 where a name is no meter."""
        pairs = self._pairs(at)
        at += 1
        while pairs > 0:
            pairs -= 1
            start = self._text(at)
            if start == 0:
                return 0
            size = self._value
            at = self._integer(start + size)
            if at == 0 or self._is_none:
                return 0
            meter = self._meter(start, size)
            if meter is None or not meter.add(self.rows, self._value):
                return 0
        return at if pairs == 0 else 0

    def _meter(self, start: int, size: int) -> Integers | None:
        """The column of the meter that is named there. A few meters make up nearly all usage."""
        record = self._record
        for number in range(len(self._meters)):
            name = self._meter_names[number]
            if len(name) == size:
                index = 0
                while index < size and name[index] == record[start + index]:
                    index += 1
                if index == size:
                    return self._meters[number]
        name = record[start : start + size]
        if name.decode() not in BY_NAME:
            return None
        meter = Integers(name.decode(), COUNT_MAX, -COUNT_MAX)
        meter.make_room(self._room)
        self._meters.append(meter)
        self._meter_names.append(name)
        return meter

    def _costs_of(self, at: int) -> int:
        """Costs by meter as JSON text, which hardly ever repeats; none where there are none."""
        record, costs, row = self._record, self._costs, self.rows
        pairs = self._pairs(at)
        if pairs < 0:
            return 0
        if pairs == 0:
            costs.none(row)
            return at + 1
        at += 1
        costs.begin(row)
        costs.put(row, b'{"', 0, 2)
        while pairs > 0:
            pairs -= 1
            start = self._text(at)
            if start == 0:
                return 0
            size = self._value
            for index in range(start, start + size):
                if not (97 <= record[index] <= 122 or 48 <= record[index] <= 57 or record[index] == 95):
                    return 0  # no name of a meter: it might need escapes
            costs.put(row, record, start, size)
            costs.put(row, b'":', 0, 2)
            at = self._integer(start + size)
            if at == 0 or self._is_none or self._value > _COST_MAX or self._value < -_COST_MAX:
                return 0
            costs.put_number(row, self._value)
            if pairs:
                costs.put(row, b',"', 0, 2)
        costs.put(row, b"}", 0, 1)
        return at

    def _pairs(self, at: int) -> int:
        """How many pairs the short map there has; -1 where there is none."""
        if at == 0 or at >= self._end:
            return -1
        kind = self._record[at]
        return kind & 15 if 0x80 <= kind <= 0x8F else -1

    def _skip(self, at: int, depth: int) -> int:
        """Where any value ends."""
        record, end = self._record, self._end
        if at == 0 or at >= end or depth > _DEPTH_MAX:
            return 0
        kind = record[at]
        items, size = 0, 0
        if kind < 0x80 or kind >= 0xE0 or kind == _NIL or kind == 0xC2 or kind == 0xC3:
            pass
        elif kind <= 0x8F:
            items = 2 * (kind & 15)
        elif kind <= 0x9F:
            items = kind & 15
        elif kind <= 0xBF:
            size = kind & 31
        elif 0xCC <= kind <= 0xD3:
            size = 1 << (kind & 3)
        elif kind == 0xCB:
            size = 8
        elif kind == 0xD9 and at + 2 <= end:
            size = 1 + record[at + 1]
        elif kind == 0xDA and at + 3 <= end:
            size = 2 + (record[at + 1] << 8 | record[at + 2])
        elif (kind == 0xDC or kind == 0xDE) and at + 3 <= end:
            items = (record[at + 1] << 8 | record[at + 2]) * (2 if kind == 0xDE else 1)
            size = 2
        else:
            return 0
        at += 1 + size
        if at > end:
            return 0
        while items > 0:
            items -= 1
            at = self._skip(at, depth + 1)
            if at == 0:
                return 0
        return at


COMPILED: Final = not isinstance(Gatherer.add, FunctionType)
"""As plain Python this is much slower than what `columns.py` does with the help of msgspec."""
