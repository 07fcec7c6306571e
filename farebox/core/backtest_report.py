"""What a back-test found, as API and shell show it: moments as text, money as decimal text of dollars."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from farebox.core.backtest import Outcome, Sum, Touched, total
from farebox.core.events import iso_us
from farebox.core.limit_text import sentence, shown_limit
from farebox.core.limits import Limit
from farebox.core.money import format_usd

ROWS_MAX: Final = 1000
GROUPS_MAX: Final = 20
"""Tenants and tiers that are named."""
IN_FLIGHT: Final = (
    "What a call costs counts when it ends, so running calls pass, as under a limit that is not strict; a limit in "
    "force also holds what they are expected to need, and stops a little earlier."
)


NOTHING: Final = Sum()


class Whole(NamedTuple):
    """All that the limit would have counted in the period, touched or not."""

    subjects: int
    counted: Sum
    unpriced: int
    """Calls without a price, whose cost is in no sum here."""


class Marked(NamedTuple):
    """Calls that a limit in force with the action dry_run has really marked."""

    calls: int
    spend: int
    first_us: int | None


class Found(NamedTuple):
    """Everything that a report is made of. `each` holds all calls and spend of the subjects that are shown."""

    limit: Limit
    since_us: int
    until_us: int
    outcome: Outcome
    whole: Whole
    each: Mapping[str, Sum]
    marked: Marked | None
    kept_from_us: int | None
    """Before this moment events were dropped by retention: None where none were."""


def report(found: Found, rows_max: int) -> dict[str, object]:
    """The answer, whole. `rows` are the most affected, largest first."""
    outcome, limit = found.outcome, found.limit
    touched = outcome.touched()
    saves = limit.action == "downgrade"
    return {
        "limit": shown_limit(limit),
        "sentence": sentence(limit),
        "since": iso_us(found.since_us),
        "until": iso_us(found.until_us),
        "totals": _totals(found, [subject for _, subject in touched], saves),
        "rows": [_row(name, subject, found.each.get(name), saves) for name, subject in touched[:rows_max]],
        "tenants": _groups("tenant", outcome.tenants),
        "tiers": _groups("tier", outcome.tiers),
        "warnings": [
            {"share": each.share, "subjects": each.subjects, "windows": each.windows, "first_at": _iso(each.first_us)}
            for each in outcome.reached
        ],
        "marked": _marked(found),
        "events_kept_from": _iso(found.kept_from_us),
        "in_flight": IN_FLIGHT,
    }


def _totals(found: Found, touched: list[Touched], saves: bool) -> dict[str, object]:
    counted = found.whole.counted
    firsts = [subject.first_us for subject in touched if subject.first_us is not None]
    share = round(len(touched) / found.whole.subjects, 6) if found.whole.subjects else None
    return {
        "subjects": found.whole.subjects,
        "subjects_touched": len(touched),
        "subjects_touched_share": share,
        "subjects_stopped": sum(subject.stopped != NOTHING for subject in touched),
        "windows_hit": sum(subject.windows for subject in touched),
        "first_at": _iso(min(firsts, default=None)),
        **_sums(
            counted,
            total([subject.beyond for subject in touched]),
            total([subject.stopped for subject in touched]),
            sum(subject.saved for subject in touched) if saves else None,
        ),
        "calls_unpriced": found.whole.unpriced,
        "calls_without_other_price": found.outcome.unknown_instead,
    }


def _row(name: str, subject: Touched, each: Sum | None, saves: bool) -> dict[str, object]:
    saved = subject.saved if saves else None
    return {
        "subject": name,
        "windows_hit": subject.windows,
        "first_at": _iso(subject.first_us),
        **_sums(each or subject.beyond, subject.beyond, subject.stopped, saved),
    }


def _sums(counted: Sum, beyond: Sum, stopped: Sum, saved: int | None) -> dict[str, object]:
    return {
        "calls": counted.calls,
        "calls_beyond": beyond.calls,
        "calls_stopped": stopped.calls,
        "spend_usd": format_usd(counted.spend),
        "spend_beyond_usd": format_usd(beyond.spend),
        "spend_stopped_usd": format_usd(stopped.spend),
        "spend_passed_usd": format_usd(counted.spend - stopped.spend - (saved or 0)),
        "saved_usd": None if saved is None else format_usd(saved),
    }


def _groups(name: str, sums: Mapping[str | None, Sum]) -> list[dict[str, object]]:
    """Largest first."""
    order = sorted(sums.items(), key=lambda pair: (-pair[1].spend, -pair[1].calls, pair[0] or ""))
    return [
        {name: value, "calls_beyond": each.calls, "spend_beyond_usd": format_usd(each.spend)}
        for value, each in order[:GROUPS_MAX]
    ]


def _marked(found: Found) -> dict[str, object] | None:
    marked = found.marked
    if marked is None:
        return None
    return {
        "limit_id": found.limit.id,
        "calls": marked.calls,
        "spend_usd": format_usd(marked.spend),
        "first_at": _iso(marked.first_us),
    }


def _iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso_us(moment_us)
