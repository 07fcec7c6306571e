"""Customers: what is said of them, which plans they are on, and their revenue.

Nothing is overwritten: of each customer every version stays, and subscriptions and revenue are only ever added, each
with the moment at which it was entered, so that any earlier report can be made again.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from farebox.core.book_text import CustomerSpec, changed_customer, checked_name
from farebox.core.customers import Entry, Subscription
from farebox.core.statements import Booking, Statement
from farebox.directory import schema
from farebox.directory.booking import book, entries_of, to_book
from farebox.directory.plans import Today, check_plan
from farebox.directory.rows import CustomerRow
from farebox.directory.writing import Change, Database, json
from farebox.errors import DirectoryError, FareboxError, InvalidBooks, NotFound

CUSTOMERS_MAX: Final = 1_000_000
"""Most customers: every worker keeps their plans in memory."""


class Took(msgspec.Struct, frozen=True):
    """What became of a statement. `error` says why it was not taken."""

    tenant: str
    is_new: bool = False
    changed: bool = False
    booked: int = 0
    """Entries of revenue that are new."""
    error: FareboxError | None = None


class _UndoneError(Exception):
    """Ends a change and undoes it."""


class Customers:
    """Customers go by their tenant's name."""

    def __init__(self, database: Database, today: Today, customers_max: int = CUSTOMERS_MAX) -> None:
        self._database = database
        self._today = today
        self._customers_max = customers_max
        self._counted = (-1, 0), 0
        """(revision and moment of the open change, customers in it). Changes wait for each other, so one is enough."""

    def set(self, statement: Statement, by: str = "shell", *, must_exist: bool = False) -> CustomerRow:
        """The customer as it stands now: what is not said stays as it was. A removed one comes back. Raises
        InvalidBooks, NotFound for an unknown plan, and with `must_exist` for an unknown customer."""
        with self._database.changing(by) as change:
            if must_exist:
                known(change.connection, statement.tenant)
            self._take(change, statement)
            return known(change.connection, statement.tenant)

    def take(
        self,
        statements: Iterable[Statement],
        by: str = "shell",
        *,
        all_or_none: bool = False,
        only_tried: bool = False,
        once: tuple[str, str] | None = None,
    ) -> "list[Took]":
        """All statements in one change, each whole or not at all. `all_or_none`: where one has an error, none is taken;
        `only_tried`: none is taken in any case.
        `once` is the (source, id) of the notice that they came by: one that was taken before changes nothing."""
        taken: list[Took] = []
        try:
            with self._database.changing(by) as change:
                if once is not None and not is_first(change, *once):
                    return []
                taken += [self._tried(change, statement) for statement in statements]
                if only_tried or (all_or_none and any(took.error for took in taken)):
                    raise _UndoneError
        except _UndoneError:
            return [Took(took.tenant, error=took.error) for took in taken]
        return taken

    def _tried(self, change: Change, statement: Statement) -> Took:
        try:
            return self._take(change, statement)
        except (InvalidBooks, DirectoryError) as error:
            return Took(statement.tenant, error=error)

    def _take(self, change: Change, statement: Statement) -> Took:
        """All checks come before the first write."""
        tenant = checked_name(statement.tenant, "a customer")
        row = find(change.connection, tenant)
        if row is None:
            spec = changed_customer(CustomerSpec(tenant=tenant), {**statement.if_new, **statement.written})
        else:
            spec = changed_customer(row.spec, statement.written)
        if statement.says_plan and statement.plan is not None:
            check_plan(change.connection, statement.plan)
        turn = self._turn(change, row, spec, statement)
        entries = _distinct(to_book(change, tenant, booking) for booking in statement.bookings)
        if row is None:
            self._check_room(change)
        changed = row is None or spec != row.spec or row.removed_at_us is not None
        if changed:
            _write(change, row, spec)
        if turn is not None:
            _subscribe(change, tenant, turn)
        for entry in entries:
            book(change, tenant, entry)
        return Took(tenant, row is None, row is not None and (changed or turn is not None), len(entries))

    def _turn(
        self, change: Change, row: CustomerRow | None, spec: CustomerSpec, statement: Statement
    ) -> Subscription | None:
        """The change of plan that the statement asks for; None where it is so already."""
        if not statement.says_plan:
            return None
        today, plan = self._today(change.at_us), statement.plan
        day = statement.plan_from
        if day is None:
            if row is not None and row.removed_at_us is None and row.subscriptions and row.plan_on(today) == plan:
                return None
            day = today if (row and row.subscriptions) or spec.started_on is None else spec.started_on
        if row is not None and row.plan_on(day) == plan:
            return None
        if statement.leaves is not None and (row is None or row.plan_on(day) != statement.leaves):
            return None
        if row is None and plan is None:
            return None
        return Subscription(day, plan, change.at_us)

    def list(self, *, removed: bool = False) -> "list[CustomerRow]":
        """By tenant; with `removed` those too."""
        customers = schema.customers
        query = select(customers).order_by(customers.c.tenant)
        with self._database.reading() as connection:
            rows = connection.execute(query if removed else query.where(customers.c.removed_at_us.is_(None))).all()
            held = subscriptions_of(connection)
        return [_customer(row, held.get(row.tenant, ())) for row in rows]

    def get(self, tenant: str) -> CustomerRow:
        """A customer, also a removed one. Raises NotFound."""
        with self._database.reading() as connection:
            return known(connection, tenant)

    def by_attribute(self, name: str) -> dict[str, str]:
        """Tenants by the value of one of their attributes; removed ones, too."""
        with self._database.reading() as connection:
            specs = connection.execute(select(schema.customers.c.spec)).scalars()
            read = [msgspec.json.decode(spec, type=CustomerSpec) for spec in specs]
        return {spec.attributes[name]: spec.tenant for spec in read if name in spec.attributes}

    def anchor_days(self) -> dict[str, int]:
        """The day on which a customer's billing month begins, by tenant, where it has one of its own."""
        customers = schema.customers
        query = select(customers.c.tenant, customers.c.anchor_day).where(
            customers.c.removed_at_us.is_(None), customers.c.anchor_day.is_not(None)
        )
        with self._database.reading() as connection:
            return {row.tenant: row.anchor_day for row in connection.execute(query)}

    def remove(self, tenant: str, by: str = "shell") -> CustomerRow:
        """From today on it is on no plan and no customer any more; its history stays. Raises NotFound."""
        with self._database.changing(by) as change:
            row = known(change.connection, tenant)
            if row.removed_at_us is not None:
                return row
            today = self._today(change.at_us)
            days = {today, *(held.from_day for held in row.subscriptions if held.from_day > today)}
            for day in sorted(days):
                if row.plan_on(day) is not None:
                    _subscribe(change, tenant, Subscription(day, None, change.at_us))
            customers = schema.customers
            columns = {"removed_at_us": change.at_us, "changed_at_us": change.at_us, "revision": change.revision}
            change.connection.execute(update(customers).where(customers.c.tenant == tenant).values(**columns))
            _keep_version(change, row.spec, removed=True)
            change.log("customer.remove", tenant)
            return known(change.connection, tenant)

    def book(self, tenant: str, booking: Booking, by: str = "shell") -> tuple[Entry, bool]:
        """(the entry, whether it is new). Raises NotFound, InvalidBooks, and AlreadyExists where its id stands for
        another amount, month or customer."""
        with self._database.changing(by) as change:
            known(change.connection, tenant)
            entry = to_book(change, tenant, booking)
            if entry is not None:
                book(change, tenant, entry)
                return entry, True
            booked = entries_of(change.connection, tenant).get(tenant, ())
            same = [entry for entry in booked if entry.source == booking.source and entry.month == booking.month]
            return next((entry for entry in same if entry.external_id == booking.external_id), same[-1]), False

    def revenue(self, tenant: str) -> tuple[Entry, ...]:
        """All that was booked, oldest first. Raises NotFound."""
        with self._database.reading() as connection:
            known(connection, tenant)
            return entries_of(connection, tenant).get(tenant, ())

    def _check_room(self, change: Change) -> None:
        """Counts once a change: an import makes many customers in one."""
        which, count = self._counted
        if which != (change.revision, change.at_us):
            count = change.connection.execute(select(func.count()).select_from(schema.customers)).scalar_one()
        self._counted = (change.revision, change.at_us), count + 1
        if count >= self._customers_max:
            raise DirectoryError(f"there are {self._customers_max:,} customers, the most there can be")


