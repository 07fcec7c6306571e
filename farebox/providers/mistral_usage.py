"""Mistral's usage objects as disjoint meters.

Sources: the SDK's types (mistralai 3.7: UsageInfo, ConversationUsageInfo, OCRUsageInfo) and recorded answers. Cached
tokens are inside `prompt_tokens`. Audio tokens and what connectors put before the model are beside them, which
`total_tokens` shows: prompt + completion + audio, prompt + completion + connector tokens. Reasoning is inside the
completion and mostly not counted apart.
"""

from typing import Final

import msgspec

from farebox.providers.counts import Number, milliseconds, whole
from farebox.providers.openai_usage import Meters, Split

AUDIO_TOKENS_PER_S: Final = 12.5
"""Voxtral hears in windows of thirty seconds: recorded three seconds are 375 tokens."""

CONNECTOR_METERS: Final = {
    "web_search": "web_search",
    "web_search_premium": "tool_call",
    "code_interpreter": "code_session",
    "image_generation": "image",
    "document_library": "file_search",
}
"""Mistral's built-in connectors, by the names that `usage.connectors` gives them."""


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: Number = None
    audio_tokens: Number = None


class CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: Number = None


class MistralUsage(msgspec.Struct, frozen=True):
    """`prompt_token_details` is an older spelling, `num_cached_tokens` an older place of the cached ones."""

    prompt_tokens: Number = None
    completion_tokens: Number = None
    total_tokens: Number = None
    num_cached_tokens: Number = None
    prompt_tokens_details: PromptDetails | None = None
    prompt_token_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_audio_seconds: Number = None
    connector_tokens: Number = None
    connectors: dict[str, Number] | None = None
    service_tier: str | None = None


class OcrUsage(msgspec.Struct, frozen=True, gc=False):
    pages_processed: Number = None


_NO_PROMPT: Final = PromptDetails()
_NO_COMPLETION: Final = CompletionDetails()


def split_usage(reported: MistralUsage) -> Split:
    """Disjoint meters of a usage object.

    Marks: those of OpenAI's format; 'seconds_derived' where only audio tokens tell how long the audio was,
    'unknown_connector' where a connector was called that has no meter of its own.
    """
    meters = Meters()
    details = reported.prompt_tokens_details or reported.prompt_token_details or _NO_PROMPT
    prompt, audio = whole(reported.prompt_tokens), whole(details.audio_tokens)
    completion, connected = whole(reported.completion_tokens), whole(reported.connector_tokens)
    beside = audio + connected
    rest = beside if reported.total_tokens is None else whole(reported.total_tokens) - prompt - completion
    if rest >= beside:
        prompt, rest = prompt + beside, rest - beside
    elif rest >= audio:
        prompt, rest = prompt + audio, rest - audio
    if reported.completion_tokens is None and rest > 0:
        completion, rest = rest, 0  # left out, and told by the total
    left = meters.take("audio_input", audio, prompt)
    cached = details.cached_tokens if details.cached_tokens is not None else reported.num_cached_tokens
    meters.put("input", meters.take("cache_read", whole(cached), left))
    reasoning = whole((reported.completion_tokens_details or _NO_COMPLETION).reasoning_tokens)
    _put_output(meters, completion, reasoning, rest)
    _put_seconds(meters, milliseconds(reported.prompt_audio_seconds), audio)
    _put_connectors(meters, reported.connectors or {})
    return Split(meters.usage, meters.marks)


def _put_output(meters: Meters, completion: int, reasoning: int, rest: int) -> None:
    """`rest` is what the total has beyond its parts: output is the dearest it can be."""
    if rest < 0:
        meters.mark("total_mismatch")
    elif rest:
        meters.mark("hidden_thinking")
        completion, reasoning = completion + rest, reasoning + rest
    meters.put("output", meters.take("reasoning", reasoning, completion))


def _put_seconds(meters: Meters, audio_ms: int, audio_tokens: int) -> None:
    """Audio is billed by its length, and its tokens are not billed: no seconds would be no money."""
    if not audio_ms and audio_tokens > 0:
        meters.mark("seconds_derived")
        audio_ms = round(min(audio_tokens, meters.usage.get("audio_input", 0)) / AUDIO_TOKENS_PER_S * 1000)
    meters.put("seconds", audio_ms)


def _put_connectors(meters: Meters, calls: dict[str, Number]) -> None:
    for name, count in calls.items():
        meter = CONNECTOR_METERS.get(name)
        if meter is None and whole(count):
            meters.mark("unknown_connector")
        meters.put(meter or "tool_call", whole(count))


def split_pages(reported: OcrUsage) -> Split:
    """Pages that were read."""
    meters = Meters()
    meters.put("page", whole(reported.pages_processed))
    return Split(meters.usage, meters.marks)
