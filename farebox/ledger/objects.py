"""Which stored object was made by whom, and which event carries its bill: an index over what the ledger recorded.

A projection: it is written before the batch that it was learnt from, every step may be repeated, and a file that is
missing is made anew from the events. Objects are known by (space, id), where the space is the provider, apart for
calls with the caller's own credential: those are in accounts of their own, where ids may be the same by chance.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from farebox.core.events import Head, Stored
from farebox.errors import LedgerError

PART_MARK: Final = "#"
"""Between an object's id and what names a part of it that is billed by itself (`Metered.apart`)."""
DEPTH_MAX: Final = 8
"""How far 'belongs to whoever made that' is followed: file, batch, result file is three."""
FILE_NAME: Final = "objects.sqlite"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS objects (
    space TEXT NOT NULL, id TEXT NOT NULL, maker TEXT, tenant TEXT, "user" TEXT, who TEXT, parent TEXT,
    gone INTEGER NOT NULL DEFAULT 0, bill TEXT, whole INTEGER NOT NULL DEFAULT 0, by_reader INTEGER NOT NULL DEFAULT 0,
    replaced TEXT, moved_by TEXT, seen_us INTEGER NOT NULL, PRIMARY KEY (space, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_parent ON objects (space, parent) WHERE parent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_seen ON objects (seen_us);
"""


class Who(msgspec.Struct, frozen=True):
    """Whom an event is attributed to. `tags` is JSON text."""

    tenant: str | None = None
    user: str | None = None
    workspace: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: str | None = None


class Sighting(NamedTuple):
    """What one event says of stored objects. `object_id` is the one that it made or, where its path names it, read."""

    event_id: str
    space: str
    at_us: int
    who: Who
    object_id: str | None = None
    reads: bool = False
    objects: tuple[Stored, ...] = ()
    bills: bool = False
    """Whether it has a cost, known or not."""
    whole: bool = False
    """Whether its usage is the provider's final count."""


class Verdicts(NamedTuple):
    """What a batch's events need beside what they say, by event id."""

    forgiven: set[str]
    """Their object is billed by another event."""
    moved: dict[str, Who]
    """They bill an object that somebody else made."""
    unknown: set[str]
    """They bill an object of which nobody knows who made it."""
    late_forgiven: dict[str, str]
    """Events of earlier batches that are billed by another one after all -> that one's id."""
    late_moved: dict[str, Who]
    """Events of earlier batches whose object's maker came to be known."""


def space_of(provider: str, *, byok: bool) -> str:
    return f"{provider}/byok" if byok else provider


class ObjectIndex:
    """Safe to use from several threads: one writes, all may look up meanwhile."""

    def __init__(self, path: Path) -> None:
        self.is_new = not path.exists()
        self._path = path
        self._writer = _open(path)
        self._reader = _open(path)
        self._writing = threading.Lock()
        self._reading = threading.Lock()

    def close(self) -> None:
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def tenants(self, space: str, ids: Iterable[str]) -> dict[str, str | None]:
        """The tenant of whoever made each of these objects; what is unknown, or deleted, is left out."""
        with self._reading, self._failing():
            found = ((object_id, _owner(self._reader, space, object_id)) for object_id in ids)
            return {object_id: who.tenant for object_id, who in found if who is not None}

    def take(self, sightings: Sequence[Sighting]) -> Verdicts:
        """Learn what the events of one batch say, and judge who bills what. May be repeated with the same events,
        also in other batches, as happens after a crash: the verdicts stay."""
        with self._transaction() as cursor:
            return _Taking(cursor, sightings).verdicts()

    def prune(self, before_us: int, rows_max: int) -> int:
        """Forget objects that were last heard of before then, and the oldest beyond `rows_max`. -> how many."""
        with self._transaction() as cursor:
            gone = cursor.execute("DELETE FROM objects WHERE seen_us < ?", [before_us]).rowcount
            ((rows,),) = cursor.execute("SELECT count(*) FROM objects").fetchall()
            if rows > rows_max:
                gone += cursor.execute(
                    "DELETE FROM objects WHERE (space, id) IN (SELECT space, id FROM objects ORDER BY seen_us LIMIT ?)",
                    [rows - rows_max],
                ).rowcount
        return gone

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._writing, self._failing(), self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer.cursor()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"the index of stored objects {self._path} fails: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    # A batch is in the ledger only after what it told is here: not even power loss must take that back.
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(_TABLES)
    return connection


_INSERT: Final = (
    'INSERT INTO objects (space, id, maker, tenant, "user", who, bill, whole, seen_us) '
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


class _Row(NamedTuple):
    maker: str | None
    tenant: str | None
    user: str | None
    who: str | None
    parent: str | None
    gone: int
    bill: str | None
    whole: int
    by_reader: int
    replaced: str | None
    moved_by: str | None


_SELECT: Final = f"SELECT {', '.join(chr(34) + name + chr(34) for name in _Row._fields)} FROM objects"


def _row(cursor: sqlite3.Cursor | sqlite3.Connection, space: str, object_id: str) -> _Row | None:
    found = cursor.execute(f"{_SELECT} WHERE space = ? AND id = ?", [space, object_id]).fetchone()
    return None if found is None else _Row(*found)


def _owner(cursor: sqlite3.Cursor | sqlite3.Connection, space: str, object_id: str) -> Who | None:
    """Who made an object, itself or by what it belongs to; None where nobody knows or it is gone."""
    for _ in range(DEPTH_MAX):
        row = _row(cursor, space, object_id)
        if row is None or row.gone:
            return None
        if row.maker is not None:
            return _who(row)
        if row.parent is None:
            return None
        object_id = row.parent
    return None


def _who(row: _Row) -> Who:
    rest = msgspec.json.decode(row.who, type=Who) if row.who else Who()
    return msgspec.structs.replace(rest, tenant=row.tenant, user=row.user)


def _rest(who: Who) -> str | None:
    """What of `who` has no column of its own, None where that is nothing."""
    rest = msgspec.structs.replace(who, tenant=None, user=None)
    if rest == _NOBODY:
        return None
    named: dict[str, str] = {name: value for name, value in msgspec.structs.asdict(rest).items() if value is not None}
    return msgspec.json.encode(named).decode()


_NOBODY: Final = Who()


class _Taking:
    """One batch being taken in."""

    def __init__(self, cursor: sqlite3.Cursor, sightings: Sequence[Sighting]) -> None:
        self._cursor = cursor
        self._sightings = sorted(sightings, key=lambda sighting: (sighting.at_us, sighting.event_id))
        self._here = {sighting.event_id: sighting for sighting in sightings}
        self._told: dict[tuple[str, str], str] = {}
        """Objects whose maker or parent this batch tells -> the event that does."""
        self._out = Verdicts(set(), {}, set(), {}, {})

    def verdicts(self) -> Verdicts:
        late = [sighting for sighting in self._sightings if not self._is_plain(sighting)]
        for sighting in late:
            self._learn(sighting)
        billing = [sighting for sighting in late if sighting.bills and sighting.object_id]
        # Who makes an object bills it before who reads it, and who has the final count before who has a part.
        for sighting in sorted(billing, key=lambda s: (s.reads, not s.whole)):
            self._bill(sighting)
        for (space, object_id), event_id in self._told.items():
            self._move(space, object_id, event_id, DEPTH_MAX)
        return self._out

    def _is_plain(self, seen: Sighting) -> bool:
        """Take in what nearly all are, an object that is new and billed by who made it, in one step."""
        if seen.reads or seen.object_id is None or not seen.bills:
            return False
        who = seen.who
        added = self._cursor.execute(
            _INSERT, (seen.space, seen.object_id, seen.event_id, who.tenant, who.user, _rest(who), seen.event_id,
                      int(seen.whole), seen.at_us),
        ).rowcount  # fmt: skip
        if not added:
            return False
        for stored in seen.objects:
            self._store(seen, stored)
        if self._has_links:
            self._told[seen.space, seen.object_id] = seen.event_id
        return True

    @cached_property
    def _has_links(self) -> bool:
        """Whether any object at all waits for the maker of another one."""
        found = self._cursor.execute("SELECT 1 FROM objects WHERE parent IS NOT NULL AND by_reader LIMIT 1").fetchone()
        return found is not None

    def _learn(self, seen: Sighting) -> None:
        if seen.object_id is not None and not seen.reads:
            self._made(seen, seen.object_id)
        for stored in seen.objects:
            self._store(seen, stored)

    def _store(self, seen: Sighting, stored: Stored) -> None:
        if stored.role == "made":
            self._made(seen, stored.id)
        elif stored.role == "gone":
            self._put(seen, stored.id, gone=1, maker=None, parent=None)
        elif stored.role == "of" and stored.of != stored.id:
            self._belongs(seen, stored.id, stored.of)

    def _made(self, seen: Sighting, object_id: str) -> None:
        """The first who makes an object stays its maker, until it is deleted."""
        row = _row(self._cursor, seen.space, object_id)
        self._told[seen.space, object_id] = seen.event_id
        if row is not None and row.maker is not None:
            return
        who = seen.who
        again: dict[str, object] = {"gone": 0, "bill": None, "replaced": None} if row is not None and row.gone else {}
        self._put(seen, object_id, maker=seen.event_id, tenant=who.tenant, user=who.user, who=_rest(who), **again)

    def _belongs(self, seen: Sighting, object_id: str, parent: str) -> None:
        row = _row(self._cursor, seen.space, object_id)
        self._told[seen.space, object_id] = seen.event_id
        if row is None or (row.maker is None and row.parent is None and not row.gone):
            self._put(seen, object_id, parent=parent)

    def _put(self, seen: Sighting, object_id: str, **values: object) -> None:
        names = [f'"{name}"' for name in values]
        self._cursor.execute(
            f"INSERT INTO objects (space, id, seen_us, {', '.join(names)}) VALUES (?, ?, ?{', ?' * len(names)}) "
            f"ON CONFLICT DO UPDATE SET seen_us = max(seen_us, excluded.seen_us), "
            f"{', '.join(f'{name} = excluded.{name}' for name in names)}",
            [seen.space, object_id, seen.at_us, *values.values()],
        )

    def _bill(self, seen: Sighting) -> None:
        assert seen.object_id is not None
        row = _row(self._cursor, seen.space, seen.object_id)
        bill = row.bill if row is not None else None
        if row is None or bill is None or bill == seen.event_id:
            self._bears(seen, row.replaced if row is not None else None)
        elif seen.whole and (not row.whole or (not seen.reads and row.by_reader)):
            self._bears(seen, bill)
        else:
            self._out.forgiven.add(seen.event_id)

    def _bears(self, seen: Sighting, replaced: str | None) -> None:
        """This event bills its object, in place of `replaced`, which had less of it."""
        assert seen.object_id is not None
        if replaced is not None:
            if replaced in self._here:
                self._out.forgiven.add(replaced)
                self._out.moved.pop(replaced, None)
                self._out.unknown.discard(replaced)
            else:
                self._out.late_forgiven[replaced] = seen.event_id
        owner = _owner(self._cursor, seen.space, seen.object_id) if seen.reads else seen.who
        if owner is None:
            self._out.unknown.add(seen.event_id)
        elif owner != seen.who:
            self._out.moved[seen.event_id] = owner
        self._put(
            seen, seen.object_id, bill=seen.event_id, whole=int(seen.whole), by_reader=int(owner is None),
            replaced=replaced,
        )  # fmt: skip

    def _move(self, space: str, object_id: str, event_id: str, depth: int) -> None:
        """Its maker may be known by now: what an earlier batch billed to a reader goes to the maker."""
        row = _row(self._cursor, space, object_id)
        if row is None or not depth:
            return
        if row.bill is not None and row.bill not in self._here and (row.by_reader or row.moved_by == event_id):
            owner = _owner(self._cursor, space, object_id)
            if owner is not None:
                self._out.late_moved[row.bill] = owner
                self._cursor.execute(
                    "UPDATE objects SET by_reader = 0, moved_by = ? WHERE space = ? AND id = ?",
                    [event_id, space, object_id],
                )
        children = self._cursor.execute(
            "SELECT id FROM objects WHERE space = ? AND parent = ? AND maker IS NULL", [space, object_id]
        ).fetchall()
        for (child,) in children:
            self._move(space, child, event_id, depth - 1)


def noted_by(head: Head, objects: tuple[Stored, ...]) -> Sighting:
    """What a call that is still open has made."""
    named = {name: getattr(head, name) for name in Who.__struct_fields__ if name != "tags"}
    tags = msgspec.json.encode(head.tags).decode() if head.tags else None
    who = Who(**named, tags=tags)
    return Sighting(head.id, space_of(head.provider, byok=head.byok), head.started_at_us, who, objects=objects)


def sighted(events: Mapping[str, Sequence[object]]) -> list[Sighting]:
    """The sightings among the rows of some columns (see `COLUMNS`)."""
    found = []
    for row in zip(*(events[name] for name in COLUMNS), strict=True):
        values = dict(zip(COLUMNS, row, strict=True))
        objects: tuple[Stored, ...] = ()
        if values["objects"]:
            objects = msgspec.json.decode(values["objects"], type=tuple[Stored, ...])
        object_id = values["object_id"]
        whole, mark, _ = str(object_id or "").partition(PART_MARK)
        if mark:
            objects += (Stored(str(object_id), "of", whole),)
        bills = values["kind"] == "charge" and values["cost"] != 0 and values["state"] != "refused"
        found.append(
            Sighting(
                event_id=values["id"],
                space=space_of(str(values["provider"]), byok=values["byok"] is True),
                at_us=values["started_at"],
                who=Who(**{name: values[name] for name in Who.__struct_fields__}),
                object_id=object_id,
                reads=object_id is not None and _reads(str(object_id), str(values["endpoint"]), objects),
                objects=objects,
                bills=bills,
                whole=values["state"] == "done" and values["status"] == 200 and values["cost_source"] != "estimated",
            )
        )
    return found


def _reads(object_id: str, endpoint: str, objects: tuple[Stored, ...]) -> bool:
    """Who reads an object names it in the path, however that spells it; who makes one gets its id in the answer."""
    object_id = object_id.partition(PART_MARK)[0]
    return object_id in endpoint or any(stored.role == "read" and stored.id == object_id for stored in objects)


COLUMNS: Final = (
    "id", "provider", "byok", "started_at", "endpoint", "object_id", "objects", "kind", "cost", "cost_source", "state",
    "status", *Who.__struct_fields__,
)  # fmt: skip
