"""OpenAI's usage object, in all its spellings, as disjoint meters.

Source: the SDK's types (openai 3.52) and recorded answers. In this convention totals include their parts: cached
and written tokens, audio and image tokens are inside the prompt; reasoning, audio and rejected predictions inside
the completion; total = prompt + completion. Services that imitate the format differ in what they leave out of the
totals, and the difference to `total_tokens` tells: that is read here too, since any `base_url` may be such a service.
"""

from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.openai_documents import (
    CacheWriteDetails,
    InputDetails,
    Modalities,
    OutputDetails,
)
from farebox.providers.openai_documents import OpenAIUsage as OpenAIUsage
from farebox.providers.openai_documents import SvgUsage as SvgUsage

COUNT_MAX: Final = 10**12
"""No single answer uses more of anything; a greater number is no count."""


class Split(msgspec.Struct, frozen=True, gc=False):
    usage: Usage
    marks: tuple[str, ...] = ()


_NO_INPUT: Final = InputDetails()
_NO_OUTPUT: Final = OutputDetails()
_NO_MODALITIES: Final = Modalities()
_NO_WRITES: Final = CacheWriteDetails()


class Meters:
    """Collects disjoint counts; what cannot be a count is clamped and marked."""

    __slots__ = ("marks", "usage")

    def __init__(self) -> None:
        self.usage: Usage = {}
        self.marks: tuple[str, ...] = ()

    def put(self, meter: str, count: int) -> None:
        if not count:
            return
        if count < 0 or count > COUNT_MAX:
            self.mark("clamped")
            count = min(max(count, 0), COUNT_MAX)
            if not count:
                return
        self.usage[meter] = self.usage.get(meter, 0) + count

    def take(self, meter: str, count: int, left: int) -> int:
        """Put a part of a total of which `left` is not given away yet; what is left then."""
        if count > left:
            self.mark("clamped")
            count = left
        self.put(meter, count)
        return left - max(count, 0)

    def mark(self, name: str) -> None:
        if name not in self.marks:
            self.marks += (name,)


def split(reported: OpenAIUsage) -> Split:
    """Disjoint meters of a usage object. `input` is what neither a cache nor another modality accounts for.

    Marks: 'clamped' where parts exceed their total, 'hidden_thinking' where the total shows output that the
    completion leaves out, 'total_mismatch' where the total is less than its parts.
    """
    meters = Meters()
    if reported.seconds is not None:
        meters.put("seconds", round(max(reported.seconds, 0) * 1000))
    prompt = _first(reported.prompt_tokens, reported.input_tokens)
    completion = _first(reported.completion_tokens, reported.output_tokens)
    output = (
        reported.completion_tokens_details
        or reported.output_tokens_details
        or reported.output_token_details
        or _NO_OUTPUT
    )
    _put_input(meters, prompt, reported)
    rest = 0 if reported.total_tokens is None else reported.total_tokens - prompt - completion
    if reported.completion_tokens is None and reported.output_tokens is None and rest > 0:
        completion, rest = rest, 0  # left out by some, and told by the total
    _put_output(meters, completion, output, rest)
    return Split(meters.usage, meters.marks)


def split_svg(reported: SvgUsage) -> Split:
    """Disjoint meters of what writing an SVG used."""
    details = OutputDetails(reasoning_tokens=reported.reasoning_tokens)
    return split(
        OpenAIUsage(
            input_tokens=reported.input_tokens,
            output_tokens=reported.output_tokens,
            total_tokens=reported.total_tokens,
            output_tokens_details=details,
        )
    )


def _first(first: int | None, second: int | None) -> int:
    return first if first is not None else second or 0


def _put_input(meters: Meters, prompt: int, reported: OpenAIUsage) -> None:
    details = reported.prompt_tokens_details or reported.input_tokens_details or reported.input_token_details
    beside = reported.cached_tokens or reported.prompt_cache_hit_tokens or 0  # Together and Moonshot; DeepSeek
    if details is None:
        meters.put("input", meters.take("cache_read", beside, prompt))
        return
    cached = details.cached_tokens or beside
    written = details.cache_write_tokens or 0
    audio, image = details.audio_tokens or 0, details.image_tokens or 0
    if not (written or audio or image):
        meters.put("input", meters.take("cache_read", cached, prompt))
        return
    of_cache = details.cached_tokens_details or _NO_MODALITIES
    cached_audio, cached_image = of_cache.audio_tokens or 0, of_cache.image_tokens or 0
    if reported.cached_tokens_details is not None:
        cached_image = cached_image or reported.cached_tokens_details.cached_image_tokens or 0
    elif details.cached_tokens_details is None and (overlap := cached + written + audio + image - prompt) > 0:
        # Cached tokens are of any kind, and what does not fit in beside them is both.
        cached_image = min(overlap, image, cached)
        cached_audio = min(overlap - cached_image, audio, cached - cached_image)
    # The life of a written cache is thirty minutes unless the answer says otherwise.
    long_lived = (details.cache_write_tokens_details or _NO_WRITES).ttl_12h_tokens or 0
    left = prompt
    for meter, count in (
        ("cache_write_12h", long_lived),
        ("cache_write_30m", written - long_lived),
        ("audio_input", audio - cached_audio),
        ("audio_cache_read", cached_audio),
        ("image_input", image - cached_image),
        ("image_cache_read", cached_image),
        ("cache_read", cached - cached_audio - cached_image),
    ):
        left = meters.take(meter, count, left)
    meters.put("input", left)


def _put_output(meters: Meters, completion: int, details: OutputDetails, rest: int) -> None:
    """`rest` is what the provider's total has beyond prompt and completion."""
    reasoning = details.reasoning_tokens or 0
    audio, image = details.audio_tokens or 0, details.image_tokens or 0
    if rest < 0:
        meters.mark("total_mismatch")
    elif rest and rest == reasoning:  # this service counts thinking beside the completion
        completion += reasoning
    elif rest:  # output that is neither shown nor named; output is also the dearest it can be
        meters.mark("hidden_thinking")
        reasoning += rest
        completion += rest
    if not (audio or image):
        meters.put("output", meters.take("reasoning", reasoning, completion))
        return
    left = meters.take("audio_output", audio, completion)
    left = meters.take("image_output", image, left)
    meters.put("output", meters.take("reasoning", reasoning, left))
