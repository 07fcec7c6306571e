"""The books: all customers and plans as they stand, or stood at a moment."""

import gc
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from farebox.core.book_text import CustomerSpec
from farebox.core.customers import Books, Customer, Entry, PlanVersion, Start, Subscription
from farebox.directory import schema
from farebox.directory.booking import entries_of
from farebox.directory.customers import subscriptions_of
from farebox.directory.plans import versions_of
from farebox.directory.writing import Database

MANY_CUSTOMERS: Final = 2000


class Version(msgspec.Struct, frozen=True):
    """What was said of a customer at a moment."""

    spec: CustomerSpec
    removed: bool
    entered_at_us: int


class Facts(msgspec.Struct, frozen=True):
    """All that was ever entered, by customer and by plan, oldest first."""

    versions: dict[str, list[Version]]
    subscriptions: dict[str, tuple[Subscription, ...]]
    entries: dict[str, tuple[Entry, ...]]
    plans: dict[str, tuple[PlanVersion, ...]]
    last_us: int = 0
    """When the last of it was entered."""


class Keeping:
    """Reads the facts anew only where the directory has changed. Thread-safe: what is kept is replaced whole."""

    def __init__(self, database: Database, revision: Callable[[Connection], int], time_zone: str) -> None:
        self._database = database
        self._revision = revision
        self.time_zone: Final = time_zone
        self._kept: tuple[int, Facts] | None = None
        self._newest: tuple[Facts, Books] | None = None

    def books(self, as_of_us: int) -> Books:
        """What was known by that moment. Books of any moment after the last entry are the same but for that moment."""
        facts, newest = self._facts(), self._newest
        if newest is not None and newest[0] is facts and as_of_us >= facts.last_us:
            return msgspec.structs.replace(newest[1], as_of_us=as_of_us)
        made = books(facts, as_of_us, self.time_zone)
        if as_of_us >= facts.last_us:
            self._newest = facts, made
        return made

    def _facts(self) -> Facts:
        with self._database.reading() as connection:
            revision, kept = self._revision(connection), self._kept
            if kept is not None and kept[0] == revision:
                return kept[1]
            read = _versions(connection), subscriptions_of(connection), entries_of(connection), versions_of(connection)
            facts = Facts(*read, _last_us(*read))
        self._kept = revision, facts
        if len(facts.versions) >= MANY_CUSTOMERS:
            gc.collect()
            gc.freeze()  # the collector need not walk through all of them again and again
        return facts


def books(facts: Facts, as_of_us: int, time_zone: str) -> Books:
    """Pure."""
    customers = {}
    for tenant, versions in facts.versions.items():
        known = [version for version in versions if version.entered_at_us <= as_of_us]
        if known:
            customers[tenant] = _customer(facts, tenant, known, as_of_us)
    plans = {
        name: tuple(version for version in versions if version.entered_at_us <= as_of_us)
        for name, versions in facts.plans.items()
    }
    return Books(customers, {name: versions for name, versions in plans.items() if versions}, as_of_us, time_zone)


def _customer(facts: Facts, tenant: str, versions: list[Version], as_of_us: int) -> Customer:
    spec, latest = versions[-1].spec, versions[-1]
    entries = tuple(entry for entry in facts.entries.get(tenant, ()) if entry.booked_at_us <= as_of_us)
    revenue: dict[str, int] = {}
    for entry in entries:
        revenue[entry.month] = revenue.get(entry.month, 0) + entry.amount
    return Customer(
        tenant=tenant,
        name=spec.name,
        owner_email=spec.owner_email,
        started_on=spec.started_on,
        subscriptions=tuple(held for held in facts.subscriptions.get(tenant, ()) if held.entered_at_us <= as_of_us),
        revenue=revenue,
        anchor_day=spec.billing_anchor or 1,
        source=spec.source,
        medium=spec.medium,
        campaign=spec.campaign,
        attributes=spec.attributes,
        entries=entries,
        starts=_starts(versions),
        entered_at_us=versions[0].entered_at_us,
        removed_at_us=latest.entered_at_us if latest.removed else None,
    )


def _starts(versions: list[Version]) -> tuple[Start, ...]:
    found: list[Start] = []
    for version in versions:
        if not found or found[-1].started_on != version.spec.started_on:
            found.append(Start(version.spec.started_on, version.entered_at_us))
    return tuple(found)


def _last_us(
    versions: dict[str, list[Version]],
    subscriptions: dict[str, tuple[Subscription, ...]],
    entries: dict[str, tuple[Entry, ...]],
    plans: dict[str, tuple[PlanVersion, ...]],
) -> int:
    moments = [version.entered_at_us for held in versions.values() for version in held]
    moments += [one.entered_at_us for held in subscriptions.values() for one in held]
    moments += [version.entered_at_us for held in plans.values() for version in held]
    moments += [entry.booked_at_us for held in entries.values() for entry in held]
    return max(moments, default=0)


def _versions(connection: Connection) -> dict[str, list[Version]]:
    table = schema.customer_versions
    query = select(table.c.tenant, table.c.spec, table.c.removed, table.c.entered_at_us).order_by(table.c.seq)
    found: dict[str, list[Version]] = {}
    for tenant, spec, removed, entered_at_us in connection.execute(query):
        version = Version(msgspec.json.decode(spec, type=CustomerSpec), removed, entered_at_us)
        found.setdefault(tenant, []).append(version)
    return found
