import hashlib
import json
import subprocess
import sys
from itertools import pairwise

import pytest

from farebox.core.meters import BY_NAME, TOKEN_METERS
from farebox.core.price_rows import day_us
from farebox.core.pricing import Qualifiers
from farebox.errors import PriceSheetError
from farebox.providers import sheets
from farebox.providers.sheets import TABLE, load_book

BOOK = load_book()
NOON = day_us("2026-11-20") + 43_200_000_000


def dollars(provider: str, model: str, meter: str, count: int, **how: object) -> float | None:
    charge = BOOK.charge(provider, model, NOON, {meter: count}, Qualifiers(**how))  # type: ignore[arg-type]
    return None if charge.cost is None else charge.cost / 10**12


def test_the_header_says_what_the_table_was_made_from() -> None:
    header = sheets.header()
    body = TABLE.read_bytes().partition(b"\n")[2]
    assert header.source == "genai-prices 0.2.3"
    assert header.table_sha256 == hashlib.sha256(body).hexdigest()
    assert len(header.source_sha256) == len(header.overlay_sha256) == 64


def test_every_row_is_dated_sourced_and_made_of_our_meters() -> None:
    for row in BOOK.sheet.rows:
        assert sheets.checked(row) is row
        assert row.source
        assert "overlay" in row.source or len(row.source_hash) == 16
        assert row.valid_from < row.valid_to or not row.valid_to


def test_rows_have_ids_of_their_own_content() -> None:
    ids = [row.id for row in BOOK.sheet.rows]
    assert len(set(ids)) == len(ids)
    assert all(len(price_id) == 16 for price_id in ids)


def test_rows_of_one_entry_never_hold_at_once_for_the_same_call() -> None:
    entries: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for row in BOOK.sheet.rows:
        key = (row.provider, row.model, row.service_tier, row.batch, row.speed, row.variant, row.windows)
        entries.setdefault(key, []).append((row.valid_from, row.valid_to or "9999-12-31"))
    for key, spans in entries.items():
        spans.sort()
        assert all(left[1] <= right[0] for left, right in pairwise(spans)), key


def test_a_token_meter_that_a_chat_model_can_report_has_a_rate() -> None:
    for row in BOOK.sheet.rows:
        if "input" in row.rates and "output" in row.rates:
            assert row.rates.keys() >= TOKEN_METERS - {"cache_write_12h", "citation"}


def test_a_price_without_a_date_says_when_its_model_appeared() -> None:
    charge = BOOK.charge("openai", "gpt-4.1-mini", 0, {"input": 1})
    assert (charge.cost, charge.price_from) == (400_000, "2025-04-14")


def test_the_table_loads_without_the_library_it_came_from() -> None:
    code = (
        "import sys; from farebox.providers import sheets;"
        "book = sheets.load_book(); book.charge('openai', 'gpt-5', 0, {'input': 1});"
        "print(any('genai' in name for name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(("provider", "model", "meter", "count", "how", "usd"), [
    ("openai", "gpt-6.1-sol", "cache_write_12h", 100_000, {}, 0.5),
    ("openai", "gpt-6.1-sol", "cache_write_12h", 1_000_000, {"batch": True}, 5.0),  # above 272,000: twice 2.5
    ("openai", "gpt-6.1-sol", "input", 100_000, {"service_tier": "ultrafast"}, 1.2),
    ("openai", "gpt-5.5-2026-04-23", "code_session", 1, {}, 0.03),
    ("openai", "gpt-4o-search-preview-2025-03-11", "request", 1, {}, 0.025),
    ("openai", "gpt-4o-mini-search-preview", "request", 2, {}, 0.05),
    ("openai", "dall-e-3", "image", 1, {"variant": "1024x1792/hd"}, 0.12),
    ("openai", "dall-e-2", "image", 10, {"variant": "256x256/standard"}, 0.16),
    ("openai", "dall-e-3", "image", 1, {"variant": "9x9/hd"}, None),
    ("openai", "whisper-1", "seconds", 60_000, {}, 0.006),
    ("openai", "gpt-4o-mini-transcribe", "seconds", 60_000, {}, 0.003),
    ("openai", "tts-1-hd", "characters", 1000, {}, 0.03),
    ("openai", "gpt-image-1", "image_output", 1000, {}, 0.04),
    ("openai", "omni-moderation-latest", "input", 1000, {}, 0.0),
    ("anthropic", "claude-sonnet-4-6", "web_search", 1, {}, 0.01),
    ("anthropic", "claude-sonnet-4-6", "web_fetch", 9, {}, 0.0),
    ("anthropic", "claude-opus-4-6", "output", 1_000_000, {"region": "us"}, 27.5),
    ("anthropic", "claude-opus-4-5", "output", 1_000_000, {"region": "us"}, 25.0),
    ("anthropic", "claude-opus-4-6", "web_search", 1, {"region": "us"}, 0.01),
    ("openai", "gpt-5.4-2026-03-05", "input", 100_000, {"region": "eu"}, 0.275),
    ("openai", "gpt-4.1", "input", 1_000_000, {"region": "eu"}, 2.0),
    ("gemini", "gemini-2.5-flash", "grounded_prompt", 1, {}, 0.035),
    ("gemini", "gemini-2.5-flash", "grounding_query", 1, {}, None),
    ("gemini", "gemini-3.1-pro-preview", "grounding_query", 3, {}, 0.042),
    ("gemini", "gemini-2.5-pro", "maps_query", 1, {}, 0.025),
    ("gemini", "gemini-2.5-pro", "output", 1_000_000, {"service_tier": "flex"}, 5.0),
    ("gemini", "gemini-2.5-pro", "output", 1_000_000, {"service_tier": "priority"}, 18.0),
    ("gemini", "gemma-3-27b-it", "output", 1_000_000, {}, 0.0),
    ("vertex", "gemini-2.5-flash", "output", 1_000_000, {}, 2.5),
    ("groq", "openai/gpt-oss-120b", "web_search", 1, {}, 0.005),
    ("azure", "gpt-4.1", "output", 1_000_000, {}, 8.0),
])  # fmt: skip
def test_the_overlay_prices_what_the_base_lacks(
    provider: str, model: str, meter: str, count: int, how: dict[str, object], usd: float | None
) -> None:
    found = dollars(provider, model, meter, count, **how)
    assert found == pytest.approx(usd) if usd is not None else found is None


def test_added_rows_are_read_as_they_are_stored() -> None:
    stored = json.loads('{"id":"x","provider":"acme","model":"m","rates":{"input":1000000},"valid_from":"2026-01-01"}')
    assert load_book([stored]).charge("acme", "m", NOON, {"input": 3}).cost == 3


@pytest.mark.parametrize("field", [
    {"rates": {"inputs": 1}}, {"rates": {"input": -1}}, {"rates": {"input": 0.5}}, {"valid_from": "2026-13-01"},
    {"valid_to": "tomorrow"}, {"provider": None},
])  # fmt: skip
def test_an_added_row_that_is_none_is_refused(field: dict[str, object]) -> None:
    row = {"id": "x", "provider": "acme", "model": "m", "rates": {"input": 1}, **field}
    with pytest.raises(PriceSheetError):
        load_book([row])


def test_all_meters_of_the_table_exist() -> None:
    assert {meter for row in BOOK.sheet.rows for meter in row.rates} <= BY_NAME.keys()
