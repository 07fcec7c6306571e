"""What a simulated provider will answer: decided from the prompt alone, so that a test knows the truth beforehand.

A prompt may carry a directive, `[[sim:{"input":100,"output":20,"delay_ms":5}]]`, anywhere in its text. What
the directive leaves out is derived from the text's length and checksum.
"""

import zlib
from collections.abc import Mapping

import msgspec

_OPEN = "[[sim:"
_CLOSE = "]]"
TEXT_FIELDS = frozenset(
    {"content", "text", "input", "prompt", "system", "instructions", "contents", "parts", "messages"}
)
CHARACTERS_PER_TOKEN = 4
CACHE_FROM = 1024
"""Prompts shorter than this are never cached (OpenAI's documented minimum)."""
CACHE_STEP = 128
CHUNKS_MAX = 24
OUTPUT_DEFAULT_MAX = 96
SNAPSHOTS: Mapping[str, str] = {
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "o4-mini": "o4-mini-2025-04-16",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}
"""Aliases that a provider answers with the dated model that served."""
THINKING = ("gpt-5", "o3", "o4", "gemini-2.5", "gemini-3")
"""Models that spend hidden tokens on thought; matched by prefix."""


class Directive(msgspec.Struct, frozen=True):
    """What a prompt orders. Counts are disjoint meters, not the provider's inclusive totals."""

    mark: str | None = None
    input: int | None = None
    cached: int | None = None
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int | None = None
    reasoning: int | None = None
    model: str | None = None
    tier: str | None = None
    chunks: int | None = None
    delay_ms: float = 0
    chunk_ms: float = 0
    status: int = 200
    fails: str = ""
    """Only models whose names begin so answer with that status."""
    error: str | None = None
    """Error type or code instead of the status's usual one."""
    retry_after_s: int | None = None
    cut_after: int | None = None
    """Close the connection, without an end mark, after this many pieces of the stream (0: before any byte)."""
    stream_error: bool = False
    """Report an error inside a stream that began with 200."""
    no_usage: bool = False
    gzip: bool = False
    close: bool = False
    """Answer with `connection: close`."""


class Plan(msgspec.Struct, frozen=True):
    """One answer, settled. `usage` is the truth that a ledger has to agree with."""

    directive: Directive
    model: str
    input: int
    cached: int
    output: int
    reasoning: int
    chunks: int

    @property
    def usage(self) -> dict[str, int]:
        """Disjoint meters, zeros left out."""
        counts = {
            "input": self.input,
            "cache_read": self.cached,
            "cache_write_5m": self.directive.cache_write_5m,
            "cache_write_1h": self.directive.cache_write_1h,
            "output": self.output,
            "reasoning": self.reasoning,
        }
        return {meter: count for meter, count in counts.items() if count}


_DECODER = msgspec.json.Decoder(Directive)
_PLAIN = Directive()


def prompt_text(value: object) -> str:
    """All text of a request's prompt, in order. `value` is the decoded body."""
    found: list[str] = []
    _collect(value, found, wanted=False)
    return "\n".join(found)


def _collect(value: object, found: list[str], wanted: bool) -> None:
    if isinstance(value, str):
        if wanted:
            found.append(value)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found, wanted)
    elif isinstance(value, dict):
        for name, item in value.items():
            _collect(item, found, wanted=name in TEXT_FIELDS)


def directive(text: str) -> Directive:
    """The directive in a prompt, or one that orders nothing. Raises msgspec.DecodeError for one that is malformed."""
    start = text.find(_OPEN)
    if start < 0:
        return _PLAIN
    end = text.find(_CLOSE, start)
    while end > 0 and text[end : end + 3] == "]]]":
        end += 1
    return _DECODER.decode(text[start + len(_OPEN) : end])


def plan(text: str, model: str, output_max: int | None) -> Plan:
    """What answers this prompt. `output_max` is the caller's own bound on the answer, thinking included."""
    order = directive(text)
    if not model.startswith(order.fails):
        order = msgspec.structs.replace(order, status=200)
    whole = 8 + len(text) // CHARACTERS_PER_TOKEN
    cached = order.cached
    if cached is None:
        cached = whole // 2 // CACHE_STEP * CACHE_STEP if order.input is None and whole >= CACHE_FROM else 0
    checksum = zlib.crc32(text.encode())
    output = order.output if order.output is not None else 16 + checksum % (OUTPUT_DEFAULT_MAX - 16)
    reasoning = order.reasoning
    if reasoning is None:
        reasoning = output // 2 if order.output is None and model.startswith(THINKING) else 0
    if output_max is not None:
        output = min(output, output_max)
        reasoning = min(reasoning, output_max - output)
    return Plan(
        directive=order,
        model=order.model or SNAPSHOTS.get(model, model),
        input=order.input if order.input is not None else whole - cached,
        cached=cached,
        output=output,
        reasoning=reasoning,
        chunks=order.chunks if order.chunks is not None else max(1, min(output, CHUNKS_MAX)),
    )


_TEXT = "the ledger keeps each call once and prices what was served not what was asked for so that totals agree"
_WORDS = tuple(_TEXT.split())


def pieces(chunks: int) -> list[str]:
    """An answer's text in as many pieces, the same for the same count."""
    words = len(_WORDS)
    return [_WORDS[i % words] + " " for i in range(chunks)]


def written(planned: Plan, sent: int) -> int:
    """Visible output tokens generated once `sent` of the plan's pieces are out."""
    return planned.output * min(sent, planned.chunks) // max(1, planned.chunks)
