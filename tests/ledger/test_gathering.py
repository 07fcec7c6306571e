"""Records straight to columns: the same columns as by decoding them, and nothing of what is not whole or right."""

import random
from collections.abc import Iterable

import msgspec
import pytest
from ledger_making import random_events

from farebox.core.events import Head, Limits, Part, Stored, Tail
from farebox.ledger.buffers import ROWS_AT_FIRST
from farebox.ledger.columns import build, build_bounded, decode, encode_row
from farebox.ledger.gathering import Gatherer
from farebox.ledger.records import encode_head, finished, refused

ATTEMPTS = [(event.head, event.tail) for event in random_events(50, seed=3)]
HEAD, TAIL = ATTEMPTS[0]
_replace = msgspec.structs.replace


def _records(pairs: Iterable[tuple[Head, Tail]]) -> list[bytes]:
    return [finished(encode_head(head), tail) for head, tail in pairs]


def _same(records: list[bytes]) -> bool:
    """Whether all are taken; and then, that the columns are those of the long way."""
    gatherer = Gatherer()
    if not all(gatherer.add(record) for record in records):
        return False
    rows, rejects = decode(records)
    assert not rejects
    for ours, theirs in zip(gatherer.tables(), build(rows), strict=True):
        ours.validate(full=True)
        assert set(ours.column_names) == set(theirs.column_names)
        for name in ours.column_names:
            assert ours[name].type == theirs[name].type, name
            assert ours[name].to_pylist() == theirs[name].to_pylist(), name
    return True


def test_gathered_records_become_the_same_columns() -> None:
    assert _same(_records(ATTEMPTS))


@pytest.mark.parametrize(
    "pair",
    [
        (_replace(HEAD, tags=None, units={"images": 2}, streaming=True, byok=True, retries=300), TAIL),
        (_replace(HEAD, tags={"a": 1, "b": -1.5, "c": True, "d": "é\n"}, feature="ü" * 40, task="x" * 300), TAIL),
        (_replace(HEAD, held=5_000_000_000), TAIL),
        (_replace(HEAD, tenant="", workspace="w", user="u", tier="t", session="s", route="r"), TAIL),
        (HEAD, _replace(TAIL, usage={}, usage_raw=b"", cost=None, cost_by_meter={}, rates={}, marks=("clamped",))),
        (HEAD, _replace(TAIL, cost=-(10**18), cost_by_meter={"input": -(10**18), "output": 0}, saved=-(2**31))),
        (
            HEAD,
            _replace(TAIL, cost=10**18, reported_cost=2**40, first_byte_us=None, status=None, error="e", outcome="o"),
        ),
        (HEAD, _replace(TAIL, usage={"input": 127, "output": 128, "cache_read": 65536, "pixels": 10**12})),
        (HEAD, _replace(TAIL, usage_raw=b"\xff" * 70, qualifiers={"batch": True, "speed": "fast"}, object_id="o")),
        (HEAD, _replace(TAIL, parts=(Part("m", {"input": 1}, {"input": 5}, None),), objects=(Stored("x", "of", "y"),))),
        (HEAD, _replace(TAIL, limits=Limits(("a",), refused_by="b"), usage_raw=b"\x00" * 60_000)),
    ],
)
def test_every_field_is_kept_as_by_decoding(pair: tuple[Head, Tail]) -> None:
    assert _same(_records([*ATTEMPTS[:3], pair, *ATTEMPTS[3:6]]))


@pytest.mark.parametrize(
    "record",
    [
        *_records(
            [
                (HEAD, _replace(TAIL, usage={"no_meter": 3})),
                (HEAD, _replace(TAIL, cost=10**19)),
                (HEAD, _replace(TAIL, cost=10**18 + 1)),
                (HEAD, _replace(TAIL, usage={"input": 10**12 + 1})),
                (HEAD, _replace(TAIL, status=1000)),
                (HEAD, _replace(TAIL, finished_at_us=-1)),
                (HEAD, _replace(TAIL, cost_by_meter={'"': 1})),
                (_replace(HEAD, started_at_us=2**62), TAIL),
                (_replace(HEAD, provider=None), TAIL),
                (_replace(HEAD, attempt="1"), TAIL),
                (_replace(HEAD, units={"a": "b"}), TAIL),
                (_replace(HEAD, tags={None: 1}), TAIL),
                (_replace(HEAD, tags={(1, 2): 1}), TAIL),
            ]
        ),
        _records([(HEAD, TAIL)])[0] + b"\x00",
        _records([(HEAD, TAIL)])[0].replace(b"openai", b"open\xffi"),
        refused(encode_head(HEAD), TAIL, 2),
        b"",
        b"\x93\x02",
        b"\x93\x02\xdc\x00\x19",
    ],
)
def test_what_is_not_right_is_left_and_leaves_nothing(record: bytes) -> None:
    """What was read of it before it turned out wrong is not seen in the next."""
    gatherer = Gatherer()
    others = _records(ATTEMPTS[:2])
    taken = [gatherer.add(one) for one in (others[0], record, others[1])]
    assert taken == [True, False, True]
    rows, _ = decode(others)
    for ours, theirs in zip(gatherer.tables(), build(rows), strict=True):
        assert ours.select(theirs.column_names).to_pydict() == theirs.to_pydict()


def test_a_damaged_record_is_taken_only_as_decoding_takes_it() -> None:
    rng = random.Random(5)
    whole = _records(ATTEMPTS)
    for _ in range(3000):
        record = bytearray(rng.choice(whole))
        if rng.random() < 0.3:
            del record[rng.randrange(len(record)) :]
        for _ in range(rng.randrange(1, 3)):
            if record:
                record[rng.randrange(len(record))] = rng.choice((0, 0x80, 0x93, 0xC0, 0xC4, 0xD9, 0xDA, 0xDC, 0xFF))
        damaged = bytes(record)
        gatherer = Gatherer()
        if not gatherer.add(damaged):
            continue
        rows, rejects = decode([damaged])
        assert not rejects
        events, usage_raw, unusable = build_bounded(rows, encode_row)
        assert not unusable
        ours = gatherer.tables()
        assert ours[0].select(events.column_names).to_pydict() == events.to_pydict()
        assert ours[1].to_pydict() == usage_raw.to_pydict()


def test_a_record_that_makes_no_json_is_kept_aside() -> None:
    rows, _ = decode(_records([*ATTEMPTS[:2], (_replace(HEAD, tags={(1, 2): 1}), TAIL)]))  # type: ignore[dict-item]
    events, _, unusable = build_bounded(rows, encode_row)
    assert (events.num_rows, len(unusable)) == (2, 1)


def test_more_rows_than_there_is_room_for_at_first() -> None:
    records = _records(ATTEMPTS)
    times = ROWS_AT_FIRST // len(records) + 2
    gatherer = Gatherer()
    assert all(gatherer.add(record) for _ in range(times) for record in records)
    assert not gatherer.is_full()
    events, usage_raw = gatherer.tables()
    theirs = build(decode(records)[0])
    for name in theirs[0].column_names:
        assert events[name].to_pylist() == theirs[0][name].to_pylist() * times, name
    assert usage_raw["usage_raw"].to_pylist() == theirs[1]["usage_raw"].to_pylist() * times
