"""optimize: what to change, what it would save, and how that was computed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from farebox.core.money import divide_half_even
from farebox.reports import savings, spending
from farebox.reports.cells import label, named
from farebox.reports.months import DAY_US
from farebox.reports.rates import Rates, asked_rates, known_rates
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.savings import Finding, Kind, Use
from farebox.reports.spending import Row, money, spend_of, usage, usd

MONTH_DAYS: Final = 30
WORTH_PERCENT_MIN: Final = 1
"""Savings below this share of the spend are left off."""
GROUPS: Final = ("feature", "provider", "model", "operation")
FAILED: Final = ("upstream_error", "timeout", "interrupted", "client_closed")
TITLES: Final[dict[Kind, str]] = {
    "cheaper model": "A cheaper model that is already in use",
    "cache prompts": "Prompts that no cache serves",
    "cache expires": "Caches that expire before they pay",
    "long answers": "Long answers",
    "reasoning": "Long reasoning",
    "failed calls": "Calls that failed and were paid",
    "retries": "Retries",
    "batch": "Work that could wait for a batch",
    "long sessions": "Long contexts, sent again and again",
}
_SAVING = Column(
    "saving", "Saves a month", "usd", f"The period's saving, for {MONTH_DAYS} days. Findings on the same calls overlap."
)
COLUMNS: Final = (
    Column("kind", "What to change"),
    Column("feature", "Feature", door="feature={feature}"),
    Column("model", "Model", door="feature={feature}&provider={provider}&model={model}"),
    _SAVING,
    Column("confidence", "Confidence", hint="high: it was paid. medium: if what is assumed holds. low: try it."),
    Column("how", "How that is computed"),
)  # fmt: skip


class Optimize:
    name = "optimize"
    title = "What to change"
    question = "What can we change, and what does it save?"
    period: Literal["30d"] = "30d"
    options: tuple[Option, ...] = ()

    def __init__(self, rates: Rates = asked_rates) -> None:
        self._rates = rates

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        measures = (*savings.METERS, "attempts", "retries")
        rows = usage(facts, asked, GROUPS, asked.since_us, asked.until_us, measures)
        spend = spending.total(spend_of(row) for row in rows)
        price = known_rates(self._rates, facts, asked.now_us)
        uses = _in_sessions(asked, facts, [_use(row) for row in rows if row["provider"] and row["model"]])
        found = savings.findings(uses, _sessionless(asked, facts), price)
        found += [*_failed(asked, facts), *_batches(asked, facts)]
        least = spend.known * WORTH_PERCENT_MIN // 100
        found = sorted((one for one in found if one.saving >= max(1, least)), key=_order)
        priced = any(price(use.name) for use in uses)
        return Answer(
            sentence=_sentence(found, spend.known, asked),
            columns=COLUMNS,
            rows=[_row(one, asked) for one in found[: asked.top]],
            totals=None,
            charts=_charts(found, asked),
            sections=tuple(_sections(found, asked)),
            notes=(
                *(() if priced or not uses else ("No price is known: only what was paid for nothing can be told.",)),
                "By sums of usage alone: prompts and answers are not kept, so calls that repeat each other word for "
                "word and answers that nobody reads cannot be seen.",
                "Findings on the same calls overlap; the first sentence counts the largest of each feature and model.",
                f"Findings worth less than {WORTH_PERCENT_MIN} % of the spend are left off.",
                *spending.sureness(spend),
            ),
        )


def _in_sessions(asked: Asked, facts: Facts, uses: list[Use]) -> list[Use]:
    """With how many sessions each has, where that is of any use: counting them is dear."""
    if not any(use.is_long for use in uses):
        return uses
    rows = usage(facts, asked, GROUPS, asked.since_us, asked.until_us, ("sessions",))
    sessions = {_key(row): row["sessions"] for row in rows}
    return [use._replace(sessions=sessions.get(_named(use), 0)) for use in uses]


def _named(use: Use) -> tuple[str | None, str, str, str]:
    return use.feature, use.provider, use.model, use.operation


def _key(row: Row) -> tuple[str | None, str, str, str]:
    return row["feature"], row["provider"], row["model"], row["operation"] or "other"


def _use(row: Row) -> Use:
    """A row that was not asked for a measure has none of it."""
    return Use(
        row["feature"],
        row["provider"],
        row["model"],
        row["operation"] or "other",
        spend_of(row),
        {meter: row.get(meter, 0) for meter in savings.METERS},
        row.get("retries", 0),
        row.get("attempts", 0),
    )


def _sessionless(asked: Asked, facts: Facts) -> dict[tuple[str | None, str, str, str], int]:
    if "session" in asked.where:
        return {}
    rows = usage(facts, asked, GROUPS, asked.since_us, asked.until_us, (), {"session": ("",)})
    return {_key(row): row["calls"] for row in rows}


def _failed(asked: Asked, facts: Facts) -> list[Finding]:
    states = tuple(state for state in FAILED if state in asked.where.get("state", FAILED))
    if not states:
        return []
    rows = usage(facts, asked, (*GROUPS, "state"), asked.since_us, asked.until_us, (), {"state": states})
    found = [savings.failed(_use(row), row["state"]) for row in rows if row["provider"] and row["model"]]
    return [finding for finding in found if finding is not None]


def _batches(asked: Asked, facts: Facts) -> list[Finding]:
    alone = {"streaming": ("false",), "user": ("",), "session": ("",)}
    if set(alone) & set(asked.where):
        return []
    rows = usage(facts, asked, (*GROUPS, "service_tier"), asked.since_us, asked.until_us, (), alone)
    found = [savings.batch(_use(row), row["service_tier"]) for row in rows if row["provider"] and row["model"]]
    return [finding for finding in found if finding is not None]


def _order(finding: Finding) -> tuple[int, str, str, str]:
    return (-finding.saving, finding.kind, str(finding.use.feature), finding.use.name)


def _monthly(amount: int, asked: Asked) -> int:
    return divide_half_even(amount * MONTH_DAYS * DAY_US, max(1, asked.until_us - asked.since_us))


def _row(finding: Finding, asked: Asked) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "feature": finding.use.feature,
        "provider": finding.use.provider,
        "model": finding.use.model,
        "saving": usd(_monthly(finding.saving, asked)),
        "confidence": finding.confidence,
        "how": finding.how,
    }


def _sections(found: Sequence[Finding], asked: Asked) -> Iterable[Section]:
    for kind, title in TITLES.items():
        own = [finding for finding in found if finding.kind == kind]
        if own:
            worth = money(_monthly(sum(finding.saving for finding in own), asked))
            columns = tuple(column for column in COLUMNS if column.name != "kind")
            rows = [_row(finding, asked) for finding in own[: asked.top]]
            yield Section(title=title, sentence=f"Worth {worth} a month.", columns=columns, rows=rows)


def _sentence(found: Sequence[Finding], spend: int, asked: Asked) -> str:
    if not found:
        return "Nothing stands out that would save money."
    sure = [finding for finding in found if finding.confidence != "low"]
    worth, all_worth = (_monthly(savings.largest(some), asked) for some in (sure, found))
    whole = money(_monthly(spend, asked))
    best = (sure or found)[0]
    feature = f" in {label(best.use.feature)}" if best.use.feature else ""
    largest = f"the largest: {best.kind}{feature}, {money(_monthly(best.saving, asked))}"
    if not sure:
        return f"{named(len(found), 'change')} might save {money(all_worth)} of {whole} a month; {largest}."
    more = f" What must be tried first could make it {money(all_worth)}." if all_worth > worth else ""
    return f"{named(len(sure), 'change')} would save {money(worth)} of {whole} a month; {largest}.{more}"


def _charts(found: Sequence[Finding], asked: Asked) -> tuple[Chart, ...]:
    if not found:
        return ()
    worth: dict[str, int] = {}
    for finding in found:
        worth[TITLES[finding.kind]] = worth.get(TITLES[finding.kind], 0) + finding.saving
    ranked = sorted(worth.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [{"change": title, "usd": usd(_monthly(saving, asked))} for title, saving in ranked]
    return (Chart("What each change saves a month", "bars", rows, "change", "usd"),)
