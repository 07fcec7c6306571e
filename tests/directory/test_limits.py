import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from olden_tables import go_back_to

from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit
from farebox.directory.limits import Limits
from farebox.directory.snapshot import Snapshot
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.errors import AlreadyExists, DirectoryError, InvalidLimit, NotFound
from farebox.settings import Settings


def spec(amount: str = "5 usd", per: str = "user", **more: Any) -> Limit:
    return read_limit({"per": per, "amount": amount, **more})


@pytest.fixture
def changes() -> list[Snapshot]:
    return []


@pytest.fixture
def watcher(
    directory: Directory, settings: Settings, vault: Vault, changes: list[Snapshot]
) -> Iterator[SnapshotWatcher]:
    made = SnapshotWatcher(settings, changes.append, vault=vault, env={})
    made.start()
    yield made
    made.stop()


def seen(watcher: SnapshotWatcher, directory: Directory, within_s: float = 1) -> Snapshot:
    """The snapshot of the directory as it is now."""
    deadline = time.monotonic() + within_s
    while watcher.current.revision != directory.revision:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return watcher.current


def test_a_limit_is_set_and_found_again(directory: Directory) -> None:
    row = directory.limits.set(spec(where={"tier": "free"}, warn_at=[0.5, 0.8], message="{used} of {amount}"))
    assert row.id.startswith("lim_")
    assert row.is_new
    assert directory.limits.get(row.id) == row
    assert directory.limits.list() == [row]
    assert (row.limit.amount, row.limit.unit, row.limit.warn_at) == (5 * 10**12, "usd", (0.5, 0.8))


def test_set_again_changes_the_limit_of_the_same_place_and_keeps_its_id(directory: Directory) -> None:
    first = directory.limits.set(spec(where={"tier": "free", "tag.beta": True}, strict=True))
    again = directory.limits.set(
        spec("7 usd", where={"tag.beta": "true", "plan": "free"}, action="downgrade", model="m")
    )
    assert again.id == first.id
    assert not again.is_new
    assert (again.limit.amount, again.limit.action, again.limit.strict) == (7 * 10**12, "downgrade", False)
    assert again.created_at_us == first.created_at_us
    assert directory.limits.list() == [again]


@pytest.mark.parametrize(
    "other",
    [
        {"per": "tenant"},
        {"where": {"tier": "free"}},
        {"subject": "u_1"},
        {"amount": "5 tokens"},
        {"window": "day"},
        {"time_zone": "Europe/Berlin"},
        {"action": "warn"},
    ],
)
def test_what_counts_elsewhere_is_another_limit(other: dict[str, Any], directory: Directory) -> None:
    first = directory.limits.set(spec())
    assert directory.limits.set(spec(**other)).id != first.id
    assert len(directory.limits.list()) == 2


def test_an_anchor_day_is_kept(directory: Directory) -> None:
    row = directory.limits.set(spec(window="billing", anchor_day=15))
    assert directory.limits.set(spec("6 usd", window="billing", anchor_day=15)).id == row.id
    with pytest.raises(InvalidLimit, match="day 15"):
        directory.limits.set(spec(window="billing"))


def test_a_change_leaves_what_is_not_written(directory: Directory) -> None:
    row = directory.limits.set(spec(where={"tier": "free"}, action="throttle", rate=3, warn_at=0.5))
    changed = directory.limits.change(row.id, {"amount": "0.5 usd", "action": "block", "per": "user_id"})
    assert (changed.id, changed.limit.amount, changed.limit.rate) == (row.id, 5 * 10**11, None)
    assert (changed.limit.where, changed.limit.warn_at) == ({"tier": "free"}, (0.5,))
    assert directory.limits.change(row.id, {"amount": 9, "warn_at": None}).limit.warn_at == (0.8,)
    assert directory.limits.get(row.id).limit.amount == 9 * 10**12


@pytest.mark.parametrize(
    "written",
    [
        {"per": "tenant"},
        {"where": {"tier": "pro"}},
        {"where": None},
        {"subject": "u_1"},
        {"amount": "5 tokens"},
        {"window": "day"},
        {"time_zone": "Europe/Berlin"},
        {"anchor_day": 3},
    ],
)
def test_what_a_limit_counts_cannot_be_changed(written: dict[str, Any], directory: Directory) -> None:
    row = directory.limits.set(spec(where={"tier": "free"}))
    with pytest.raises(InvalidLimit, match="make a new limit"):
        directory.limits.change(row.id, written)
    assert directory.limits.list() == [row]


def test_a_change_does_not_lead_to_two_limits_of_one_place(directory: Directory) -> None:
    directory.limits.set(spec())
    warning = directory.limits.set(spec(action="warn"))
    with pytest.raises(AlreadyExists, match="change that one"):
        directory.limits.change(warning.id, {"action": "block"})
    assert directory.limits.change(warning.id, {"action": "dry_run"}).limit.action == "dry_run"


def test_a_removed_limit_is_gone_for_good(directory: Directory) -> None:
    row = directory.limits.set(spec())
    removed = directory.limits.remove(row.id)
    assert removed.removed_at_us is not None
    assert directory.limits.list() == []
    assert directory.limits.list(removed=True) == [removed]
    assert directory.limits.remove(row.id) == removed
    with pytest.raises(DirectoryError, match="for good"):
        directory.limits.change(row.id, {"amount": "6 usd"})
    assert directory.limits.set(spec()).id != row.id


