"""xAI's price rules against its pages: long context, the United States, tools, batches."""

import pytest

from farebox.core.money import PICO_PER_USD
from farebox.core.price_rows import Qualifiers, day_us
from farebox.providers.sheets import load_book

BOOK = load_book()
NOW = day_us("2026-11-20")


def cost(usage: dict[str, int], **served: object) -> int | None:
    return BOOK.charge("xai", "grok-4.3", NOW, usage, Qualifiers(**served)).cost  # type: ignore[arg-type]


@pytest.mark.parametrize(("prompt", "times"), [(199_999, 1), (200_000, 2), (200_001, 2)])
@pytest.mark.parametrize("cached", [0, 150_000])
def test_a_prompt_of_200_000_tokens_doubles_the_whole_call(prompt: int, times: int, cached: int) -> None:
    """https://docs.x.ai/developers/pricing: $1.25, cached $0.20, output $2.50; from 200k on twice that."""
    usage = {"input": prompt - cached, "cache_read": cached, "output": 1000}
    expected = (prompt - cached) * 1_250_000 + cached * 200_000 + 1000 * 2_500_000
    assert cost(usage) == times * expected


def test_the_united_states_cost_a_tenth_more_for_tokens_and_nothing_for_tools() -> None:
    """https://docs.x.ai/developers/advanced-api-usage/regions."""
    usage = {"input": 1000, "output": 1000, "web_search": 1}
    tokens = 1000 * 1_250_000 + 1000 * 2_500_000
    assert cost(usage) == tokens + 5_000_000_000
    assert cost(usage, region="us") == tokens * 11 // 10 + 5_000_000_000
    assert cost(usage, region="us-east-1") == cost(usage)


@pytest.mark.parametrize(
    ("meter", "usd_per_1k"), [("web_search", "5"), ("code_session", "5"), ("file_search", "2.5"), ("tool_call", "10")]
)
def test_tools_cost_by_the_call(meter: str, usd_per_1k: str) -> None:
    """https://docs.x.ai/developers/pricing, tool invocation costs."""
    assert cost({meter: 1000}) == round(float(usd_per_1k) * 10**12)


def test_a_batch_is_a_fifth_cheaper() -> None:
    assert cost({"input": 100_000}, batch=True) == 10**11


def test_voice_costs_by_the_second_and_its_tokens_nothing() -> None:
    usage = {"seconds": 3_600_000, "input": 5000, "audio_input": 900, "output": 700, "audio_output": 90_000}
    assert BOOK.charge("xai", "grok-voice-think-fast-1.0", NOW, usage, Qualifiers()).cost == 3 * PICO_PER_USD
