"""Units that count once for a value: of all events that say they do, the first that is done is counted.

It is decided in the transaction that keeps the events, so neither a restart nor a second worker counts one twice. An
event that came after the one that was counted keeps its count as `analyses#again`: a worker that lives may have counted
it in its own word, and the authority on limits takes it off again (see `spent`).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from farebox.core.events import UNIT_MARK
from farebox.core.limits import tag_text
from farebox.core.units import AGAIN, Once
from farebox.ledger.stores.duckdb.store import Cursor, Store

KEPT_DAYS: Final = 90
"""How long after it was counted a value is known to have been."""
_KEY: Final = ("unit", "per", "tenant", "value")
_SAME: Final = " AND ".join(f"known.{name} = asked.{name}" for name in _KEY)
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.encode


def count_once(cursor: Cursor, events: pa.Table, now: datetime) -> pa.Table:
    """The events as they are to be kept, and what they count once noted as counted."""
    if "units" not in events.column_names or not pc.any(pc.match_substring(events["units"], UNIT_MARK)).as_py():
        return events
    units = events["units"].to_pylist()
    rows = [row for row, text in enumerate(units) if text is not None and UNIT_MARK in text]
    said = [_said(events, row, _decode(units[row])) for row in rows]
    asked = {once for _, counts in said for _, _, once in counts if once is not None}
    counted = _known(cursor, asked)
    new: list[Once] = []
    for row, (done, counts) in zip(rows, said, strict=True):
        kept: dict[str, int] = {}
        for unit, count, once in counts:
            again = done and once is not None and once in counted
            kept[f"{unit}{AGAIN}" if again else unit] = count
            if done and once is not None and not again:
                counted.add(once)
                new.append(once)
        units[row] = _encode(kept).decode()
    _note(cursor, new, now)
    at = events.column_names.index("units")
    return events.set_column(at, "units", pa.array(units, pa.string()))


def counted(store: Store, asked: Iterable[Once]) -> list[bool]:
    """Whether each has been counted."""
    wanted = list(asked)
    with store.reading() as cursor:
        known = _known(cursor, wanted)
    return [once in known for once in wanted]


def forget(store: Store, now: datetime) -> None:
    """Let go of what was counted long ago."""
    with store.writing() as cursor:
        cursor.execute(f"DELETE FROM counted_once WHERE counted_at < $now - INTERVAL {KEPT_DAYS} DAY", {"now": now})


def _said(events: pa.Table, row: int, units: dict[str, int]) -> tuple[bool, list[tuple[str, int, Once | None]]]:
    """Whether the event is done, and (unit, count, what it is counted once for) of each of its units."""
    done = events["state"][row].as_py() == "done"
    tenant = events["tenant"][row].as_py() or ""
    found: list[tuple[str, int, Once | None]] = []
    for name, count in units.items():
        unit, mark, per = name.partition(UNIT_MARK)
        value = _value(events, row, per) if mark else None
        found.append((unit, count, None if value is None else Once(unit, per, tenant, value)))
    return done, found


def _value(events: pa.Table, row: int, per: str) -> str | None:
    if not per.startswith("tag."):
        found: str | None = events[per][row].as_py() if per in events.column_names else None
        return found
    tags = events["tags"][row].as_py()
    tag = _decode(tags).get(per[4:]) if tags else None
    return None if tag is None else tag_text(tag)


def _known(cursor: Cursor, asked: Iterable[Once]) -> set[Once]:
    table = _table(asked)
    if not table.num_rows:
        return set()
    cursor.register("asked", table)
    rows = cursor.execute(f"SELECT asked.* FROM asked SEMI JOIN counted_once known ON {_SAME}").fetchall()
    cursor.unregister("asked")
    return {Once(*row) for row in rows}


def _note(cursor: Cursor, new: list[Once], now: datetime) -> None:
    if not new:
        return
    cursor.register("new_once", _table(new))
    cursor.execute("INSERT INTO counted_once BY NAME SELECT *, $now AS counted_at FROM new_once", {"now": now})
    cursor.unregister("new_once")


def _table(keys: Iterable[Once]) -> pa.Table:
    rows = list(keys)
    return pa.table(
        {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(_KEY)},
    )
