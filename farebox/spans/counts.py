"""A span's token counts as disjoint meters.

By the conventions a total includes its parts: input the tokens read from and written to a cache and those of each kind
of input, output the reasoning. Some instrumentations set a total beside its parts (Anthropic's own input_tokens,
Gemini's candidates). That is believed only where the numbers leave no other reading.
"""

from collections.abc import Mapping
from typing import Final

from farebox.core.meters import Usage
from farebox.spans.names import COUNTS
from farebox.spans.span import Span, Value

COUNT_MAX: Final = 10**12


def counts_of(span: Span) -> dict[str, int]:
    """What the span counts, by the names of COUNTS; empty where it has none."""
    found: dict[str, int] = {}
    for meaning, names in COUNTS.items():
        for name in names:
            count = _count(span.attributes.get(name))
            if count is not None:
                found[meaning] = count
                break
    return found


def is_counted(counts: Mapping[str, int]) -> bool:
    """Whether there is anything to bill."""
    return bool(counts.get("input") or counts.get("output"))


def disjoint(counts: Mapping[str, int], cache_write: str) -> tuple[Usage, bool]:
    """(usage, whether it is exact). `cache_write` is the meter for what was written to a cache. Kinds of tokens that
    may overlap with the cache, where no attribute says how far, are taken as not cached: then it is not exact."""
    read, written = counts.get("cache_read", 0), counts.get("cache_write", 0)
    reasoning = counts.get("reasoning", 0)
    beside_in, beside_out = _beside(counts, read + written, reasoning)
    plain = counts.get("input", 0) - (0 if beside_in else read + written)
    spoken = counts.get("output", 0) - (0 if beside_out else reasoning)
    usage: Usage = {cache_write: written, "reasoning": reasoning}
    exact = True
    for kind in ("audio", "image", "video"):
        cached = min(counts.get(f"{kind}_cache_read", 0), read)
        read -= cached
        fresh = max(counts.get(f"{kind}_input", 0) - cached, 0)
        if fresh and (written or (read and not cached)):
            exact = False
        usage[f"{kind}_cache_read"] = cached
        usage[f"{kind}_input"] = taken = min(fresh, plain)
        plain -= taken
        exact = exact and taken == fresh
    for kind in ("audio", "image"):
        usage[f"{kind}_output"] = taken = min(counts.get(f"{kind}_output", 0), spoken)
        spoken -= taken
    usage |= {"cache_read": read, "input": plain, "output": spoken}
    return {meter: count for meter, count in usage.items() if count}, exact


def _beside(counts: Mapping[str, int], cached: int, reasoning: int) -> tuple[bool, bool]:
    """Whether the cached tokens, and the reasoning, stand beside their totals."""
    into, out = counts.get("input", 0), counts.get("output", 0)
    must_in, must_out = cached > into, reasoning > out
    total = counts.get("total")
    if total is None or must_in or must_out or total == into + out:
        return must_in, must_out
    fits = [
        (beside_in, beside_out)
        for beside_in in ((False, True) if cached else (False,))
        for beside_out in ((False, True) if reasoning else (False,))
        if total == into + out + cached * beside_in + reasoning * beside_out
    ]
    return fits[0] if len(fits) == 1 else (False, False)


def _count(value: Value | None) -> int | None:
    """A count from 0 on, however its sender wrote it; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 13:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= COUNT_MAX else None