def _distinct(entries: Iterable[Entry | None]) -> "list[Entry]":
    """What is to be booked: one statement may say the same twice."""
    found = {entry.external_id: entry for entry in entries if entry is not None}
    return list(found.values())


def is_first(change: Change, source: str, notice_id: str) -> bool:
    """Whether a notice of a billing system comes for the first time; from now on it does not."""
    notices = schema.notices
    before = select(notices.c.id).where(notices.c.source == source, notices.c.id == notice_id)
    if change.connection.execute(before).first() is not None:
        return False
    change.connection.execute(insert(notices).values(source=source, id=notice_id, taken_at_us=change.at_us))
    return True


def _write(change: Change, row: CustomerRow | None, spec: CustomerSpec) -> None:
    customers = schema.customers
    columns: dict[str, Any] = {"spec": json(spec), "anchor_day": spec.billing_anchor, "revision": change.revision}
    if row is None:
        moments = {"created_at_us": change.at_us, "changed_at_us": change.at_us}
        change.connection.execute(insert(customers).values(tenant=spec.tenant, **columns, **moments))
    else:
        columns |= {"changed_at_us": max(change.at_us, row.created_at_us + 1), "removed_at_us": None}
        change.connection.execute(update(customers).where(customers.c.tenant == spec.tenant).values(**columns))
    _keep_version(change, spec)
    change.log("customer.set", spec.tenant, **_difference(row.spec if row else None, spec))


