"""The one filter bar: what a page's address says of period, dimensions, order and search, and the addresses made of it.

`period=7d&tenant=acme&sort=-spend` is a whole question: whoever opens the address sees the same page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

from farebox.core import asking
from farebox.core.queries import LIMIT_MAX, EventsQuery, UsageQuery
from farebox.errors import QueryError
from farebox.reports.report import Asked

PERIODS: Final[dict[str, str]] = {
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "month": "This month",
    "last-month": "Last month",
    "12-months": "Last 12 months",
    "all": "All time",
}
DIMENSIONS: Final = ("tenant", "user", "tier", "feature", "model", "provider")
"""What the bar has a field for. Every other filter of the API works in the address, and is shown as a chip."""
ROWS: Final = 100
ROWS_MAX: Final = 1000
VALUES_MAX: Final = 50
_CARRIED: Final = ("period", "since", "until")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Filters:
    """Times are microseconds since 1970, `until_us` exclusive."""

    period: str
    since_us: int | None
    until_us: int
    now_us: int
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    """The rest of the address: sort, q, rows, cursor, a report's options."""
    given: tuple[tuple[str, str], ...] = ()
    """Of period and dimensions, what the address said itself."""

    @property
    def label(self) -> str:
        if self.period in PERIODS:
            return PERIODS[self.period]
        return f"{_day(self.since_us or 0)} to {_day(self.until_us - 1)}"

    @property
    def year(self) -> int:
        """The one that goes without saying."""
        return datetime.fromtimestamp(self.now_us / 1_000_000, UTC).year

    @property
    def days(self) -> int:
        return max(1, round((self.until_us - (self.since_us or 0)) / 86_400_000_000))

    def usage(
        self,
        group_by: Sequence[str],
        measures: Sequence[str],
        *,
        order: str = "",
        limit: int = LIMIT_MAX,
        since_us: int | None = None,
        until_us: int | None = None,
        only: Mapping[str, str] | None = None,
    ) -> UsageQuery:
        """A question under these filters; `only` and times said here go before."""
        return UsageQuery(
            group_by=tuple(group_by),
            since_us=self.since_us if since_us is None else since_us,
            until_us=self.until_us if until_us is None else until_us,
            where={**self.where, **{name: (value,) for name, value in (only or {}).items()}},
            measures=tuple(measures),
            order=order,
            limit=limit,
        )

    def events(self, limit: int) -> EventsQuery:
        return EventsQuery(self.since_us, self.until_us, dict(self.where), limit, self.query.get("cursor") or None)

    def asked(self, options: Iterable[str] = ()) -> Asked:
        """As a report takes it."""
        return Asked(
            since_us=self.since_us or 0,
            until_us=self.until_us,
            now_us=self.now_us,
            where=dict(self.where),
            top=ROWS_MAX,
            options={name: self.query[name] for name in options if self.query.get(name)},
        )

    def href(self, path: str, **changes: str | None) -> str:
        """`path` under the same period and dimensions; a change of None leaves one out. What `path` says itself goes
        before."""
        base, _, own = path.partition("?")
        said = {pair.partition("=")[0] for pair in own.split("&") if pair}
        kept = [(name, value) for name, value in self.given if name not in changes and name not in said]
        kept += [(name, value) for name, value in changes.items() if value is not None]
        query = "&".join(part for part in (own, urlencode(kept)) if part)
        return f"{base}?{query}" if query else base

    def same(self, path: str, **changes: str | None) -> str:
        """This page with something changed: order, search and options stay, too; a cursor does not."""
        rest = {name: value for name, value in self.query.items() if name != "cursor" and value}
        return self.href(path, **{**rest, **changes})

    def without(self, path: str, name: str, value: str) -> str:
        """This page without one of its filters."""
        kept = [pair for pair in self.given if pair != (name, value)]
        rest = [(key, text) for key, text in self.query.items() if key != "cursor" and text]
        return f"{path}?{urlencode(kept + rest)}" if kept or rest else path


def read_filters(pairs: Sequence[tuple[str, str]], now_us: int, period: str = "30d") -> Filters:
    """What an address asks for; `period` is what holds where it says nothing. Raises QueryError."""
    times = {name: value for name, value in pairs if name in _CARRIED and value}
    where = [(name, value) for name, value in pairs if name in asking.FILTERS or asking.is_tag(name)]
    where += _written_tags(pairs)
    # a field of the bar that was left empty is no filter; an address that means "has none" writes (none)
    where = [(name, "" if value == "(none)" else value) for name, value in where if value]
    if len(where) > VALUES_MAX:
        raise QueryError(f"at most {VALUES_MAX} filters at once")
    own = times.get("period", "" if "since" in times or "until" in times else period)
    since_us, until_us = _span(own, now_us) if own else _from_to(times, now_us, period)
    known = {*_CARRIED, *asking.FILTERS, "tag"}
    query = {name: value[:300] for name, value in pairs if name not in known and not asking.is_tag(name)}
    shown = [(name, value or "(none)") for name, value in where]
    return Filters(
        own or "custom",
        since_us,
        until_us,
        now_us,
        asking.filters(where),
        query,
        (*((name, times[name]) for name in _CARRIED if name in times), *shown),
    )


def _written_tags(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The bar's own field for tags takes NAME=VALUE."""
    found = []
    for name, value in pairs:
        if name == "tag" and value:
            key, equals, text = value.partition("=")
            if not equals or not asking.is_tag(f"tag.{key.strip()}"):
                raise QueryError(f"a tag is written NAME=VALUE, not {value[:80]!r}")
            found.append((f"tag.{key.strip()}", text.strip()))
    return found


def _from_to(times: Mapping[str, str], now_us: int, period: str) -> tuple[int | None, int]:
    """From `since`, or from where `period` begins that ends then, to `until` or now."""
    until_us = _end(times.get("until", ""), now_us)
    since_us = asking.instant(times["since"], now_us) if "since" in times else _span(period, until_us - 1)[0]
    if since_us is not None and since_us >= until_us:
        raise QueryError("the period ends before it begins: change one of its days")
    return since_us, until_us


def _span(period: str, now_us: int) -> tuple[int | None, int]:
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    match period:
        case "24h":
            return now_us - 86_400_000_000, now_us
        case "7d" | "30d" | "90d":
            return _us(today - (int(period[:-1]) - 1) * _DAY), now_us
        case "month":
            return _us(month), now_us
        case "last-month":
            return _us((month - _DAY).replace(day=1)), _us(month)
        case "12-months":
            return _us((month.replace(year=month.year - 1) + 31 * _DAY).replace(day=1)), now_us
        case "all":
            return None, now_us
    raise QueryError(f"there is no period {period[:40]!r}: choose one of {', '.join(PERIODS)}")


def _end(text: str, now_us: int) -> int:
    """The last day of a period is one of it."""
    if not text:
        return now_us
    end_us = asking.instant(text, now_us)
    return end_us + 86_400_000_000 if len(text) == len("2026-11-21") else end_us


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _day(moment_us: int) -> str:
    moment = datetime.fromtimestamp(moment_us / 1_000_000, UTC)
    return f"{moment.day} {moment:%b %Y}"


def segment(value: object) -> str:
    """A value as the last part of a page's path. One that ends like a file of ours gets an ending that is taken off
    again, so that a customer called 'a.csv' has a page."""
    text = str(value)
    ending = ".html" if text.endswith((".json", ".csv", ".html", ".")) else ""
    return quote(text + ending, safe="")
