"""Anthropic's usage object as disjoint meters.

Source: the SDK's types (anthropic 2.11) and recorded answers. `input_tokens` is what no cache served, thinking is
inside `output_tokens`, and nothing states a total. Where `iterations` holds more than plain messages (compaction,
an advisor, a fallback), the top level leaves some of them out, and the iterations are the bill.
"""

from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.openai_usage import Meters
from farebox.providers.protocol import SubUsage


class CacheCreation(msgspec.Struct, frozen=True, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: int | None = None


class ServerTools(msgspec.Struct, frozen=True, gc=False):
    web_search_requests: int | None = None
    web_fetch_requests: int | None = None


class CreditStatus(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


class FallbackCredit(msgspec.Struct, frozen=True, gc=False):
    status: CreditStatus | None = None


class Counts(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None


class Iteration(Counts, frozen=True):
    type: str | None = None
    model: str | None = None


class AnthropicUsage(Counts, frozen=True):
    server_tool_use: ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: list[Iteration] | None = None
    fallback_credit: FallbackCredit | None = None


class Bill(msgspec.Struct, frozen=True):
    """`model` where another one than the answer names served (a fallback), else None."""

    usage: Usage
    parts: tuple[SubUsage, ...] = ()
    model: str | None = None
    marks: tuple[str, ...] = ()


def superseded(first: AnthropicUsage, later: AnthropicUsage) -> AnthropicUsage:
    """What a stream says in the end: the last value of each field wins, null or absent means keep.
    The split of cache writes by time to live stands in the first one only."""
    values = {
        name: new if (new := getattr(later, name)) is not None else getattr(first, name)
        for name in AnthropicUsage.__struct_fields__
    }
    return AnthropicUsage(**values)


def bill(usage: AnthropicUsage, model: str | None) -> Bill:
    """Who used what. `model` is the one that the answer names."""
    meters = Meters()
    parts: tuple[SubUsage, ...] = ()
    served: str | None = None
    iterations = usage.iterations or []
    if any(iteration.type not in ("message", None) for iteration in iterations):
        served = next((i.model for i in iterations if i.type == "fallback_message" and i.model), None)
        own = served or model
        parts = tuple(_part(i, meters) for i in iterations if _is_other(i, own))
        for iteration in iterations:
            if not _is_other(iteration, own):
                _put_counts(meters, iteration)
        _put_thinking(meters, usage)
    else:
        _put_counts(meters, usage)
    if usage.server_tool_use is not None:
        meters.put("web_search", usage.server_tool_use.web_search_requests or 0)
        meters.put("web_fetch", usage.server_tool_use.web_fetch_requests or 0)
    credit = usage.fallback_credit
    if credit is not None and credit.status is not None and credit.status.type == "redeemed":
        # Billed "as if the conversation had been on the retry model all along": by how much less, no count says.
        meters.mark("fallback_credit")
    if any(part.kind == "declined" for part in parts):
        meters.mark("declined_hop")
    return Bill(meters.usage, parts, served if served != model else None, meters.marks)


def _is_other(iteration: Iteration, own: str | None) -> bool:
    """Whether another model than the serving one billed this iteration."""
    return iteration.model is not None and iteration.model != own


def _part(iteration: Iteration, marks: Meters) -> SubUsage:
    meters = Meters()
    _put_counts(meters, iteration)
    for mark in meters.marks:
        marks.mark(mark)
    kind = "declined" if iteration.type in ("message", None) else iteration.type or ""
    return SubUsage(iteration.model or "", meters.usage, kind)


def _put_thinking(meters: Meters, usage: Counts) -> None:
    """Iterations do not say how much of their output was thinking; the top level does."""
    thinking = usage.output_tokens_details.thinking_tokens or 0 if usage.output_tokens_details else 0
    if thinking and "reasoning" not in meters.usage:
        left = meters.take("reasoning", thinking, meters.usage.pop("output", 0))
        meters.put("output", left)


_NO_SPLIT: Final = CacheCreation()


def _put_counts(meters: Meters, counts: Counts) -> None:
    meters.put("input", counts.input_tokens or 0)
    meters.put("cache_read", counts.cache_read_input_tokens or 0)
    by_ttl = counts.cache_creation or _NO_SPLIT
    short, long = by_ttl.ephemeral_5m_input_tokens or 0, by_ttl.ephemeral_1h_input_tokens or 0
    written = counts.cache_creation_input_tokens
    rest = 0 if written is None else written - short - long
    # The total is restated during a stream, the split is not: what it grew by went to the life in use, and
    # where both are in use to the dearer one.
    if rest and long:
        long += rest
        if short:
            meters.mark("split_guessed")
    elif rest:
        short += rest
    meters.put("cache_write_5m", short)
    meters.put("cache_write_1h", long)
    output = counts.output_tokens or 0
    thinking = counts.output_tokens_details.thinking_tokens or 0 if counts.output_tokens_details else 0
    meters.put("output", meters.take("reasoning", thinking, output))
