"""The keeper from outside: its socket, its lock, its end, and what it does when killed."""

import asyncio
import random
import socket
import stat
import struct
import time
from pathlib import Path

import pytest
from keeper_running import Keeper, Writer, open_files, running, settings_for, wait_until
from ledger_making import Event, event_id, head, tail, unpriced, write

from farebox.core.limits import Limit
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.errors import KeeperUnavailable, LedgerLocked, NotFound, QueryError
from farebox.ledger.client import AsyncKeeperClient, KeeperClient, connect
from farebox.ledger.journal import JournalWriter
from farebox.ledger.local import LocalLedger, open_ledger
from farebox.reports.asking import asked
from farebox.reports.facts import Ask, AskedFacts
from farebox.reports.registry import REPORTS
from farebox.reports.report import Answer
from farebox.settings import run_dir


def some_events(count: int) -> list[Event]:
    heads = [head(number, tenant=f"t{number % 3}") for number in range(count)]
    return [Event(first, tail(first)) for first in heads]


def test_what_a_worker_journals_can_be_asked_after_a_flush(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    journal = JournalWriter(tmp_path / "journal" / "w1", slots_max=8)
    with running(settings, tmp_path / "log") as keeper:
        write(journal, some_events(30))
        assert set(keeper.call("flush")) == {"ingested"}
        rows = keeper.call("usage", UsageQuery(("tenant",), measures=("calls", "spend")))["rows"]
        assert [(row["tenant"], row["calls"], row["spend"]) for row in rows] == [
            (f"t{number}", 10, "0.005600000000") for number in range(3)
        ]
        page = keeper.call("events", EventsQuery(limit=7))
        assert [event["id"] for event in page["data"]] == [event_id(number) for number in range(29, 22, -1)]
        following = keeper.call("events", EventsQuery(limit=7, cursor=page["next_cursor"]))
        assert following["data"][0]["id"] == event_id(22)
        evidence = keeper.call("event", {"id": event_id(4)})
        assert evidence["event"]["usage_raw"] == {"prompt_tokens": 1000}
        assert [line["amount"] for line in evidence["arithmetic"]] == ["0.000400000000", "0.000160000000"]
        stats = keeper.call("stats")
        assert (stats["events"], stats["lag_s"], stats["open_calls"]) == (30, 0.0, 0)
        assert keeper.call("verify", {"sample": 30})["ok"]
    journal.close()


def test_errors_come_back_as_what_they_are(tmp_path: Path) -> None:
    with running(settings_for(tmp_path), tmp_path / "log") as keeper:
        with pytest.raises(NotFound, match="no event 'nope'"):
            keeper.call("event", {"id": "nope"})
        with pytest.raises(QueryError, match="no method 'nope'"):
            keeper.call("nope")
        with pytest.raises(QueryError, match="no measure"):
            keeper.call("usage", {"measures": ["nope"]})
        with pytest.raises(QueryError, match="sample"):
            keeper.call("verify", {"sample": "many"})


def test_the_socket_is_the_owners_and_odd_frames_hurt_only_their_sender(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with running(settings, tmp_path / "log") as keeper:
        path = run_dir(settings) / "keeper.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for sent in (b"\xff\xff\xff\xff", struct.pack("<I", 3) + b"abc", b"\x05", struct.pack("<I", 1) + b"\xc1"):
            with socket.socket(socket.AF_UNIX) as odd:
                odd.connect(str(path))
                odd.sendall(sent)
        assert keeper.call("ping") == {"ok": True}


def test_several_askers_at_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with running(settings, tmp_path / "log"):

        async def ask() -> list[object]:
            client = AsyncKeeperClient(run_dir(settings) / "keeper.sock", connections_max=4)
            found = await asyncio.gather(*(client.call("ping") for _ in range(40)))
            await client.close()
            return list(found)

        assert asyncio.run(ask()) == [{"ok": True}] * 40


def test_no_keeper_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    client = KeeperClient(tmp_path / "keeper.sock")
    with pytest.raises(KeeperUnavailable, match="farebox serve"):
        client.call("ping")
    with pytest.raises(KeeperUnavailable, match="farebox serve"):
        asyncio.run(AsyncKeeperClient(tmp_path / "keeper.sock").call("ping"))


def test_a_second_owner_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    keeper = Keeper(settings, tmp_path / "log").wait_ready()
    with pytest.raises(LedgerLocked, match=str(keeper.process.pid)):
        open_ledger(settings)
    client = connect(settings)
    assert isinstance(client, KeeperClient)
    client.close()
    assert keeper.stop() == 0
    alone = connect(settings)
    assert isinstance(alone, LocalLedger)
    assert alone.call("stats")["events"] == 0
    alone.close()


def test_sigterm_keeps_what_was_journalled_and_exits_cleanly(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, ingest_ms=60_000)
    journal = JournalWriter(tmp_path / "journal" / "w1", slots_max=8)
    keeper = Keeper(settings, tmp_path / "log").wait_ready()
    time.sleep(0.1)
    write(journal, some_events(20))
    assert keeper.stop() == 0
    journal.close()
    ledger = open_ledger(settings)
    assert ledger.call("stats")["events"] == 20
    ledger.close()


def test_a_killed_worker_leaves_estimates_for_what_it_had_sent(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with running(settings, tmp_path / "log") as keeper:
        writer = Writer(tmp_path / "journal" / "w1", 0)
        wait_until("calls", lambda: keeper.call("stats")["events"] > 20)
        sent = writer.kill()
        wait_until("its journal to be done with", lambda: not (tmp_path / "journal" / "w1").exists())
        stats = keeper.call("stats")
        assert sent[-1] < stats["events"] <= sent[-1] + 2
        assert stats["open_calls"] == 0
        assert keeper.call("verify")["ok"]


def test_an_open_call_of_a_living_worker_is_never_interrupted(tmp_path: Path) -> None:
    from farebox.ledger import records

    settings = settings_for(tmp_path)
    journal = JournalWriter(tmp_path / "journal" / "w1", slots_max=8)
    first = head(1, slot=journal.slots.open(event_id(1)))
    journal.append(records.started(records.encode_head(first)))
    with running(settings, tmp_path / "log") as keeper:
        keeper.call("flush")
        assert (keeper.call("stats")["events"], keeper.call("stats")["open_calls"]) == (0, 1)
        journal.append(records.finished(records.encode_head(first), tail(first)))
        keeper.call("flush")
        assert (keeper.call("stats")["events"], keeper.call("stats")["open_calls"]) == (1, 0)
    journal.close()


def test_killing_the_keeper_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_keeper_repeatedly(tmp_path, kills=4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killing_keeper_and_workers_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_keeper_repeatedly(tmp_path, kills=12, kill_writers=True)


def kill_keeper_repeatedly(data: Path, kills: int, *, kill_writers: bool = False) -> None:
    """Kill -9 at random moments under load; then every call that was sent is in the ledger, once, with a cost."""
    rng = random.Random(kills)
    settings = settings_for(data, batch_max=300)
    count, sent = 1, []
    writer = Writer(data / "journal" / "w0", 0)
    for _ in range(kills):
        keeper = Keeper(settings, data / "log").wait_ready()
        time.sleep(rng.uniform(0.0, 0.35))
        keeper.kill()
        if kill_writers:
            sent += writer.kill()
            writer = Writer(data / "journal" / f"w{count}", count * 100_000)
            count += 1
    time.sleep(0.3)
    sent += writer.kill()
    ledger = open_ledger(settings)
    checked = ledger.call("verify", {"sample": 500})
    assert checked["ok"], checked
    with ledger.ledger.store.reading() as cursor:
        found = cursor.execute("SELECT id, cost, cost_source FROM events").fetchall()
    ids = [event for event, _, _ in found]
    assert len(ids) == len(set(ids))
    assert {event_id(number) for number in sent} <= set(ids)
    assert all(cost is not None for _, cost, _ in found)
    assert len(ids) - len(sent) <= count  # at most the one call of each writer that was sent and not yet said
    ledger.close()


def test_calls_without_a_price_are_listed_and_priced_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    journal = JournalWriter(tmp_path / "journal" / "w1", slots_max=8)
    heads = [head(number, tenant="acme", model_requested="gpt-4.1-mini") for number in range(3)]
    unknown = head(9, tenant="acme", model_requested="no-such-model")
    write(journal, [Event(first, unpriced(first, model_billed="gpt-4.1-mini")) for first in heads])
    write(journal, [Event(unknown, unpriced(unknown, model_billed=None))])
    with running(settings, tmp_path / "log") as keeper:
        keeper.call("flush")
        assert [(row["model"], row["calls"]) for row in keeper.call("unpriced")] == [
            ("gpt-4.1-mini", 3),
            ("no-such-model", 1),
        ]
        dry = keeper.call("reprice", {"dry_run": True})
        assert (dry["repriced"], dry["amount_usd"]) == (3, "0.001680000000")
        assert keeper.call("reprice", {"dry_run": False})["repriced"] == 3
        assert keeper.call("reprice", {"dry_run": False})["repriced"] == 0
        assert [row["model"] for row in keeper.call("unpriced")] == ["no-such-model"]
        query = UsageQuery(("tenant",), measures=("calls", "spend", "calls_unpriced", "input_tokens"))
        (row,) = keeper.call("usage", query)["rows"]
        assert row == {
            "tenant": "acme", "calls": 4, "spend": "0.001680000000", "calls_unpriced": 1, "input_tokens": 4000,
        }  # fmt: skip
        evidence = keeper.call("event", {"id": event_id(0)})
        assert evidence["event"]["cost_usd"] is None
        assert evidence["event"]["cost_now_usd"] == "0.000560000000"
        assert [entry["corrects"] for entry in evidence["corrections"]] == [event_id(0)]
        assert sum(line["count"] for line in evidence["arithmetic"]) == 1100
        checked = keeper.call("verify")
        assert checked["ok"], checked
    journal.close()


def test_a_day_of_questions_leaks_no_file(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    keeper = Keeper(settings, tmp_path / "log").wait_ready()
    with keeper.client() as client:
        client.call("stats")
        before = open_files(keeper.process.pid)
        for number in range(5):
            journal = JournalWriter(tmp_path / "journal" / f"w{number}", slots_max=8)
            write(journal, [Event(head(number), tail(head(number)))])
            journal.close()
            client.call("flush")
            client.call("usage", UsageQuery())
        assert client.call("stats")["events"] == 5
        assert open_files(keeper.process.pid) <= before + 2
    assert keeper.stop() == 0
    assert list((tmp_path / "journal").iterdir()) == []


def test_reports_ask_over_the_socket_as_in_process(tmp_path: Path) -> None:
    """Every report on a running keeper and, after its end, on the same data without one."""
    settings = settings_for(tmp_path)
    journal = JournalWriter(tmp_path / "journal" / "w1", slots_max=8)
    pairs = [("since", "2025-11-19"), ("until", "2025-11-22")]
    now_us = 1_764_000_000_000_000
    limit = Limit("lim_1", "tenant", 10**12, "usd", "lifetime")

    def answers(ask: Ask) -> list[Answer]:
        facts = AskedFacts(ask, lambda: [limit])
        own = [report for report in REPORTS if report.name not in ("near-limits", "plan-calculator", "statement")]
        return [report.answer(asked(report, pairs, now_us), facts) for report in own]

    with running(settings, tmp_path / "log") as keeper:
        write(journal, some_events(30))
        keeper.call("flush")
        found = answers(keeper.call)
        (first, *_) = found
        assert [(row["tenant"], row["calls"]) for row in first.rows] == [("t0", 10), ("t1", 10), ("t2", 10)]
        assert keeper.call("limits_near", {"share": 0.0}) == []
    journal.close()
    alone = open_ledger(settings)
    assert answers(alone.call) == found
    (nearest, *_) = alone.call("limits_spent", {"limits": [limit], "share": 0.0})
    assert tuple(nearest) == ("lim_1", "t0", 0, None, 10**12, 5_600_000_000)
    alone.close()
