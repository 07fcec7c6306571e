"""Records to columns: the short way brings what the long one does, or says that it cannot."""

import msgspec
import pytest
from ledger_making import random_events

from farebox.core.events import Head, Tail
from farebox.ledger.columns import build, build_plain, decode
from farebox.ledger.records import encode_head, finished

ATTEMPTS = [(event.head, event.tail) for event in random_events(50, seed=3)]


def _records(pairs: list[tuple[Head, Tail]]) -> list[bytes]:
    return [finished(encode_head(head), tail) for head, tail in pairs]


@pytest.mark.parametrize(
    "pairs",
    [
        ATTEMPTS,
        ATTEMPTS[:1],
        [
            (
                msgspec.structs.replace(head, tags=None, units={"images": number}),
                msgspec.structs.replace(tail, usage={"no_meter": 3}, usage_raw=b"", cost=None, marks=("clamped",)),
            )
            for number, (head, tail) in enumerate(ATTEMPTS)
        ],
    ],
)
def test_plain_records_become_the_same_columns(pairs: list[tuple[Head, Tail]]) -> None:
    records = _records(pairs)
    rows, rejects = decode(records)
    built = build_plain(records)
    assert not rejects
    assert built is not None
    for ours, theirs in zip(built, build(rows), strict=True):
        assert ours.to_pydict() == theirs.select(ours.column_names).to_pydict()
        assert set(ours.column_names) == set(theirs.column_names)


def test_what_is_not_plain_is_left_to_the_long_way() -> None:
    head, tail = ATTEMPTS[0]
    whole = _records(ATTEMPTS[:2])
    short_head = msgspec.msgpack.decode(whole[0])
    short_head[1].pop()  # as a version wrote it that had a field less
    for odd in (
        msgspec.msgpack.encode(short_head),
        _records([(head, msgspec.structs.replace(tail, cost=10**19))])[0],
        _records([(head, msgspec.structs.replace(tail, status=1000))])[0],
        _records([(head, msgspec.structs.replace(tail, finished_at_us=-1))])[0],
        whole[0][:-1],
    ):
        assert build_plain([*whole, odd]) is None
    assert build_plain([]) is None
