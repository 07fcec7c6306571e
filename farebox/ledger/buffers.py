# cython: boundscheck=False, wraparound=False, cdivision=True
"""Growing columns that are written a value at a time and handed to Arrow as they are, without a copy.

A row may be written again until the next is begun: so what was read of a record that proves wrong leaves nothing.
"""

from typing import Final

import pyarrow as pa

ROWS_AT_FIRST: Final = 1024
"""Most batches are small: the keeper reads several times a second."""


class Texts:
    """Text, or bytes."""

    __slots__ = ("_bytes", "_data", "_nulls", "_offsets", "_rows", "_size", "_starts", "_valid", "_validity", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._rows = 0
        self._size = 0
        self._nulls = False
        self._bytes = bytearray()
        self._offsets = bytearray(4)
        self._validity = bytearray()
        self.make_room(ROWS_AT_FIRST)
        self.make_bytes(16 * ROWS_AT_FIRST)

    def make_room(self, rows: int) -> None:
        """For so many rows in all."""
        self._rows = rows
        self._offsets = larger(self._offsets, 4 * rows + 4)
        self._starts = memoryview(self._offsets).cast("i")
        self._validity = larger(self._validity, (rows + 7) // 8)
        self._valid = memoryview(self._validity)

    def make_bytes(self, size: int) -> None:
        """For so many bytes of text in all."""
        self._size = size
        self._bytes = larger(self._bytes, size)
        self._data = memoryview(self._bytes)

    def none(self, row: int) -> None:
        self._nulls = True
        self._valid[row >> 3] &= 255 ^ (1 << (row & 7))
        self._starts[row + 1] = self._starts[row]

    def add(self, row: int, source: bytes, start: int, size: int) -> int:
        """Of `source`, which must be so long. -> bits that occur in the bytes: 128 and above where not all is ASCII."""
        at = self._starts[row]
        if at + size > self._size:
            self.make_bytes(2 * (at + size))
        data = self._data
        bits = 0
        for index in range(size):
            byte = source[start + index]
            data[at + index] = byte
            bits |= byte
        self._valid[row >> 3] |= 1 << (row & 7)
        self._starts[row + 1] = at + size
        return bits

    def begin(self, row: int) -> None:
        """A text that `put` and `put_number` write piece by piece. It must be ended by `end`."""
        self._valid[row >> 3] |= 1 << (row & 7)
        self._starts[row + 1] = self._starts[row]

    def put(self, row: int, source: bytes, start: int, size: int) -> None:
        at = self._starts[row + 1]
        if at + size > self._size:
            self.make_bytes(2 * (at + size))
        data = self._data
        for index in range(size):
            data[at + index] = source[start + index]
        self._starts[row + 1] = at + size

    def put_number(self, row: int, value: int) -> None:
        """In decimal digits."""
        at = self._starts[row + 1]
        if at + 20 > self._size:
            self.make_bytes(2 * (at + 20))
        data = self._data
        if value < 0:
            data[at] = 45  # -
            at += 1
            value = -value
        digits = 1
        rest = value // 10
        while rest:
            digits += 1
            rest //= 10
        for index in range(digits):
            data[at + digits - 1 - index] = 48 + value % 10
            value //= 10
        self._starts[row + 1] = at + digits

    def array(self, rows: int, kind: pa.DataType) -> pa.Array:
        validity = pa.py_buffer(self._validity) if self._nulls else None
        return pa.Array.from_buffers(kind, rows, [validity, pa.py_buffer(self._offsets), pa.py_buffer(self._bytes)])

    def used(self, row: int) -> int:
        return self._starts[row]


class Integers:
    """Whole numbers from `least` to `largest`, of at most 64 bits."""

    __slots__ = ("_bytes", "_nulls", "_valid", "_validity", "_values", "largest", "least", "name")

    def __init__(self, name: str, largest: int, least: int) -> None:
        self.name = name
        self.largest = largest
        self.least = least
        self._nulls = False
        self._bytes = bytearray()
        self._validity = bytearray()
        self.make_room(ROWS_AT_FIRST)

    def make_room(self, rows: int) -> None:
        """For so many rows in all; new ones are 0."""
        self._bytes = larger(self._bytes, 8 * rows)
        self._values = memoryview(self._bytes).cast("q")
        self._validity = larger(self._validity, (rows + 7) // 8)
        self._valid = memoryview(self._validity)

    def none(self, row: int) -> None:
        self._nulls = True
        self._valid[row >> 3] &= 255 ^ (1 << (row & 7))

    def add(self, row: int, value: int) -> bool:
        """False where the value is out of bounds."""
        if value > self.largest or value < self.least:
            return False
        self._values[row] = value
        self._valid[row >> 3] |= 1 << (row & 7)
        return True

    def clear(self, row: int) -> None:
        self._values[row] = 0

    def array(self, rows: int) -> pa.Array:
        validity = pa.py_buffer(self._validity) if self._nulls else None
        return pa.Array.from_buffers(pa.int64(), rows, [validity, pa.py_buffer(self._bytes)])


class Flags:
    """Booleans."""

    __slots__ = ("_bits", "_bytes", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._bytes = bytearray()
        self.make_room(ROWS_AT_FIRST)

    def make_room(self, rows: int) -> None:
        self._bytes = larger(self._bytes, (rows + 7) // 8)
        self._bits = memoryview(self._bytes)

    def add(self, row: int, value: bool) -> None:
        if value:
            self._bits[row >> 3] |= 1 << (row & 7)
        else:
            self._bits[row >> 3] &= 255 ^ (1 << (row & 7))

    def array(self, rows: int) -> pa.Array:
        return pa.Array.from_buffers(pa.bool_(), rows, [None, pa.py_buffer(self._bytes)])


def larger(buffer: bytearray, size: int) -> bytearray:
    """A copy with room behind it. What is handed to others keeps the one that it knows."""
    grown = bytearray(size)
    grown[: len(buffer)] = buffer
    return grown
