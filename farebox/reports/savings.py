"""What could be saved, by what sums of usage show: each finding with its arithmetic. Pure.

No finding knows prompts or answers. Where a saving rests on an assumption, the assumption is a constant here and is
said in the finding; whether a smaller model answers well enough, only trying it can tell.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from farebox.core import figures
from farebox.core.money import divide_half_even
from farebox.core.pricing import amount
from farebox.reports.rates import Price
from farebox.reports.spending import Spend, money

Confidence = Literal["high", "medium", "low"]
Kind = Literal[
    "cheaper model", "cache prompts", "cache expires", "long answers", "reasoning", "failed calls", "retries", "batch",
    "long sessions",
]  # fmt: skip
PriceOf = Callable[[str], Price | None]

TEXT: Final = frozenset({"chat", "responses", "messages", "generate", "completions"})
"""Operations whose models can stand in for each other."""
BATCHING: Final = frozenset({"openai", "anthropic", "gemini", "vertex", "mistral", "groq", "azure"})
"""Providers that answer batches within a day at half the price, by their price pages of 2026."""
WRITES: Final = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")
METERS: Final = ("input", "cache_read", *WRITES, "output", "reasoning")
CHEAPER_PERCENT: Final = 50
"""A model is proposed that costs at most this much of what is paid now."""
CACHED_PERCENT_MAX: Final = 10
PROMPT_TOKENS_MIN: Final = 1024
"""The shortest prompt that OpenAI, Anthropic and Google cache, for most models."""
SAME_PERCENT: Final = 50
"""Of a prompt, assumed to be the same from call to call."""
ANSWER_TOKENS_MIN: Final = 1000
ANSWER_COST_PERCENT_MIN: Final = 60
ANSWER_CUT_PERCENT: Final = 25
REASONING_TIMES_MIN: Final = 2
REASONING_CUT_PERCENT: Final = 50
SESSION_CALLS_MIN: Final = 8
SESSION_PROMPT_MIN: Final = 8000
SESSION_ANSWER_PERCENT_MAX: Final = 5
SESSION_CUT_PERCENT: Final = 50


class Use(NamedTuple):
    """All calls of a feature to a model by one operation."""

    feature: str | None
    provider: str
    model: str
    operation: str
    spend: Spend
    counts: dict[str, int]
    retries: int = 0
    attempts: int = 0
    sessions: int = 0

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def prompt(self) -> int:
        return sum(self.counts[meter] for meter in ("input", "cache_read", *WRITES))

    @property
    def is_long(self) -> bool:
        """Whether it sends long prompts for short answers."""
        return (
            self.prompt >= max(1, SESSION_PROMPT_MIN * self.spend.calls)
            and self.counts["output"] * 100 <= self.prompt * SESSION_ANSWER_PERCENT_MAX
        )


class Finding(NamedTuple):
    kind: Kind
    use: Use
    saving: int
    """Pico-dollars in the period."""
    confidence: Confidence
    how: str


def findings(
    uses: Sequence[Use], sessionless: dict[tuple[str | None, str, str, str], int], price: PriceOf
) -> list[Finding]:
    """All that the sums of text models show; those that need a price are left off where it is not known."""
    found: list[Finding | None] = []
    text = [use for use in uses if use.operation in TEXT and use.spend.known > 0 and use.spend.calls > 0]
    for use in text:
        found.append(cheaper(use, text, price))
        own = price(use.name)
        if own is not None:
            in_sessions = use.spend.calls - sessionless.get((use.feature, use.provider, use.model, use.operation), 0)
            found += [missing_cache(use, own), expiring_cache(use, own), long_answers(use, own), reasoning(use, own)]
            found.append(long_sessions(use, own, in_sessions))
    found += [retries(use) for use in uses]
    return [finding for finding in found if finding is not None and finding.saving > 0]


def cheaper(use: Use, others: Iterable[Use], price: PriceOf) -> Finding | None:
    """Of the models already in use at which these very counts cost at most half, the dearest: the nearest in kind."""
    best: tuple[int, str] | None = None
    for name in sorted({other.name for other in others} - {use.name}):
        candidate = price(name)
        cost = None if candidate is None else candidate.cost(use.counts)
        if cost is None or cost <= 0 or cost * 100 > use.spend.known * CHEAPER_PERCENT:
            continue
        if best is None or cost > best[0]:
            best = (cost, name)
    if best is None:
        return None
    cost, name = best
    how = f"{_tokens(use)} cost {money(use.spend.amount)}; at the rates of {name}, {money(cost)}. Try it on a share."
    return Finding("cheaper model", use, use.spend.known - cost, "low", how)


def missing_cache(use: Use, own: Price) -> Finding | None:
    uncached, calls = use.counts["input"], use.spend.calls
    full, cached = own.rates.get("input"), own.rates.get("cache_read")
    if full is None or cached is None or cached >= full or uncached < PROMPT_TOKENS_MIN * calls:
        return None
    if use.counts["cache_read"] * 100 > use.prompt * CACHED_PERCENT_MAX:
        return None
    same = uncached * SAME_PERCENT // 100
    saving = amount("input", same, full) - amount("cache_read", same, cached)
    how = (
        f"Prompts have {figures.count(uncached // calls)} tokens and "
        f"{_percent(use.counts['cache_read'], use.prompt)} of them come from the cache. If {SAME_PERCENT} % of a "
        f"prompt stays the same: {figures.count(same)} tokens at {money(cached)} instead of {money(full)} a million, "
        "before what writing to the cache costs. Put what stays the same first."
    )
    return Finding("cache prompts", use, saving, "medium", how)


def expiring_cache(use: Use, own: Price) -> Finding | None:
    written, read = sum(use.counts[meter] for meter in WRITES), use.counts["cache_read"]
    full = own.rates.get("input")
    if full is None or written <= read:
        return None
    paid = sum(_part(own, meter, use.counts[meter]) for meter in WRITES)
    plain = amount("input", written, full)
    how = (
        f"{figures.count(written)} tokens were written to the cache and {figures.count(read)} read: it expires before "
        f"it pays. Writing cost {money(paid)}; as plain input {money(plain)}. Keep it longer, or stop writing."
    )
    return Finding("cache expires", use, paid - plain, "medium", how)


def long_answers(use: Use, own: Price) -> Finding | None:
    tokens, calls = use.counts["output"], use.spend.calls
    cost, whole = _part(own, "output", tokens), own.cost(use.counts)
    if whole is None or tokens < ANSWER_TOKENS_MIN * calls or cost * 100 < whole * ANSWER_COST_PERCENT_MIN:
        return None
    how = (
        f"Answers have {figures.count(tokens // calls)} tokens and are {_percent(cost, whole)} of the cost. A "
        f"{ANSWER_CUT_PERCENT} % shorter one (max_tokens, a format, 'briefly') saves {ANSWER_CUT_PERCENT} % of "
        f"{money(cost)}."
    )
    return Finding("long answers", use, divide_half_even(cost * ANSWER_CUT_PERCENT, 100), "low", how)


def reasoning(use: Use, own: Price) -> Finding | None:
    tokens, output = use.counts["reasoning"], use.counts["output"]
    if tokens == 0 or tokens < output * REASONING_TIMES_MIN:
        return None
    cost = _part(own, "reasoning", tokens)
    how = (
        f"{figures.count(tokens)} tokens of reasoning for {figures.count(output)} of answer cost {money(cost)}. A "
        f"lower effort that thinks half as long saves {REASONING_CUT_PERCENT} % of it."
    )
    return Finding("reasoning", use, divide_half_even(cost * REASONING_CUT_PERCENT, 100), "low", how)


def long_sessions(use: Use, own: Price, calls: int) -> Finding | None:
    """Sessions that send a long context again with each call, for short answers."""
    if not use.sessions or calls < SESSION_CALLS_MIN * use.sessions or not use.is_long:
        return None
    cost = sum(_part(own, meter, use.counts[meter]) for meter in ("input", "cache_read", *WRITES))
    sent, answered = use.prompt // use.spend.calls, use.counts["output"] // use.spend.calls
    how = (
        f"{figures.count(calls // use.sessions)} calls a session send {figures.count(sent)} tokens each, for answers "
        f"of {figures.count(answered)}. Summing up or dropping old turns "
        f"that makes prompts half as long saves {SESSION_CUT_PERCENT} % of {money(cost)}."
    )
    return Finding("long sessions", use, divide_half_even(cost * SESSION_CUT_PERCENT, 100), "low", how)


def retries(use: Use) -> Finding | None:
    if not use.retries or not use.attempts:
        return None
    saving = divide_half_even(use.spend.known * use.retries, use.attempts)
    how = (
        f"{figures.count(use.retries)} of {figures.count(use.attempts)} attempts repeated an earlier one, at "
        f"{money(divide_half_even(use.spend.known, use.attempts))} on average. Longer timeouts and fewer retries save "
        "what was answered twice."
    )
    return Finding("retries", use, saving, "medium", how)


def failed(use: Use, state: str) -> Finding | None:
    """`use` is what ended in that state."""
    words = {
        "upstream_error": "ended with the provider's error",
        "timeout": "timed out",
        "interrupted": "were interrupted",
        "client_closed": "were given up by the caller",
    }
    if use.spend.known <= 0:
        return None
    how = f"{figures.count(use.spend.calls)} calls {words[state]} and cost {money(use.spend.amount)} all the same."
    return Finding("failed calls", use, use.spend.known, "high", how)


def batch(use: Use, service_tier: str | None) -> Finding | None:
    """`use` is calls that neither stream nor name a user or session."""
    if use.operation not in TEXT | {"embeddings"} or use.provider not in BATCHING or use.spend.known <= 0:
        return None
    if service_tier in ("batch", "flex"):
        return None
    how = (
        f"{figures.count(use.spend.calls)} calls do not stream and name no user or session: {money(use.spend.amount)}. "
        "Those that can wait a day cost half in a batch."
    )
    return Finding("batch", use, divide_half_even(use.spend.known, 2), "medium", how)


def largest(found: Iterable[Finding]) -> int:
    """What can be saved together at least: of findings on the same calls, the largest alone."""
    best: dict[tuple[str | None, str, str], int] = {}
    for finding in found:
        key = (finding.use.feature, finding.use.provider, finding.use.model)
        best[key] = max(best.get(key, 0), finding.saving)
    return sum(best.values())


def _part(own: Price, meter: str, count: int) -> int:
    """What a count costs at list price; what has no rate is nothing that could be saved."""
    rate = own.rates.get(meter)
    return amount(meter, count, rate) if rate is not None and count else 0


def _tokens(use: Use) -> str:
    written = use.counts["output"] + use.counts["reasoning"]
    return f"{figures.count(use.prompt)} tokens in and {figures.count(written)} out"


def _percent(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %" if whole else "0 %"
