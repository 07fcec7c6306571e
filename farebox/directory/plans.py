"""Plans: set, listed, removed. A plan is never overwritten: what is set holds from a day on."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from farebox.core.book_text import checked_name, read_plan, shown_plan
from farebox.core.customers import Plan, PlanVersion
from farebox.directory import schema
from farebox.directory.rows import PlanRow
from farebox.directory.writing import Change, Database, json
from farebox.errors import DirectoryError, NotFound

PLANS_MAX: Final = 1000
Today = Callable[[int], date]
"""The day of the books that holds a moment."""


class Plans:
    """Plans go by their name, which is also the tier of their customers' calls."""

    def __init__(self, database: Database, today: Today) -> None:
        self._database = database
        self._today = today

    def set(
        self, name: str, written: Mapping[str, Any], from_day: date | None = None, by: str = "shell"
    ) -> PlanRow:  # Any: decoded JSON
        """The plan as it stands now: from that day (today unless said) it is what is written; what is left out stays
        as it reads on that day, null is the default. Raises InvalidBooks."""
        checked_name(name, "a plan")
        with self._database.changing(by) as change:
            found = _find(change.connection, name)
            day = from_day or self._today(change.at_us)
            before = found.plan_on(day) if found else None
            had = {} if before is None else {key: value for key, value in shown_plan(before).items() if key != "name"}
            plan = read_plan(name, {**had, **written})
            if found is None:
                _check_room(change.connection)
                values = {"name": name, "created_at_us": change.at_us, "changed_at_us": change.at_us}
                change.connection.execute(insert(schema.plans).values(**values))
            elif plan == before and found.removed_at_us is None:
                return found
            else:
                _touch(change, name, changed_at_us=max(change.at_us, found.created_at_us + 1), removed_at_us=None)
            if plan != before:
                _append(change, plan, day)
            change.log("plan.set", name, from_day=day, plan=shown_plan(plan))
            made = _find(change.connection, name)
            assert made is not None
            return made

    def list(self, *, removed: bool = False) -> list[PlanRow]:
        """By name; with `removed` those too."""
        with self._database.reading() as connection:
            rows = _rows(connection)
        return [row for row in rows if removed or row.removed_at_us is None]

    def get(self, name: str) -> PlanRow:
        """A plan, also a removed one. Raises NotFound."""
        with self._database.reading() as connection:
            return _found(connection, name)

    def remove(self, name: str, by: str = "shell") -> PlanRow:
        """No customer can be put on it any more; its history stays. Raises NotFound, and DirectoryError while any
        customer is on it, or will be."""
        with self._database.changing(by) as change:
            found = _found(change.connection, name)
            if found.removed_at_us is not None:
                return found
            if held := subscribers(change.connection, name, self._today(change.at_us)):
                some = ", ".join(held[:3]) + (", …" if len(held) > 3 else "")
                raise DirectoryError(
                    f"plan {name!r} has {len(held)} customers ({some}): put them on another one first with "
                    "`farebox customers set TENANT --plan …`"
                )
            _touch(change, name, removed_at_us=change.at_us)
            change.log("plan.remove", name)
            return msgspec.structs.replace(found, removed_at_us=change.at_us)


def check_plan(connection: Connection, name: str) -> None:
    """Whether a customer can be put on that plan. Raises NotFound."""
    plans = schema.plans
    living = select(plans.c.name).where(plans.c.name == name, plans.c.removed_at_us.is_(None))
    if connection.execute(living).first() is None:
        raise NotFound(f"there is no plan {name[:80]!r}: `farebox plans set` makes it, `farebox plans list` shows all")


def subscribers(connection: Connection, name: str, today: date) -> "list[str]":
    """Customers that are on a plan that day, or will be."""
    held, customers = schema.subscriptions, schema.customers
    query = (
        select(held.c.tenant, held.c.from_day, held.c.plan)
        .join(customers, customers.c.tenant == held.c.tenant)
        .where(customers.c.removed_at_us.is_(None))
        .where(held.c.tenant.in_(select(held.c.tenant).where(held.c.plan == name)))
        .order_by(held.c.tenant, held.c.from_day, held.c.seq)
    )
    by_day: dict[str, dict[date, str | None]] = {}
    for tenant, from_day, plan in connection.execute(query):
        by_day.setdefault(tenant, {})[max(date.fromisoformat(from_day), today)] = plan
    return [tenant for tenant, days in by_day.items() if name in days.values()]


def versions_of(connection: Connection, name: str | None = None) -> dict[str, tuple[PlanVersion, ...]]:
    """By plan, oldest first; of one plan or of all."""
    table = schema.plan_versions
    query = select(table.c.plan, table.c.from_day, table.c.spec, table.c.entered_at_us).order_by(
        table.c.from_day, table.c.seq
    )
    found: dict[str, list[PlanVersion]] = {}
    for plan, from_day, spec, entered_at_us in connection.execute(
        query if name is None else query.where(table.c.plan == name)
    ):
        version = PlanVersion(date.fromisoformat(from_day), msgspec.json.decode(spec, type=Plan), entered_at_us)
        found.setdefault(plan, []).append(version)
    return {plan: tuple(versions) for plan, versions in found.items()}


def _append(change: Change, plan: Plan, day: date) -> None:
    values = {"plan": plan.name, "from_day": day.isoformat(), "spec": json(plan), "entered_at_us": change.at_us}
    change.connection.execute(insert(schema.plan_versions).values(**values))


def _touch(change: Change, name: str, **columns: object) -> None:
    change.connection.execute(update(schema.plans).where(schema.plans.c.name == name).values(**columns))


def _check_room(connection: Connection) -> None:
    if connection.execute(select(func.count()).select_from(schema.plans)).scalar_one() >= PLANS_MAX:
        raise DirectoryError(f"there are {PLANS_MAX:,} plans, the most there can be")


def _rows(connection: Connection, name: str | None = None) -> "list[PlanRow]":
    plans = schema.plans
    query = select(plans).order_by(plans.c.name)
    versions = versions_of(connection, name)
    found = connection.execute(query if name is None else query.where(plans.c.name == name))
    return [PlanRow(row[0], versions.get(row[0], ()), row[1], row[2], row[3]) for row in found]


def _find(connection: Connection, name: str) -> PlanRow | None:
    rows = _rows(connection, name)
    return rows[0] if rows else None


def _found(connection: Connection, name: str) -> PlanRow:
    row = _find(connection, name)
    if row is None:
        raise NotFound(f"there is no plan {name[:80]!r}: `farebox plans list` shows them")
    return row
