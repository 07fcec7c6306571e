"""Limits: set, listed, changed, removed. What counts against them is not here."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from farebox.core.limit_text import changed_limit, shown_limit
from farebox.core.limits import Limit, place
from farebox.directory import schema
from farebox.directory.rows import LimitRow, checked_limit
from farebox.directory.vault import new_id
from farebox.directory.writing import Change, Database, json
from farebox.errors import AlreadyExists, DirectoryError, InvalidLimit, NotFound

LIMITS_MAX: Final = 10_000
"""Most living limits: every worker keeps all of them in memory and asks them at each call."""


class Limits:
    """`limit_id` arguments are ids (`lim_…`). A removed limit stays known, and never comes back."""

    def __init__(self, database: Database, limits_max: int = LIMITS_MAX) -> None:
        self._database = database
        self._limits_max = limits_max

    def set(self, spec: Limit, by: str = "shell") -> LimitRow:
        """The limit as it stands now. `spec.id` does not count: a living limit of the same place (per, where,
        subject, unit, window, time zone, and whether it stops calls) becomes what `spec` says and keeps its id and its
        counts; where there is none, a new one is made. Raises InvalidLimit, and DirectoryError for one too many."""
        spec = checked_limit(spec)
        with self._database.changing(by) as change:
            found = _at(change.connection, spec)
            if found is None:
                self._check_room(change.connection)
                return _made(change, spec)
            if found.limit.anchor_day != spec.anchor_day:
                raise InvalidLimit(
                    f"limit {found.id} begins its windows on day {found.limit.anchor_day}: give that anchor day, or "
                    "remove it first to count anew from another"
                )
            return _changed(change, found, msgspec.structs.replace(spec, id=found.id))

    def list(self, *, removed: bool = False) -> list[LimitRow]:
        """The living ones, and with `removed` the others too, oldest first."""
        limits = schema.limits
        query = select(limits).order_by(limits.c.created_at_us, limits.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query if removed else query.where(limits.c.removed_at_us.is_(None))).all()
        return [_limit(row) for row in rows]

    def get(self, limit_id: str) -> LimitRow:
        """A limit, also a removed one. Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, limit_id)

    def change(self, limit_id: str, written: Mapping[str, Any], by: str = "shell") -> LimitRow:
        """Change what is written, as `core.limit_text.changed_limit` reads it; the rest stays. Raises NotFound,
        InvalidLimit, and AlreadyExists where another living limit would then say two things of the same calls."""
        with self._database.changing(by) as change:
            found = _find(change.connection, limit_id)
            if found.removed_at_us is not None:
                raise DirectoryError(f"limit {limit_id} is removed for good: make a new one with `farebox limits set`")
            limit = checked_limit(changed_limit(found.limit, written))
            other = _at(change.connection, limit)
            if other is not None and other.id != limit_id:
                raise AlreadyExists(f"limit {other.id} stands in this place already: change that one")
            return _changed(change, found, limit)

    def remove(self, limit_id: str, by: str = "shell") -> LimitRow:
        """End a limit, for good. Raises NotFound; removing twice changes nothing."""
        with self._database.changing(by) as change:
            found = _find(change.connection, limit_id)
            if found.removed_at_us is not None:
                return found
            _touch(change, limit_id, removed_at_us=change.at_us)
            change.log("limit.remove", limit_id, limit=shown_limit(found.limit))
            return msgspec.structs.replace(found, removed_at_us=change.at_us)

    def _check_room(self, connection: Connection) -> None:
        limits = schema.limits
        query = select(func.count()).select_from(limits).where(limits.c.removed_at_us.is_(None))
        if connection.execute(query).scalar_one() >= self._limits_max:
            raise DirectoryError(
                f"there are {self._limits_max:,} limits, the most there can be: a limit without a subject is one for "
                "each subject; remove those that are not needed"
            )


def _made(change: Change, spec: Limit) -> LimitRow:
    row = LimitRow(msgspec.structs.replace(spec, id=new_id("lim_")), change.at_us, change.at_us)
    values = {"id": row.id, "created_at_us": change.at_us, "changed_at_us": change.at_us, "revision": change.revision}
    change.connection.execute(insert(schema.limits).values(**values, **_columns(row.limit)))
    change.log("limit.set", row.id, limit=shown_limit(row.limit))
    return row


def _changed(change: Change, row: LimitRow, limit: Limit) -> LimitRow:
    changed_at_us = max(change.at_us, row.created_at_us + 1)  # so that it can be told from a new one
    _touch(change, row.id, changed_at_us=changed_at_us, **_columns(limit))
    before, after = shown_limit(row.limit), shown_limit(limit)
    names = [name for name in after if after[name] != before[name]]
    change.log(
        "limit.change",
        row.id,
        before={name: before[name] for name in names},
        after={name: after[name] for name in names},
    )
    return msgspec.structs.replace(row, limit=limit, changed_at_us=changed_at_us)


def _touch(change: Change, limit_id: str, **columns: object) -> None:
    limits = schema.limits
    touched = update(limits).where(limits.c.id == limit_id).values(revision=change.revision, **columns)
    change.connection.execute(touched)


def _columns(limit: Limit) -> dict[str, object]:
    return {"spec": json(limit), "place": json(place(limit))}


def _at(connection: Connection, limit: Limit) -> LimitRow | None:
    """The living limit of the same place."""
    limits = schema.limits
    query = select(limits).where(limits.c.place == json(place(limit)), limits.c.removed_at_us.is_(None))
    row = connection.execute(query.order_by(limits.c.created_at_us, limits.c.id)).first()
    return None if row is None else _limit(row)


def _find(connection: Connection, limit_id: str) -> LimitRow:
    row = connection.execute(select(schema.limits).where(schema.limits.c.id == limit_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no limit {limit_id!r}: `farebox limits list` shows them")
    return _limit(row)


def _limit(row: Row[Any]) -> LimitRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    try:
        limit = msgspec.json.decode(row.spec, type=Limit)
    except msgspec.DecodeError as error:
        raise DirectoryError(f"limit {row.id} cannot be read ({error}): restore the directory from a backup") from None
    return LimitRow(limit, row.created_at_us, row.changed_at_us, row.removed_at_us)
