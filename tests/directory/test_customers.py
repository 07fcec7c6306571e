"""Plans, customers and revenue in the directory: nothing overwritten, the same taken once."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from olden_tables import go_back_to
from scripted import until

from farebox.core.limit_text import read_limit
from farebox.core.money import PICO_PER_USD
from farebox.core.statements import Booking, Statement
from farebox.directory.customers import Customers
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.errors import AlreadyExists, DirectoryError, InvalidBooks, NotFound
from farebox.settings import Settings

USD = PICO_PER_USD


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


class Clock:
    """A clock that stands until it is set; each look takes a microsecond."""

    def __init__(self) -> None:
        self.now_us = us("2026-11-10T12:00")

    def __call__(self) -> int:
        self.now_us += 1
        return self.now_us

    def set(self, text: str) -> None:
        self.now_us = us(text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path, clock: Callable[[], int]) -> Iterator[Directory]:
    made = Directory(tmp_path / "directory.sqlite3", Vault(bytes(32)), clock_us=clock)
    yield made
    made.close()


def say(
    directory: Directory, tenant: str = "acme", plan: str | None = None, day: str | None = None, **written: Any
) -> Any:
    from_day = date.fromisoformat(day) if day else None
    says = Statement(tenant=tenant, written=written, says_plan=plan is not None, plan=plan or None, plan_from=from_day)
    return directory.customers.set(says)


def booking(month: str, usd: int, external_id: str | None = None, **more: Any) -> Booking:
    return Booking(month, usd * USD, more.pop("source", "api"), external_id, **more)


def test_a_plan_is_a_row_of_versions_each_from_a_day_on(directory: Directory) -> None:
    made = directory.plans.set("pro", {"price": "29", "included": {"analyses": 100}})
    assert made.is_new
    changed = directory.plans.set("pro", {"price": "39"}, date(2027, 1, 1))
    assert not changed.is_new
    assert [version.from_day for version in changed.versions] == [date(2026, 11, 10), date(2027, 1, 1)]
    assert [version.plan.price for version in changed.versions] == [29 * USD, 39 * USD]
    assert changed.versions[1].plan.included == {"analyses": 100}
    assert directory.plans.set("pro", {"price": "29"}) == changed  # as it reads today: nothing to add
    assert directory.plans.list() == [changed]
    assert [row.action for row in directory.audit()] == ["plan.set", "plan.set"]


def test_a_plan_that_somebody_is_on_is_not_removed(directory: Directory, clock: Clock) -> None:
    directory.plans.set("pro", {})
    directory.plans.set("free", {})
    say(directory, plan="pro", day="2026-12-01")
    with pytest.raises(DirectoryError, match="acme"):
        directory.plans.remove("pro")
    say(directory, plan="free", day="2026-12-01")
    assert directory.plans.remove("pro").removed_at_us is not None
    assert [row.name for row in directory.plans.list()] == ["free"]
    with pytest.raises(NotFound, match="no plan 'pro'"):
        say(directory, plan="pro")
    directory.plans.set("pro", {})
    assert say(directory, plan="pro").plan_on(date(2026, 11, 10)) == "pro"


def test_what_is_not_said_of_a_customer_stays(directory: Directory) -> None:
    made = say(directory, name="Acme", owner_email="ann@acme.com", attributes={"region": "eu"})
    assert made.is_new
    changed = say(directory, billing_anchor=15, attributes={"size": "L"})
    assert not changed.is_new
    assert (changed.spec.name, changed.spec.billing_anchor) == ("Acme", 15)
    assert changed.spec.attributes == {"region": "eu", "size": "L"}
    assert directory.customers.get("acme") == changed
    assert directory.customers.list() == [changed]
    before = directory.audit()
    say(directory, billing_anchor=15)
    assert directory.audit() == before
    with pytest.raises(NotFound):
        directory.customers.get("globex")
    with pytest.raises(NotFound):
        directory.customers.set(Statement(tenant="globex"), must_exist=True)
    with pytest.raises(InvalidBooks):
        say(directory, tenant=" acme")


def test_a_customer_is_on_a_plan_from_its_start_or_from_today_or_from_the_day_that_is_said(
    directory: Directory,
) -> None:
    for name in ("free", "pro"):
        directory.plans.set(name, {})
    assert say(directory, plan="free", started_on="2026-02-03").subscriptions[0].from_day == date(2026, 2, 3)
    moved = say(directory, plan="pro")
    assert [(held.from_day, held.plan) for held in moved.subscriptions][1:] == [(date(2026, 11, 10), "pro")]
    assert say(directory, plan="pro") == moved
    assert say(directory, plan="pro", day="2026-11-20") == moved
    back = say(directory, plan="free", day="2026-11-10")
    assert back.plan_on(date(2026, 11, 10)) == "free"  # of one day, what was said last counts
    assert len(back.subscriptions) == 3


def test_a_removed_customer_keeps_its_history_and_comes_back(directory: Directory, clock: Clock) -> None:
    directory.plans.set("pro", {"price": "30"})
    say(directory, plan="pro", day="2026-11-01", name="Acme")
    clock.set("2026-11-16T09:00")
    gone = directory.customers.remove("acme")
    assert gone.removed_at_us is not None
    assert directory.customers.list() == []
    assert directory.customers.list(removed=True) == [gone]
    assert directory.customers.remove("acme") == gone
    books = directory.books()
    acme = books.customers["acme"]
    assert acme.removed_at_us == gone.removed_at_us
    assert books.revenue(acme, "2026-11") == 15 * USD
    assert directory.books(us("2026-11-12T00:00")).customers["acme"].removed_at_us is None
    again = say(directory, plan="pro")
    assert (again.removed_at_us, again.spec.name) == (None, "Acme")
    assert again.plan_on(date(2026, 11, 16)) == "pro"


def test_revenue_is_booked_once_for_an_id_and_corrected_by_a_further_entry(directory: Directory) -> None:
    say(directory)
    entry, is_new = directory.customers.book("acme", booking("2026-11", 40, "inv_1"))
    assert is_new
    assert directory.customers.book("acme", booking("2026-11", 40, "inv_1")) == (entry, False)
    with pytest.raises(AlreadyExists, match="book the difference"):
        directory.customers.book("acme", booking("2026-11", 41, "inv_1"))
    assert directory.customers.book("acme", booking("2026-11", 40, "inv_1", source="stripe"))[1]
    directory.customers.book("acme", booking("2026-11", -30, "inv_1 correction"))
    books = directory.books()
    assert books.revenue(books.customers["acme"], "2026-11") == 50 * USD
    assert [entry.amount // USD for entry in directory.customers.revenue("acme")] == [40, 40, -30]
    assert directory.audit()[0].action == "customer.revenue"


def test_a_total_books_the_difference(directory: Directory) -> None:
    say(directory)
    for usd, entries in ((0, [0]), (40, [0, 40]), (40, [0, 40]), (25, [0, 40, -15])):
        directory.customers.book("acme", booking("2026-11", usd, source="csv", is_total=True))
        assert [entry.amount // USD for entry in directory.customers.revenue("acme")] == entries


def test_an_amount_beyond_what_databases_count_in_is_kept_exactly(directory: Directory) -> None:
    say(directory)
    directory.customers.book("acme", Booking("2026-11", 10**21 + 1, "api"))
    assert directory.books().customers["acme"].revenue == {"2026-11": 10**21 + 1}


def test_each_statement_is_taken_whole_or_not_at_all(directory: Directory) -> None:
    directory.plans.set("pro", {})
    good = Statement(tenant="acme", bookings=(booking("2026-11", 1, "a"),))
    bad = Statement(tenant="globex", says_plan=True, plan="gold", bookings=(booking("2026-11", 1, "b"),))
    taken = directory.customers.take([good, bad], all_or_none=True)
    assert [took.error is None for took in taken] == [True, False]
    assert directory.customers.list() == []
    taken = directory.customers.take([good, bad])
    assert [(took.tenant, took.is_new, took.booked) for took in taken] == [("acme", True, 1), ("globex", False, 0)]
    assert [row.tenant for row in directory.customers.list()] == ["acme"]


def test_a_notice_is_taken_once(directory: Directory) -> None:
    says = Statement(tenant="acme", bookings=(booking("2026-11", 1),))
    assert len(directory.customers.take([says], once=("stripe", "evt_1"))) == 1
    assert directory.customers.take([says], once=("stripe", "evt_1")) == []
    assert len(directory.customers.revenue("acme")) == 1


def test_books_as_of_a_moment_are_those_of_that_moment(directory: Directory, clock: Clock) -> None:
    directory.plans.set("pro", {"price": "30"})
    say(directory, plan="pro", day="2026-11-01", name="Acme")
    clock.set("2026-11-20T00:00")
    then = directory.books()
    say(directory, name="Acme Inc.", billing_anchor=7)
    directory.plans.set("pro", {"price": "60"}, date(2026, 11, 1))
    directory.customers.book("acme", booking("2026-11", 99))
    now = directory.books()
    assert (now.customers["acme"].name, now.customers["acme"].anchor_day) == ("Acme Inc.", 7)
    assert now.revenue(now.customers["acme"], "2026-11") == 99 * USD
    again = directory.books(then.as_of_us)
    assert again == then
    assert again.revenue(again.customers["acme"], "2026-11") == 30 * USD
    assert directory.books(us("2026-11-01T00:00")).customers == {}


def test_days_are_those_of_the_books_time_zone(tmp_path: Path, clock: Clock) -> None:
    clock.set("2026-11-30T23:30")
    berlin = Directory(tmp_path / "berlin.sqlite3", Vault(bytes(32)), clock_us=clock, books_zone="Europe/Berlin")
    assert berlin.plans.set("pro", {}).versions[0].from_day == date(2026, 12, 1)
    assert berlin.books().time_zone == "Europe/Berlin"
    berlin.close()


def test_there_is_a_bound_on_customers(directory: Directory) -> None:
    few = Customers(directory, directory.today, customers_max=1)
    few.set(Statement(tenant="acme"))
    few.set(Statement(tenant="acme", written={"name": "x"}))
    with pytest.raises(DirectoryError, match="1 customers"):
        few.set(Statement(tenant="globex"))


def test_a_directory_from_before_there_were_customers_is_brought_up(directory: Directory, tmp_path: Path) -> None:
    directory.tokens.create("ops", "admin")
    directory.close()
    go_back_to(tmp_path / "directory.sqlite3", "0004")
    upgraded = Directory(tmp_path / "directory.sqlite3", Vault(bytes(32)))
    upgraded.plans.set("pro", {})
    assert say(upgraded, plan="pro").tenant == "acme"
    assert [row.name for row in upgraded.tokens.list()] == ["ops"]
    upgraded.close()


def test_who_carries_calls_knows_plans_and_billing_days_within_a_second(tmp_path: Path) -> None:
    settings, vault, clock = Settings(data=tmp_path / "data"), Vault(bytes(32)), Clock()
    made = Directory.open(settings, vault)
    for name in ("free", "pro"):
        made.plans.set(name, {})
    watcher = SnapshotWatcher(settings, vault=vault, env={}, clock_us=clock)
    watcher.start()
    try:
        say(made, plan="pro", day="2026-01-01", billing_anchor=15)
        say(made, tenant="globex", plan="free", day="2026-01-01")
        say(made, tenant="globex", plan="pro", day="2026-11-11")
        say(made, tenant="initech")
        assert until(lambda: watcher.current.plans == {"acme": "pro", "globex": "free"})
        assert watcher.current.anchor_days == {"acme": 15}
        before = watcher.current
        clock.set("2026-11-11T00:00")  # a day begins, and nothing is written
        assert until(lambda: watcher.current.plans == {"acme": "pro", "globex": "pro"})
        assert before.plans["globex"] == "free"
        made.customers.remove("acme")
        assert until(lambda: "acme" not in watcher.current.plans)
        assert watcher.current.anchor_days == {}
        kept = watcher.current.plans
        made.tokens.create("ops", "admin")
        made.limits.set(read_limit({"per": "user", "amount": "5 usd"}))
        assert until(lambda: len(watcher.current.limits) == 1)
        assert watcher.current.plans is kept  # nothing of it was read again
        assert watcher.error is None
    finally:
        watcher.stop()
        made.close()


def test_books_of_now_are_kept_until_something_is_entered(directory: Directory, clock: Clock) -> None:
    directory.customers.set(Statement(tenant="acme", written={"name": "Acme"}))
    clock.set("2026-11-11T12:00")
    first, second = directory.books(), directory.books()
    assert second.customers is first.customers
    assert second.as_of_us is not None and first.as_of_us is not None and second.as_of_us > first.as_of_us
    directory.customers.set(Statement(tenant="acme", written={"name": "Acme Inc"}))
    assert directory.books().customers["acme"].name == "Acme Inc"
    assert directory.books(first.as_of_us).customers["acme"].name == "Acme"
    assert directory.books(us("2026-11-01T00:00")).customers == {}