def test_an_unknown_limit_is_not_found(directory: Directory) -> None:
    for ask in (directory.limits.get, directory.limits.remove, lambda name: directory.limits.change(name, {})):
        with pytest.raises(NotFound, match="limits list"):
            ask("lim_none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"message": "x" * 2001}, "2,000"),
        ({"message": "{cost} used"}, "{reset_at}"),
        ({"message": "{amount!r}"}, "no other braces"),
        ({"message": "{amount"}, "no other braces"),
        ({"warn_at": tuple(number / 100 for number in range(1, 18))}, "16"),
        ({"where": {f"tag.{number}": "x" for number in range(17)}}, "16"),
        ({"where": {"tier": "x" * 257}}, "256"),
        ({"subject": "x" * 514}, "513"),
        ({"subject": ""}, "513"),
        ({"unit": "x" * 65}, "64"),
        ({"per": "tag." + "x" * 65}, "68"),
        ({"action": "downgrade", "model": "x" * 201}, "200"),
        ({"action": "throttle", "rate": 1_000_001}, "1,000,000"),
        ({"action": "blok"}, "action"),
        ({"amount": -1}, "negative"),
        ({"amount": 2**63}, "at most"),
        ({"anchor_day": 3}, "billing"),
        ({"where": {"tag.share": float("nan")}}, "no limit"),
        ({"where": {"tag.name": "\ud800"}}, "no limit"),
        ({"where": {"tag.number": 10**300}}, "256"),
        ({"time_zone": "\ud800"}, "no limit"),
        ({"time_zone": ""}, "IANA"),
        ({"strict": True, "action": "warn"}, "strict"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(change: dict[str, Any], says: str, directory: Directory) -> None:
    with pytest.raises(InvalidLimit, match=says):
        directory.limits.set(msgspec.structs.replace(spec(), **change))
    assert directory.revision == 0


def test_there_is_a_most_of_limits(directory: Directory) -> None:
    limits = Limits(directory, limits_max=2)
    row = limits.set(spec())
    limits.set(spec(window="day"))
    with pytest.raises(DirectoryError, match="the most there can be"):
        limits.set(spec(window="hour"))
    assert limits.set(spec("6 usd")).id == row.id
    limits.remove(row.id)
    limits.set(spec(window="hour"))


def test_each_change_is_logged_with_what_was_before(directory: Directory) -> None:
    row = directory.limits.set(spec(), by="tok_1 ann")
    directory.limits.set(spec("6 usd"), by="tok_1 ann")
    directory.limits.remove(row.id, by="shell:bob")
    log = directory.audit()
    assert [(entry.action, entry.by, entry.subject) for entry in log] == [
        ("limit.remove", "shell:bob", row.id),
        ("limit.change", "tok_1 ann", row.id),
        ("limit.set", "tok_1 ann", row.id),
    ]
    assert log[1].detail == {"before": {"amount": "5 usd"}, "after": {"amount": "6 usd"}}


def test_limits_are_in_force_within_a_second(watcher: SnapshotWatcher, directory: Directory) -> None:
    assert watcher.current.limits == ()
    first = directory.limits.set(spec())
    second = directory.limits.set(spec(window="day"))
    assert seen(watcher, directory).limits == (first.limit, second.limit)
    changed = directory.limits.change(first.id, {"amount": "6 usd"})
    assert seen(watcher, directory).limits == (changed.limit, second.limit)
    directory.limits.remove(first.id)
    assert seen(watcher, directory).limits == (second.limit,)


def test_limits_that_did_not_change_are_the_same_object(watcher: SnapshotWatcher, directory: Directory) -> None:
    row = directory.limits.set(spec())
    before = seen(watcher, directory).limits
    directory.tokens.create("ops", "admin")
    directory.limits.set(spec())
    assert seen(watcher, directory).limits is before
    directory.limits.remove(row.id)
    assert seen(watcher, directory).limits == ()
    assert before == (row.limit,)


@pytest.mark.parametrize("written", ["'{'", "'{}'", "x'ff'", "replace(spec, 'UTC', 'Moon')"])
def test_a_limit_that_cannot_be_read_leaves_the_rest_in_force(
    written: str, watcher: SnapshotWatcher, directory: Directory
) -> None:
    broken, good = directory.limits.set(spec()), directory.limits.set(spec(window="day"))
    seen(watcher, directory)
    with directory.changing("test") as change:
        change.connection.exec_driver_sql(
            f"UPDATE limits SET spec = {written}, revision = {change.revision} WHERE id = '{broken.id}'"
        )
    assert seen(watcher, directory).limits == (good.limit,)
    deadline = time.monotonic() + 1
    while broken.id not in (watcher.error or ""):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    directory.tokens.create("ops", "admin")
    seen(watcher, directory)
    assert broken.id in (watcher.error or "")


def test_a_directory_from_before_there_were_limits_is_brought_up(
    settings: Settings, vault: Vault, directory: Directory
) -> None:
    directory.tokens.create("ops", "admin")
    directory.close()
    go_back_to(settings.data / "directory.sqlite3", "0002")
    upgraded = Directory.open(settings, vault)
    row = upgraded.limits.set(spec())
    upgraded.close()
    watcher = SnapshotWatcher(settings, vault=vault, env={})
    assert watcher.current.limits == (row.limit,)
    watcher.stop()
