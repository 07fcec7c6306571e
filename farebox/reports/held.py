"""Long answers of the ledger that are held between questions, so that only what has changed of them is asked for."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import msgspec

from farebox.core.money import parse_usd
from farebox.core.queries import PERIODS, UsageQuery

ROWS_MAX: Final = 300_000
"""Of all answers together, at about half a kilobyte each; the pages of 30,000 customers ask for as many. One that has
more alone is not held."""
Row = dict[str, Any]
Key = tuple[Any, ...]


class HeldSums:
    """Thread-safe. What is answered is what the ledger has by then, row by row, in no order. Rows are shared between
    answers: nobody changes them."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._held: OrderedDict[bytes, tuple[Any, dict[Key, Row]]] = OrderedDict()
        self._lock = Lock()

    def rows(self, query: UsageQuery, ask: Callable[[str, object], Any]) -> list[Row]:
        # "Until now" is the same question a moment later: the ledger says whether what is held is of the same time.
        question = msgspec.msgpack.encode(msgspec.structs.replace(query, until_us=None))
        with self._lock:
            position, before = self._held.get(question, (None, {}))
        answer = ask("changed_sums", {"query": query, "position": position})
        names, meta = answer["columns"], answer["meta"]
        width = len(names) - len(query.measures)
        found = {row[:width]: dict(zip(names, row, strict=True)) for row in zip(*answer["values"], strict=True)}
        if not meta.get("is_whole", True):
            found = _with_peaks(query, before, found) if query.peak_min else {**before, **found}
        if query.as_of_us is None and "position" in meta and len(found) < min(self._rows_max, query.limit):
            self._hold(question, meta["position"], found)
        return list(found.values())

    def _hold(self, question: bytes, position: Any, found: dict[Key, Row]) -> None:
        with self._lock:
            self._held[question] = position, found
            self._held.move_to_end(question)
            while sum(len(rows) for _, rows in self._held.values()) > self._rows_max:
                self._held.popitem(last=False)


def _with_peaks(query: UsageQuery, before: dict[Key, Row], newer: dict[Key, Row]) -> dict[Key, Row]:
    """Those of before and what is newer of some groups, of whom those stay who reach the least peak in some period."""
    own = [place for place, name in enumerate(query.group_by) if name not in PERIODS]

    def group(key: Key) -> Key:
        return tuple(key[place] for place in own)

    touched = {group(key) for key in newer}
    reaching = {group(key) for key, row in newer.items() if parse_usd(row["spend"] or 0) >= query.peak_min}
    found = {key: row for key, row in before.items() if group(key) not in touched}
    return found | {key: row for key, row in newer.items() if group(key) in reaching}
