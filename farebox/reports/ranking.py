"""A ranking: who or what spent most. Several reports are one, by another dimension."""

from typing import Any, Final, NamedTuple

import msgspec

from farebox.core.money import divide_half_even, format_usd, to_decimal
from farebox.core.queries import EXPORT_ROWS_MAX
from farebox.reports.report import Answer, Asked, Chart, Column, Facts
from farebox.reports.sums import (
    AVERAGE,
    CALLS,
    SHARE,
    SPEND,
    SURE,
    UNPRICED,
    percent,
    pico,
    question,
    sure,
    sure_notes,
    total,
    usd,
    without,
)
from farebox.reports.words import NONE, dollars, listed, named, nothing, percents, span

MEASURES: Final = ("spend", "calls", "avg_cost", "attempts", "spend_estimated", "calls_unpriced")
RANK: Final = (SPEND, SHARE, CALLS, AVERAGE)
DOUBT: Final = (SURE, UNPRICED)
CALLED: Final = ("done", "upstream_error", "client_closed", "timeout", "interrupted")
"""States of calls that were not refused."""
BARS: Final = 10
_OF_ITS_OWN: Final = ("spend", "spend_estimated", "avg_cost", "last_at")
_ADDED: Final = ("calls", "attempts", "calls_unpriced", "errors", "input_tokens", "output_tokens", *_OF_ITS_OWN)
"""Measures of which those of many rows follow from each row's."""


SPARE: Final = 1000
"""Rows asked for beside those to be shown: some have no name."""


class Ranking(NamedTuple):
    """`rows` are the first that have a name, most spent first; `none` the sums over calls without one."""

    rows: list[dict[str, Any]]
    """As many as can be shown."""
    found: list[dict[str, Any]]
    """The ledger's own rows of all that were asked for and have a name."""
    none: dict[str, Any] | None
    total: dict[str, Any]
    whole: bool
    """Whether `found` are all there are."""

    def beyond(self, shown: int) -> tuple[int, int]:
        """(pico-dollars, calls) of all that has a name but the first `shown`."""
        first = [*self.rows[:shown], *([self.none] if self.none else [])]
        spend = pico(self.total["spend"]) - sum(pico(row["spend"]) for row in first)
        return spend, self.total["calls"] - sum(row["calls"] for row in first)


def rank(
    asked: Asked, facts: Facts, groups: tuple[str, ...], more: tuple[str, ...] = (), *, every: bool = False
) -> Ranking:
    """By `groups`, the last of which is what is ranked. `more` are further measures. Who was only refused is left
    out. Not more rows are asked for than can be shown, unless `every` is said: there may be a million users."""
    asked, measures = _of_calls(asked), (*MEASURES, *more)
    needed = max(asked.top, BARS)
    limit = EXPORT_ROWS_MAX if every else needed + SPARE
    if every:
        found = _every(asked, facts, groups, measures)
    else:
        found = facts.usage(question(asked, groups, measures, limit=limit))
    whole, rest = _sums(asked, facts, found if len(found) < limit else None, groups[-1], measures)
    spend = pico(whole["spend"])
    has_names = rest is None or any(rest[name] != whole[name] for name in ("calls", "attempts", "spend"))
    few = sum(row[groups[-1]] is not None for row in found) < needed
    if limit == len(found) < EXPORT_ROWS_MAX and few and has_names:
        limit = EXPORT_ROWS_MAX
        found = facts.usage(question(asked, groups, measures, limit=limit))
    has_name = [row for row in found if row[groups[-1]] is not None]
    rows = [_shown(row, groups, more, spend) for row in has_name[:needed]]
    has_rest = rest is not None and (rest["attempts"] or pico(rest["spend"]))
    none = _shown({**dict.fromkeys(groups), **rest}, groups, more, spend) if rest is not None and has_rest else None
    total_row = _shown({**dict.fromkeys(groups), **whole}, groups, more, spend)
    return Ranking(rows, has_name, none, total_row, len(found) < limit or not has_names)


