"""Answers that still hold: a question that was answered since the last write is not asked of the store again.

Nothing is stale: an answer is kept with the batch that it was made of, and a later batch ends it. Questions that differ
in their end alone are one where that lies behind the newest event, as it does for "until now".
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb.store import Store, one
from farebox.ledger.stores.duckdb.usage import us_of

ANSWERS_MAX: Final = 256
ROWS_MAX: Final = 5000
"""Of one answer; a longer one is not kept."""
Answer = dict[str, object]


class Remembered:
    """Thread-safe."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._made_of: tuple[object, ...] = ()
        self._newest_us = 0
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def ask(self, kind: str, query: UsageQuery, answered: Callable[[], Answer]) -> Answer:
        """The answer that is kept, else that of `answered`, which may be from a later batch but never from an earlier
        one."""
        made_of, newest_us = self._now()
        if query.until_us is not None and query.until_us > newest_us:
            query = msgspec.structs.replace(query, until_us=None)
        key = msgspec.msgpack.encode((kind, query))
        with self._lock:
            if made_of == self._made_of and key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        answer = answered()
        if _rows(answer) <= ROWS_MAX:
            self._keep(made_of, key, answer)
        return answer

    def _keep(self, made_of: tuple[object, ...], key: bytes, answer: Answer) -> None:
        with self._lock:
            if made_of == self._made_of:
                self._answers[key] = answer
                while len(self._answers) > ANSWERS_MAX:
                    self._answers.popitem(last=False)

    def _now(self) -> tuple[tuple[object, ...], int]:
        with self._store().reading() as cursor:
            made_of = one(cursor, "SELECT state.batch, dropped_before FROM state, rolled")
            with self._lock:
                if made_of == self._made_of:
                    return made_of, self._newest_us
            (newest,) = one(cursor, "SELECT max(started_at) FROM events")
        with self._lock:
            self._made_of, self._newest_us = made_of, 0 if newest is None else us_of(newest)
            self._answers.clear()
            return made_of, self._newest_us


def _rows(answer: Answer) -> int:
    rows = answer.get("rows")
    if isinstance(rows, list):
        return len(rows)
    values = answer.get("values")
    return len(values[0]) if isinstance(values, list) and values else 0
