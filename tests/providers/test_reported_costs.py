"""What providers say a call cost, against what our counts and prices come to, on every recorded answer that says it."""

import json
import re
from collections.abc import Iterator

import pytest
from corpus_files import CORPUS, Recorded, records

from farebox.core.events import Tail, computed_cost
from farebox.core.price_rows import day_us
from farebox.providers.charging import Charged, charge
from farebox.providers.sheets import load_book

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded exchanges at {CORPUS}")

WITHIN = 0.005
BOOK = load_book()
HOST = "another host served it than the one whose price the table has"
SINCE = "the price has fallen since, and the table has no earlier one"
SEARCH = "searches that no count shows, or whose price the table has not"
MADE_UP = "not a recorded price: the fixture was written by hand"
EXCEPTIONS = {
    "xai-35417f4bcd": "a batch before the day from which the table has batch prices",
    "xai-6a761d1d26": "an edit of two pictures: $0.01 each, which the answer does not count",
    "xai-d0838a642e": MADE_UP,
    "xai-656db250e3": MADE_UP,
    "openrouter-9c9600f4e0": HOST,
    "openrouter-eac5813bb5": HOST,
    "openrouter-67534364c1": HOST,
    "openrouter-4fe3578f39": HOST,
    "openrouter-825fdb4769": HOST,
    "openrouter-0e8e25ad5f": HOST,
    "openrouter-be05322900": SINCE,
    "openrouter-b5d3311840": SINCE,
    "openrouter-e0fc12eeb9": SINCE,
    "openrouter-add23f4fdf": SEARCH,
    "openrouter-10d679b341": SEARCH,
    "openrouter-e1e5deb112": SEARCH,
    "openrouter-c898e58a35": SEARCH,
    "openrouter-ffd6caa754": SEARCH,
    "openrouter-7a80c3dd72": SEARCH,
    "openrouter-29f18b512d": SEARCH,
    "openrouter-251a0e9711": "the model that served instead of a free one is not in the table any more",
    "openrouter-3be5d03c63": MADE_UP,
    "openrouter-19ec71a1c5": "a free model that the table has no price for",
}


def _priced() -> Iterator[tuple[str, Charged]]:
    for name in ("xai", "openrouter", "perplexity"):
        for recorded in records(name):
            whole = recorded.metered()
            if not recorded.endpoint.billed or recorded.status >= 300:
                continue
            for metered in (whole, *whole.apart):
                if metered.reported_cost is not None:
                    model = recorded.intent.model or recorded.endpoint.model
                    prices = recorded.provider.prices_as
                    yield recorded.id, charge(BOOK, prices, recorded.endpoint, model, _when_us(recorded), 200, metered)


def _when_us(recorded: Recorded) -> int:
    """The moment that the answer names; most were recorded in August 2026."""
    found = re.search(rb'"created(?:_at)?":\s*(\d{10})', recorded.body)
    return int(found[1]) * 1_000_000 if found else day_us("2026-08-15")


def _computed(found: Charged) -> int | None:
    fields = {name: getattr(found, name) for name in Charged.__struct_fields__}
    return computed_cost(Tail(finished_at_us=0, first_byte_us=None, status=200, state="done", **fields))


def test_the_bill_is_what_the_provider_says_with_our_own_sum_beside_it() -> None:
    apart, seen = {}, 0
    for record_id, found in _priced():
        seen += 1
        assert (found.cost, found.cost_source) == (found.reported_cost, "provider")
        computed, reported = _computed(found), found.reported_cost or 0
        if computed is None or abs(computed - reported) > WITHIN * reported:
            apart[record_id] = (reported, computed)
    assert apart.keys() == EXCEPTIONS.keys(), {name: apart[name] for name in apart if name not in EXCEPTIONS}
    assert seen > 90


def test_costs_in_the_expectations_are_read_to_the_pico_dollar() -> None:
    expected = {}
    with (CORPUS / "expected.jsonl").open() as lines:
        for line in lines:
            said = json.loads(line)
            if said.get("reported_cost_usd") is not None and not said.get("is_byok"):
                expected[said["id"]] = said["reported_cost_usd"]
    for name in ("xai", "openrouter", "perplexity"):
        for recorded in records(name):
            if recorded.id in expected:
                reported = recorded.metered().reported_cost
                assert reported is not None
                assert abs(reported - expected[recorded.id] * 10**12) < 2, recorded.id