def _sums(
    asked: Asked, facts: Facts, found: list[dict[str, Any]] | None, name: str, measures: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Of everything, and of what has no name; None where the filters leave none of that. Where all rows are `found`
    their sums are told of them, so that a page agrees with itself while calls are made."""
    apart = tuple(measure for measure in measures if measure not in _ADDED)
    nameless = [row for row in found or () if row[name] is None]
    whole = None if found is None else _together(found, measures)
    rest = _together(nameless, measures)
    if whole is None or rest is None:
        return total(asked, facts, measures), without(asked, facts, name, measures)
    if "" not in asked.where.get(name, ("",)):
        return {**whole, **(total(asked, facts, apart) if apart else {})}, None
    if not apart:
        return whole, rest
    return {**whole, **total(asked, facts, apart)}, {**rest, **(without(asked, facts, name, apart) or {})}


def _together(rows: list[dict[str, Any]], measures: tuple[str, ...]) -> dict[str, Any] | None:
    """What one question for all of these rows answers, as far as it adds up; None where it cannot be told: of what has
    no price and what cost nothing."""
    known = sum(pico(row["spend"]) for row in rows)
    if not known and any(row["spend"] is None for row in rows):
        return None
    found: dict[str, Any] = {
        name: sum(row[name] for row in rows) for name in measures if name in _ADDED and name not in _OF_ITS_OWN
    }
    found["spend"] = format_usd(known)
    found["spend_estimated"] = format_usd(sum(pico(row["spend_estimated"]) for row in rows))
    found["avg_cost"] = format_usd(divide_half_even(known, found["calls"])) if found["calls"] else None
    if "last_at" in measures:
        found["last_at"] = max((row["last_at"] for row in rows if row["last_at"] is not None), default=None)
    return found


def _every(asked: Asked, facts: Facts, groups: tuple[str, ...], measures: tuple[str, ...]) -> list[dict[str, Any]]:
    """All there are, in the order in which the ledger gives the first of them."""

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        names = [(row[name] is None, row[name] or "") for name in groups]
        return (row["spend"] is None, -pico(row["spend"]), *names)

    return sorted(facts.usage_unordered(question(asked, groups, measures)), key=place)


def _of_calls(asked: Asked) -> Asked:
    """The same of calls that were not refused."""
    states = tuple(state for state in asked.where.get("state", CALLED) if state in CALLED)
    return msgspec.structs.replace(asked, where={**asked.where, "state": states})


def _shown(row: dict[str, Any], groups: tuple[str, ...], more: tuple[str, ...], whole: int) -> dict[str, Any]:
    return {
        **{name: row[name] for name in groups},
        "spend": usd(row["spend"]),
        "share": None if row["spend"] is None else percent(pico(row["spend"]), whole),
        "calls": row["calls"],
        "avg_cost": usd(row["avg_cost"]),
        **{name: usd(row[name]) if name.startswith("spend") else row[name] for name in more},
        "sure": sure(row),
        "unpriced": row["calls_unpriced"],
    }


def answered(
    asked: Asked, facts: Facts, ranking: Ranking, columns: tuple[Column, ...], sentence: str, chart: Chart
) -> Answer:
    """The answer: `asked.top` named rows, then the one without a name."""
    if not ranking.rows and ranking.none is None:
        return Answer(sentence=nothing(asked), columns=columns, rows=[])
    rows = [*ranking.rows[: asked.top], *([ranking.none] if ranking.none else [])]
    notes = (*_left_off(asked, ranking), *sure_notes(asked, facts))
    return Answer(
        sentence=sentence,
        columns=columns,
        rows=rows,
        totals=ranking.total,
        charts=(chart,) if rows else (),
        notes=notes,
    )


def bars(ranking: Ranking, groups: tuple[str, ...], title: str) -> Chart:
    """The largest, the rest as one, and what has no name. A name that needs its tenant to be one stands beside it."""
    shown = [
        {"name": " / ".join(named(row[name]) for name in groups), "spend": row["spend"], "calls": row["calls"]}
        for row in ranking.rows[:BARS]
    ]
    spend, calls = ranking.beyond(len(shown))
    if len(ranking.found) > BARS:
        shown.append({"name": "other", "spend": to_decimal(spend), "calls": calls})
    if ranking.none:
        shown.append({"name": NONE, "spend": ranking.none["spend"], "calls": ranking.none["calls"]})
    return Chart(title=title, kind="bars", rows=shown, x="name", y="spend", y_title="Spend, USD")


def most(asked: Asked, ranking: Ranking, noun: str, groups: tuple[str, ...]) -> str:
    """'summarize costs most: $412 of $500 (82.4 %), October 2026.'"""
    spend = ranking.total["spend"]
    if not ranking.rows:
        return f"No call names its {noun}: {dollars(spend)}, {span(asked)}, cannot be told apart."
    first = ranking.rows[0]
    name = " of ".join(named(first[name]) for name in reversed(groups))
    if first["spend"] is None:
        return f"No call has a price, {span(asked)}: `farebox report unpriced` lists their models."
    part = f"{dollars(first['spend'])} of {dollars(spend)} ({percents(first['share'])})"
    return f"{name} costs most: {part}, {span(asked)}."


def leading(names: list[str], shown: int = 3) -> str:
    """The first names, and how many more."""
    more = len(names) - shown
    return listed(names) if more <= 0 else f"{', '.join(names[:shown])} and {more} more"


def _left_off(asked: Asked, ranking: Ranking) -> tuple[str, ...]:
    beyond = len(ranking.found) - asked.top
    if beyond <= 0:
        return ()
    spend, _calls = ranking.beyond(asked.top)
    more = f"{beyond:,} more rows" if ranking.whole else f"More than {beyond:,} further rows"
    return (f"{more} with {dollars(to_decimal(spend))} together are not shown (top={asked.top}).",)
