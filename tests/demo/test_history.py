"""The demo's history is what the gateway would have written: priced records in a journal, oldest first."""

import time
from pathlib import Path

import msgspec
import pytest

from farebox.core.events import Head, Tail
from farebox.core.pricing import STANDARD
from farebox.demo import history, saas
from farebox.errors import LedgerLocked
from farebox.ledger.reader import JournalReader
from farebox.providers import by_name
from farebox.providers.sheets import load_book

EVENTS = 3000
NOW_US = time.time_ns() // 1000


def silent(_done: int, _total: int) -> None:
    return None


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Head, Tail]]:
    directory = tmp_path_factory.mktemp("journal") / "demo"
    made = history.write(directory, saas.build(), load_book(), "key_demo", NOW_US, 1, silent, EVENTS)
    found = records_of(directory)
    assert len(found) == made.events
    return found


def records_of(directory: Path) -> list[tuple[Head, Tail]]:
    decoder = msgspec.msgpack.Decoder(tuple[int, Head, Tail])
    return [decoder.decode(record)[1:] for record in JournalReader(directory).read(1_000_000, alive=False).records]


def test_it_covers_ninety_days_and_ends_now(written: list[tuple[Head, Tail]]) -> None:
    moments = [head.started_at_us for head, _ in written]
    assert min(moments) < NOW_US - 88 * history.DAY_S * 1_000_000
    assert NOW_US - 2 * history.DAY_S * 1_000_000 < max(moments) < NOW_US
    assert EVENTS * 0.97 < len(moments) < EVENTS * 1.05


def test_each_call_costs_what_the_price_book_says(written: list[tuple[Head, Tail]]) -> None:
    book = load_book()
    for head, tail in written[::7]:
        if tail.status != 200:
            assert tail.cost == 0
            continue
        provider = by_name(head.provider)
        assert provider is not None and tail.model_billed is not None
        charge = book.charge(provider.prices_as, tail.model_billed, head.started_at_us, tail.usage, STANDARD)
        assert (tail.cost, tail.price_id) == (charge.cost, charge.price_id)
        assert tail.cost is not None


def test_ids_are_unique_and_in_order_of_time(written: list[tuple[Head, Tail]]) -> None:
    heads = [head for head, _ in written]
    assert len({head.id for head in heads}) == len(heads)
    by_id = sorted(heads, key=lambda head: head.id)
    assert [head.started_at_us // 1000 for head in by_id] == sorted(head.started_at_us // 1000 for head in heads)


def test_spend_is_spread_by_a_power_law(written: list[tuple[Head, Tail]]) -> None:
    spend: dict[str | None, int] = {}
    for head, tail in written:
        spend[head.tenant] = spend.get(head.tenant, 0) + (tail.cost or 0)
    largest = sorted(spend.values(), reverse=True)
    assert sum(largest[:20]) > 0.6 * sum(largest)


def test_a_history_is_written_once(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    history.write(directory, saas.build(), load_book(), "key_demo", NOW_US, 1, silent, 100)
    with pytest.raises(LedgerLocked):
        history.write(directory, saas.build(), load_book(), "key_demo", NOW_US, 1, silent, 100)


def test_a_routed_call_that_failed_was_answered_by_the_next_target(written: list[tuple[Head, Tail]]) -> None:
    by_call: dict[str, list[tuple[Head, Tail]]] = {}
    for head, tail in written:
        by_call.setdefault(head.call_id, []).append((head, tail))
    fell = [attempts for attempts in by_call.values() if len(attempts) > 1]
    assert fell
    for (first, failed), (second, done) in fell:
        assert (first.route, second.route) == ("assistant", "assistant")
        assert (first.attempt, second.attempt, second.fallback_from) == (1, 2, "openai/gpt-4.1-mini")
        assert (failed.state, done.state) == ("upstream_error", "done")
        assert second.started_at_us == failed.finished_at_us
        assert (first.tenant, first.user) == (second.tenant, second.user)
