"""Gemini's usage objects as disjoint meters.

Source: the SDK's types (google-genai 3.4) and recorded answers. `promptTokenCount` includes what the cache served;
thoughts and tool-use prompts stand beside prompt and candidates; total = prompt + candidates + thoughts + tool use.
Absent means 0. Clients that ask for integer enums get modalities as numbers.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.meters import Usage
from farebox.providers.openai_usage import Meters, Split

_MODALITIES: Final[dict[str | int, str]] = {
    1: "text",
    2: "image",
    3: "video",
    4: "audio",
    5: "document",
}


PROVISIONED: Final = "PROVISIONED_THROUGHPUT"
_TRAFFIC_TYPES: Final = {1: "ON_DEMAND", 2: PROVISIONED, 3: "ON_DEMAND_PRIORITY", 4: "ON_DEMAND_FLEX"}
"""Numbers of Vertex' UsageMetadata.TrafficType; others are kept as they are, and nobody's price."""


class ModalityCount(msgspec.Struct, frozen=True, gc=False):
    """`tokens` is how the interactions API spells it."""

    modality: str | int | None = None
    token_count: int | None = msgspec.field(name="tokenCount", default=None)
    tokens: int | None = None


class GeminiUsage(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    response_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[ModalityCount] | None = None
    prompt_token_details: list[ModalityCount] | None = None
    """Embeddings spell it without the s."""
    cache_tokens_details: list[ModalityCount] | None = None
    candidates_tokens_details: list[ModalityCount] | None = None
    response_tokens_details: list[ModalityCount] | None = None
    tool_use_prompt_tokens_details: list[ModalityCount] | None = None
    service_tier: str | int | None = None
    traffic_type: str | int | None = None

    @property
    def tier(self) -> str | None:
        """How the call was served, in words; 0 is what proto calls unspecified."""
        if self.service_tier:
            return str(self.service_tier)
        kind = self.traffic_type
        return (_TRAFFIC_TYPES.get(kind, str(kind)) if isinstance(kind, int) else kind) or None if kind else None

    @property
    def counts_anything(self) -> bool:
        return (self.prompt_token_count or self.candidates_token_count or self.total_token_count) is not None


class ToolCount(msgspec.Struct, frozen=True, gc=False):
    """How often a grounding tool ran: `google_search`, `google_maps`, `retrieval`."""

    type: str | None = None
    count: int | None = None


class InteractionUsage(msgspec.Struct, frozen=True):
    total_input_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_output_tokens: int | None = None
    total_thought_tokens: int | None = None
    total_tool_use_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_by_modality: list[ModalityCount] | None = None
    cached_tokens_by_modality: list[ModalityCount] | None = None
    output_tokens_by_modality: list[ModalityCount] | None = None
    tool_use_tokens_by_modality: list[ModalityCount] | None = None
    grounding_tool_count: list[ToolCount] | None = None


def by_modality(details: list[ModalityCount] | None) -> Usage:
    """Counts by modality in lower-case names; documents count as text, as they are billed."""
    counts: Usage = {}
    for entry in details or ():
        name = entry.modality
        name = _MODALITIES.get(name, "text") if isinstance(name, int) else (name or "text").lower()
        counts[name] = counts.get(name, 0) + (entry.token_count or entry.tokens or 0)
    return counts


def _audio_of(details: list[ModalityCount] | None) -> Usage:
    return {name: count for name, count in by_modality(details).items() if name == "audio"}


def split_generate(reported: GeminiUsage) -> Split:
    """Disjoint meters of `usageMetadata`."""
    return _split(
        prompt=reported.prompt_token_count or 0,
        cached=reported.cached_content_token_count or 0,
        tool_use=reported.tool_use_prompt_token_count or 0,
        answer=reported.candidates_token_count or reported.response_token_count or 0,
        thoughts=reported.thoughts_token_count or 0,
        total=reported.total_token_count,
        prompt_details=by_modality(reported.prompt_tokens_details or reported.prompt_token_details),
        cache_details=by_modality(reported.cache_tokens_details),
        tool_details=by_modality(reported.tool_use_prompt_tokens_details),
        answer_details=by_modality(reported.candidates_tokens_details or reported.response_tokens_details),
    )


def split_live(reported: GeminiUsage) -> Split:
    """Disjoint meters of a Live turn, whose total is prompt + response: thoughts are beside it."""
    total, thoughts = reported.total_token_count, reported.thoughts_token_count or 0
    told = (
        (reported.prompt_token_count or 0)
        + (reported.tool_use_prompt_token_count or 0)
        + (reported.candidates_token_count or reported.response_token_count or 0)
    )
    return split_generate(replace(reported, total_token_count=total + thoughts if total == told else total))


def split_interaction(reported: InteractionUsage) -> Split:
    """Disjoint meters of an interaction's `usage`. Images and video of the prompt cost what text does in every model
    that this API serves: of what goes in only audio is told apart."""
    return _split(
        prompt=reported.total_input_tokens or 0,
        cached=reported.total_cached_tokens or 0,
        tool_use=reported.total_tool_use_tokens or 0,
        answer=reported.total_output_tokens or 0,
        thoughts=reported.total_thought_tokens or 0,
        total=reported.total_tokens,
        prompt_details=_audio_of(reported.input_tokens_by_modality),
        cache_details=_audio_of(reported.cached_tokens_by_modality),
        tool_details=_audio_of(reported.tool_use_tokens_by_modality),
        answer_details=by_modality(reported.output_tokens_by_modality),
    )


def _split(
    *,
    prompt: int,
    cached: int,
    tool_use: int,
    answer: int,
    thoughts: int,
    total: int | None,
    prompt_details: Usage,
    cache_details: Usage,
    tool_details: Usage,
    answer_details: Usage,
) -> Split:
    meters = Meters()
    text = prompt + tool_use
    for name in ("audio", "image", "video"):
        count = prompt_details.get(name, 0) + tool_details.get(name, 0)
        # A document of the prompt can be images in the cache: what the prompt does not name stays text.
        from_cache = min(cache_details.get(name, 0), count)
        if name != "video":  # video from the cache has no meter of its own
            meters.put(f"{name}_cache_read", from_cache)
            cached -= from_cache
            text -= from_cache
        meters.put(f"{name}_input", count - from_cache)
        text -= count - from_cache
    meters.put("cache_read", cached)
    meters.put("input", text - cached)
    rest = 0 if total is None else total - prompt - tool_use - answer - thoughts
    if rest < 0:
        meters.mark("total_mismatch")
    elif rest:
        meters.mark("hidden_thinking")
        thoughts += rest
    audio, image = answer_details.get("audio", 0), answer_details.get("image", 0)
    meters.put("output", answer - audio - image)
    meters.put("audio_output", audio)
    meters.put("image_output", image)
    meters.put("reasoning", thoughts)
    return Split(meters.usage, meters.marks)
