"""What Bedrock reports as used, as disjoint meters: tokens of Converse, of invocation metrics and headers, guardrails.

Sources: botocore's service model of bedrock-runtime (1.44), recorded answers. Neither cache reads nor cache writes are
inside `inputTokens`, reasoning is inside `outputTokens`, and `totalTokens` is the sum of all four. The older names
(`cacheReadInputTokenCount`, `cacheWriteInputTokenCount`) repeat the newer ones.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.documents import read
from farebox.providers.openai_chat import NULL, is_given
from farebox.providers.openai_usage import Meters, Split


class CacheDetail(msgspec.Struct, frozen=True, gc=False):
    ttl: str | None = None
    inputTokens: int | None = None


class TokenUsage(msgspec.Struct, frozen=True):
    """Converse's `usage`, Nova's, and `amazon-bedrock-invocationMetrics`, which says `…TokenCount` throughout."""

    inputTokens: int | None = None
    outputTokens: int | None = None
    totalTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    cacheDetails: list[CacheDetail] | None = None
    inputTokenCount: int | None = None
    outputTokenCount: int | None = None
    cacheReadInputTokenCount: int | None = None
    cacheWriteInputTokenCount: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it names no count at all."""
        return self == NO_TOKENS

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Input, output, cache read, cache write."""
        return (
            _first(self.inputTokens, self.inputTokenCount),
            _first(self.outputTokens, self.outputTokenCount),
            _first(self.cacheReadInputTokens, self.cacheReadInputTokenCount),
            _first(self.cacheWriteInputTokens, self.cacheWriteInputTokenCount),
        )


NO_TOKENS: Final = TokenUsage()


def _first(first: int | None, second: int | None) -> int:
    return first if first is not None else second or 0


def split(reported: TokenUsage, vendor: str = "") -> Split:
    """Disjoint meters. Cache writes live as long as `cacheDetails` says; without it five minutes at Anthropic, whose
    models have two lives to choose from, and at others an untold while, kept as thirty minutes.

    Marks: 'clamped' where details exceed what was written, 'split_guessed' where lives were not told,
    'hidden_thinking' where the total shows output that no count names, 'total_mismatch' where it is less than tokens
    without any cache."""
    meters = Meters()
    given, written_out, read_back, written = reported.counts
    meters.put("input", given)
    meters.put("cache_read", read_back)
    _put_writes(meters, written, reported.cacheDetails or [], vendor)
    if reported.totalTokens is not None:
        written_out += _unnamed(reported.totalTokens, (given, written_out, read_back, written), meters)
    meters.put("output", written_out)
    return Split(meters.usage, meters.marks)


def _put_writes(meters: Meters, written: int, details: list[CacheDetail], vendor: str) -> None:
    left = written
    for detail in details:
        left = meters.take("cache_write_1h" if detail.ttl == "1h" else "cache_write_5m", detail.inputTokens or 0, left)
    if left > 0 and not details and vendor not in ("", "anthropic"):
        meters.mark("split_guessed")
        meters.put("cache_write_30m", left)
    else:
        meters.put("cache_write_5m", left)


def _unnamed(total: int, counts: tuple[int, int, int, int], meters: Meters) -> int:
    """Output that only the total shows. Totals without cache tokens were sent before there was a cache to count."""
    rest = total - sum(counts)
    if rest > 0:
        meters.mark("hidden_thinking")
        return rest
    if rest < 0 and total != counts[0] + counts[1]:
        meters.mark("total_mismatch")
    return 0


def read_usage(raw: msgspec.Raw | bytes) -> TokenUsage | None:
    """A usage object; None where there is none, or none that names a count."""
    try:
        found = read(raw, TokenUsage)
    except ValueError:
        return None
    return None if found.is_empty else found


_HEADERS: Final = (
    ("inputTokenCount", "x-amzn-bedrock-input-token-count"),
    ("outputTokenCount", "x-amzn-bedrock-output-token-count"),
    ("cacheReadInputTokenCount", "x-amzn-bedrock-cache-read-input-token-count"),
    ("cacheWriteInputTokenCount", "x-amzn-bedrock-cache-write-input-token-count"),
)


def header_usage(headers: Mapping[str, str]) -> bytes:
    """The counts that stand in an answer's headers, as an object of the same names as invocation metrics; b'' for
    none. They are there for every vendor's body, also for those that count nothing themselves."""
    found = {name: int(value) for name, key in _HEADERS if _is_count(value := headers.get(key, "").strip())}
    return msgspec.json.encode(found) if found else b""


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


class GuardrailUsage(msgspec.Struct, frozen=True, gc=False):
    topicPolicyUnits: int | None = None
    contentPolicyUnits: int | None = None
    contentPolicyImageUnits: int | None = None
    wordPolicyUnits: int | None = None
    sensitiveInformationPolicyUnits: int | None = None
    sensitiveInformationPolicyFreeUnits: int | None = None
    contextualGroundingPolicyUnits: int | None = None
    automatedReasoningPolicyUnits: int | None = None


GUARDRAIL_METERS: Final = {
    "topicPolicyUnits": "guardrail_topic",
    "contentPolicyUnits": "guardrail_content",
    "contentPolicyImageUnits": "guardrail_image",
    "wordPolicyUnits": "guardrail_word",
    "sensitiveInformationPolicyUnits": "guardrail_pii",
    "sensitiveInformationPolicyFreeUnits": "guardrail_regex",
    "contextualGroundingPolicyUnits": "guardrail_grounding",
    "automatedReasoningPolicyUnits": "guardrail_reasoning",
}


class _Metrics(msgspec.Struct, frozen=True):
    usage: GuardrailUsage | None = None


class Assessment(msgspec.Struct, frozen=True):
    """One look of a guardrail at a text."""

    invocationMetrics: _Metrics | None = None


class GuardrailTrace(msgspec.Struct, frozen=True):
    """What a guardrail looked at. Converse names it input and output, invoke `input` and `outputs`: there a map of
    guardrails, here maps, or maps of lists."""

    inputAssessment: msgspec.Raw = NULL
    outputAssessments: msgspec.Raw = NULL
    input: msgspec.Raw = NULL
    outputs: msgspec.Raw = NULL


def guardrail_units(trace: GuardrailTrace | None) -> Usage:
    """Text units by policy, as far as a trace tells: without one they are billed and not on the wire."""
    if trace is None:
        return {}
    meters = Meters()
    for raw in (trace.inputAssessment, trace.outputAssessments, trace.input, trace.outputs):
        for assessment in _assessments(raw):
            if assessment.invocationMetrics is not None and assessment.invocationMetrics.usage is not None:
                put_units(meters, assessment.invocationMetrics.usage)
    return meters.usage


def put_units(meters: Meters, usage: GuardrailUsage) -> None:
    for name, meter in GUARDRAIL_METERS.items():
        meters.put(meter, getattr(usage, name) or 0)


def _assessments(raw: msgspec.Raw, depth: int = 4) -> Iterator[Assessment]:
    """All assessments in a map of guardrails, in their lists, or in a list of such maps."""
    if not depth or not is_given(raw):
        return
    try:
        if bytes(raw).startswith(b"["):
            inside = msgspec.json.decode(raw, type=list[msgspec.Raw])
        else:
            found = read(raw, Assessment)
            if found.invocationMetrics is not None:
                yield found
                return
            inside = list(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).values())
    except (ValueError, RecursionError):
        return
    for item in inside:
        if bytes(item).startswith((b"[", b"{")):
            yield from _assessments(item, depth - 1)
