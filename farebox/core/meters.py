"""Meters: what is counted. They are disjoint: each unit that is billed belongs to exactly one meter.

So cost = Σ count × rate, and no later step has to remember which provider's total includes what. Inclusive
provider counts are split in that provider's file; inclusive totals are derived here, for display.
"""

from dataclasses import dataclass
from typing import Final, Literal

Side = Literal["input", "output", "fee"]
Usage = dict[str, int]
"""Counts by meter name, zeros left out. Whole numbers in the meter's own unit: tokens, calls, pages, and
milliseconds for `seconds`."""

MILLION: Final = 1_000_000
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Meter:
    """A kind of unit. `per` is how many counted units a rate is quoted for; `scale` how many make one shown unit."""

    name: str
    side: Side
    is_token: bool = True
    per: int = MILLION
    scale: int = 1
    help: str = ""


METERS: Final[tuple[Meter, ...]] = (
    Meter("input", "input", help="tokens of the prompt that no cache served"),
    Meter("cache_read", "input", help="tokens of the prompt served from the provider's cache"),
    Meter("cache_write_5m", "input", help="tokens written to a cache that lives five minutes"),
    Meter("cache_write_30m", "input", help="tokens written to a cache that lives thirty minutes"),
    Meter("cache_write_1h", "input", help="tokens written to a cache that lives an hour"),
    Meter("cache_write_12h", "input", help="tokens written to a cache that lives twelve hours"),
    Meter("output", "output", help="tokens of the answer, without reasoning"),
    Meter("reasoning", "output", help="tokens of hidden or shown thinking"),
    Meter("audio_input", "input", help="audio tokens of the prompt"),
    Meter("audio_cache_read", "input", help="audio tokens served from the provider's cache"),
    Meter("audio_output", "output", help="audio tokens of the answer"),
    Meter("image_input", "input", help="image tokens of the prompt"),
    Meter("image_cache_read", "input", help="image tokens served from the provider's cache"),
    Meter("image_output", "output", help="image tokens of the answer"),
    Meter("video_input", "input", help="video tokens of the prompt"),
    Meter("citation", "input", help="tokens of cited sources (Perplexity's deep research)"),
    Meter("web_search", "fee", is_token=False, help="web searches run by the provider"),
    Meter("web_fetch", "fee", is_token=False, help="pages fetched by the provider"),
    Meter("file_search", "fee", is_token=False, help="searches of stored files"),
    Meter("code_session", "fee", is_token=False, help="code interpreter sessions"),
    Meter("grounded_prompt", "fee", is_token=False, help="prompts grounded by a search (Gemini up to 2.5)"),
    Meter("grounding_query", "fee", is_token=False, help="search queries run for grounding (Gemini from 3)"),
    Meter("maps_query", "fee", is_token=False, help="prompts grounded by maps"),
    Meter("tool_call", "fee", is_token=False, help="other tools that the provider bills by the call"),
    Meter("search_unit", "fee", is_token=False, help="rerank searches"),
    Meter("classification", "fee", is_token=False, help="classified texts, where a provider bills each"),
    Meter("pixels", "fee", is_token=False, help="pixels of images and video, where a provider bills them"),
    Meter("guardrail_content", "fee", is_token=False, help="text units of a guardrail's content filters (Bedrock)"),
    Meter("guardrail_topic", "fee", is_token=False, help="text units of a guardrail's denied topics"),
    Meter("guardrail_pii", "fee", is_token=False, help="text units of a guardrail's sensitive information filters"),
    Meter("guardrail_regex", "fee", is_token=False, help="text units of a guardrail's regular expressions"),
    Meter("guardrail_word", "fee", is_token=False, help="text units of a guardrail's word filters"),
    Meter("guardrail_grounding", "fee", is_token=False, help="text units of a guardrail's grounding checks"),
    Meter("guardrail_reasoning", "fee", is_token=False, help="text units of a guardrail's automated reasoning"),
    Meter("guardrail_image", "fee", is_token=False, help="images that a guardrail's content filters looked at"),
    Meter("request", "fee", is_token=False, help="calls, where a provider bills each"),
    Meter("image", "fee", is_token=False, help="images, where a provider bills each"),
    Meter("page", "fee", is_token=False, help="pages, where a provider bills each"),
    Meter("characters", "fee", is_token=False, help="characters, where a provider bills each"),
    Meter(
        "seconds", "fee", is_token=False, per=HOUR_MS, scale=1000, help="audio, kept in milliseconds, rates by the hour"
    ),
)

BY_NAME: Final[dict[str, Meter]] = {meter.name: meter for meter in METERS}
TOKEN_METERS: Final[frozenset[str]] = frozenset(meter.name for meter in METERS if meter.is_token)
INPUT_METERS: Final[frozenset[str]] = frozenset(m.name for m in METERS if m.is_token and m.side == "input")
OUTPUT_METERS: Final[frozenset[str]] = frozenset(m.name for m in METERS if m.is_token and m.side == "output")


def input_tokens(usage: Usage) -> int:
    """All tokens of the prompt, cached ones included (what OpenTelemetry calls input_tokens)."""
    return sum(count for name, count in usage.items() if name in INPUT_METERS)


def output_tokens(usage: Usage) -> int:
    """All tokens of the answer, reasoning included."""
    found = 0  # a loop: this is asked for each call, and a generator would cost more than the sum
    for name, count in usage.items():
        if name in OUTPUT_METERS:
            found += count
    return found


def tokens(usage: Usage) -> int:
    """Every token meter, cache included: what a limit in `tokens` counts."""
    found = 0  # a loop: this is asked for each call, and a generator would cost more than the sum
    for name, count in usage.items():
        if name in TOKEN_METERS:
            found += count
    return found


def shown(usage: Usage) -> dict[str, int | float]:
    """Counts in the unit a person reads: milliseconds become seconds, all else stays."""
    return {name: count if BY_NAME[name].scale == 1 else count / BY_NAME[name].scale for name, count in usage.items()}