def _difference(before: CustomerSpec | None, after: CustomerSpec) -> dict[str, object]:
    names = [name for name in CustomerSpec.__struct_fields__ if name != "tenant"]
    return {
        name: getattr(after, name)
        for name in names
        if getattr(after, name) != (getattr(before, name) if before is not None else getattr(_EMPTY, name))
    }


_EMPTY: Final = CustomerSpec(tenant="")


def _keep_version(change: Change, spec: CustomerSpec, *, removed: bool = False) -> None:
    values = {"tenant": spec.tenant, "spec": json(spec), "removed": removed, "entered_at_us": change.at_us}
    change.connection.execute(insert(schema.customer_versions).values(**values))


def _subscribe(change: Change, tenant: str, held: Subscription) -> None:
    customers = schema.customers
    values = {"tenant": tenant, "from_day": held.from_day.isoformat(), "plan": held.plan}
    change.connection.execute(insert(schema.subscriptions).values(**values, entered_at_us=held.entered_at_us))
    row = select(customers.c.created_at_us).where(customers.c.tenant == tenant)
    created_at_us = change.connection.execute(row).scalar_one()
    columns: dict[str, object] = {"revision": change.revision}
    if created_at_us != change.at_us:
        columns["changed_at_us"] = change.at_us
    change.connection.execute(update(customers).where(customers.c.tenant == tenant).values(**columns))
    change.log("customer.plan", tenant, plan=held.plan, from_day=held.from_day)


def subscriptions_of(connection: Connection, tenant: str | None = None) -> dict[str, tuple[Subscription, ...]]:
    """By customer, oldest first; of one or of all."""
    table = schema.subscriptions
    query = select(table.c.tenant, table.c.from_day, table.c.plan, table.c.entered_at_us).order_by(
        table.c.from_day, table.c.seq
    )
    found: dict[str, list[Subscription]] = {}
    for name, from_day, plan, entered_at_us in connection.execute(
        query if tenant is None else query.where(table.c.tenant == tenant)
    ):
        found.setdefault(name, []).append(Subscription(date.fromisoformat(from_day), plan, entered_at_us))
    return {name: tuple(held) for name, held in found.items()}


def find(connection: Connection, tenant: str) -> CustomerRow | None:
    """A customer, also a removed one."""
    customers = schema.customers
    row = connection.execute(select(customers).where(customers.c.tenant == tenant)).one_or_none()
    return None if row is None else _customer(row, subscriptions_of(connection, tenant).get(tenant, ()))


def known(connection: Connection, tenant: str) -> CustomerRow:
    row = find(connection, tenant)
    if row is None:
        raise NotFound(f"there is no customer {tenant[:80]!r}: `farebox customers set` makes it, `list` shows all")
    return row


def _customer(row: Row[Any], held: tuple[Subscription, ...]) -> CustomerRow:  # Any: SQLAlchemy's rows are untyped
    spec = msgspec.json.decode(row.spec, type=CustomerSpec)
    return CustomerRow(spec, held, row.created_at_us, row.changed_at_us, row.removed_at_us)
