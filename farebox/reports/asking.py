"""What is asked of a report, as people write it ('month=2026-10', 'by=feature', 'tier=free'), parsed and checked.

The API's query strings and the shell's options are read by the same function.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from farebox.core.asking import FILTERS, check_year, filters, instant, nearest, whole, zone
from farebox.core.windows import Window, window_at
from farebox.errors import QueryError
from farebox.reports.report import Asked, Report

WORDS: Final = ("since", "until", "month", "time_zone", "top", "as_of")
TOP, TOP_MAX = 100, 10_000
DAYS: Final = 30
MONTHS: Final = 12
_DAY_US: Final = 86_400_000_000


def asked(report: Report, pairs: Sequence[tuple[str, str]], now_us: int) -> Asked:
    """The question that these names and values ask of a report. A name is one of WORDS, an option of the report, a
    dimension or tag.NAME to filter by. Raises QueryError with what to write instead."""
    options = {option.name: option.default for option in report.options}
    said: dict[str, str] = {}
    where: list[tuple[str, str]] = []
    for name, value in pairs:
        if name in WORDS or name in options:
            said[name] = value
        elif name in FILTERS or name.startswith("tag."):
            where.append((name, value))
        else:
            known = (*WORDS, *options, *FILTERS)
            raise QueryError(f"{report.name} knows no {name!r}{nearest(name, known)}; it has {', '.join(known)}")
    time_zone = said.get("time_zone") or "UTC"
    zone(time_zone)
    since_us, until_us = _span(report, said, now_us, time_zone)
    return Asked(
        since_us=since_us,
        until_us=until_us,
        now_us=now_us,
        time_zone=time_zone,
        where=filters(where),
        top=_top(said.get("top", "")),
        as_of_us=instant(said["as_of"], now_us, time_zone) if said.get("as_of") else None,
        options={name: said.get(name, default) for name, default in options.items()},
    )


def month_span(text: str, now_us: int, time_zone: str) -> Window:
    """The month '2026-10', 'this' or 'last'; this month ends now. Raises QueryError."""
    this = _month_at(now_us, time_zone)
    if text == "this":
        window = this
    elif text == "last":
        window = _month_at(this.start_us - 1, time_zone)
    else:
        try:
            first = date.fromisoformat(f"{text}-01")
        except ValueError:
            raise QueryError(f"month is {text[:40]!r}: give one such as 2026-10, this or last") from None
        check_year(first.year, text)
        noon = datetime(first.year, first.month, 2, 12, tzinfo=UTC)
        window = _month_at(int(noon.timestamp()) * 1_000_000, time_zone)
    assert window.end_us is not None
    if window.start_us >= now_us:
        raise QueryError(f"month {text!r} has not begun: there is nothing to report yet")
    return Window(window.start_us, min(window.end_us, now_us))


def _span(report: Report, said: dict[str, str], now_us: int, time_zone: str) -> tuple[int, int]:
    month = said.get("month", "")
    if month and (said.get("since") or said.get("until")):
        raise QueryError("give month, or since and until, not both")
    if month:
        if any(option.name == "month" for option in report.options):
            month = month[:7] if len(month) == len("2026-10-15") else month  # a billing month, by its first day
        window = month_span(month, now_us, time_zone)
        return window.start_us, window.end_us or now_us
    until_us = instant(said["until"], now_us, time_zone) if said.get("until") else now_us
    since = said.get("since", "")
    if since == "all":
        since_us = 0
    elif since:
        since_us = instant(since, now_us, time_zone)
    else:
        since_us = _default(report.period, until_us, time_zone)
    if since_us >= until_us:
        raise QueryError("since is not before until: nothing can lie between them")
    return since_us, until_us


def _default(period: str, until_us: int, time_zone: str) -> int:
    """Where a report begins that ends at `until_us`: at the beginning of a day or month."""
    last_us = max(0, until_us - 1)
    if period == "none":
        return 0
    if period == "30d":
        days_us = (DAYS - 1) * _DAY_US
        today = window_at("day", last_us, ZoneInfo(time_zone))
        # From the day's noon: thirty days are not thirty times 24 hours where the clocks are changed.
        return max(0, window_at("day", today.start_us + _DAY_US // 2 - days_us, ZoneInfo(time_zone)).start_us)
    window = _month_at(last_us, time_zone)
    for _ in range(MONTHS - 1 if period == "12 months" else 0):
        window = _month_at(window.start_us - 1, time_zone)
    return max(0, window.start_us)


def _month_at(moment_us: int, time_zone: str) -> Window:
    return window_at("month", moment_us, ZoneInfo(time_zone))


def _top(text: str) -> int:
    return whole(text, "top", 1, TOP_MAX) if text else TOP
