"""Questions as people write them ('since=30d', 'tier=free', 'tenant,feature') into questions as values.

The API's query strings and the shell's options are read by the same functions, so that both accept the same words.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from typing import Final, get_args

from farebox.core import windows
from farebox.core.events import DIMENSIONS, CostSource, State, iso_us
from farebox.core.queries import COLUMNS, DEFAULT_MEASURES, PERIODS, EventsQuery, UsageQuery, check
from farebox.errors import InvalidLimit, QueryError

FILTERS: Final = (*DIMENSIONS, *COLUMNS)
"""What can be filtered by, beside `tag.NAME`."""
TIMES: Final = ("since", "until")
USAGE_WORDS: Final = ("group_by", *TIMES, "measures", "order", "limit", "time_zone", "as_of", "format")
EVENTS_WORDS: Final = (*TIMES, "limit", "cursor", "time_zone")
FORMATS: Final = ("json", "csv")
YEARS: Final = (1970, 2200)
"""The first and the last that can be asked for."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_RELATIVE: Final = re.compile(r"(\d{1,6})([smhdw])")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_PLUS_LOST: Final = re.compile(r"(T[\d:.]+) (\d\d:?\d\d)$")
"""An offset whose '+' stood in a query string as it is, where it means a blank."""
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {"state": get_args(State), "cost_source": get_args(CostSource)}
"""Of filters that know a few fixed ones: another is a slip, and would be answered with nothing."""
_FLAGS: Final = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like `name`, as a hint for a message: ' (did you mean tenant?)', or '' when none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]}?)" if found else ""


def zone(name: str) -> tzinfo:
    """The time zone of that IANA name. Raises QueryError."""
    if name in ("", "UTC"):
        return UTC
    try:
        return windows.zone(name)
    except InvalidLimit:
        raise QueryError(f"there is no time zone {name[:80]!r}: give an IANA name such as Europe/Berlin") from None


def instant(text: str, now_us: int, time_zone: str = "UTC") -> int:
    """Microseconds since 1970 of '30d' (that long ago; s, m, h, d, w), '2026-11-21' (its first moment in
    `time_zone`), '2026-11-21T10:00:00Z', or 'now'. Raises QueryError, also for a year that is not among YEARS."""
    text = _PLUS_LOST.sub(r"\1+\2", text.strip())
    if text == "now":
        return now_us
    if relative := _RELATIVE.fullmatch(text):
        return max(0, now_us - int(relative[1]) * _SECONDS[relative[2]] * 1_000_000)
    try:
        if _DATE.fullmatch(text):
            moment = datetime.combine(date.fromisoformat(text), time(), zone(time_zone))
        else:
            moment = datetime.fromisoformat(text)
    except ValueError:
        raise QueryError(
            f"{text[:80]!r} is no time: give how long ago (30d, 24h, 90m), a date (2026-11-21) "
            "or RFC 3339 (2026-11-21T10:00:00Z)"
        ) from None
    check_year(moment.year, text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(time_zone))
    return _since_epoch_us(moment)


def check_year(year: int, text: str) -> None:
    """Raises QueryError where `text` names a year that is not among YEARS."""
    if not YEARS[0] <= year <= YEARS[1]:
        raise QueryError(f"{text[:40]!r} is too far away: give a year from {YEARS[0]} to {YEARS[1]}")


def whole(text: str, name: str, least: int, most: int) -> int:
    """The whole number that `text` writes in digits. Raises QueryError where it is none from `least` to `most`."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or not least <= int(text) <= most:
        raise QueryError(f"{name} is {text[:20]!r}: give {least} to {most:,}")
    return int(text)


def deadline(text: str, now_us: int) -> int:
    """Microseconds since 1970 of a moment to come: '90d' is in ninety days. Raises QueryError, also for the past."""
    relative = _RELATIVE.fullmatch(text.strip())
    moment = now_us + span_s(text) * 1_000_000 if relative else instant(text, now_us)
    if moment > _LAST_US:
        raise QueryError(f"{text[:40]!r} is too far away: give a moment until {YEARS[1]}")
    if moment <= now_us:
        raise QueryError(f"{text!r} is over already: give a moment to come, such as 90d or 2030-01-01")
    return moment


def span_s(text: str) -> int:
    """Seconds of '90d', '24h', '0s'. Raises QueryError."""
    relative = _RELATIVE.fullmatch(text.strip())
    if relative is None:
        raise QueryError(f"{text!r} is no span of time: write 24h, 90m or 7d")
    return int(relative[1]) * _SECONDS[relative[2]]


def _since_epoch_us(moment: datetime) -> int:
    """Exact: `timestamp()` would go through a float and lose microseconds."""
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, (elapsed.days * 86400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds)


_LAST_US: Final = _since_epoch_us(datetime(YEARS[1] + 1, 1, 1, tzinfo=UTC))


def words(values: Iterable[str]) -> tuple[str, ...]:
    """Repeated and comma separated names as one tuple, each once: ['tenant,day', 'tenant'] -> ('tenant', 'day')."""
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def filters(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Filters by name: [('tier', 'free'), ('tier', 'pro')] -> {'tier': ('free', 'pro')}. An empty value stands for
    "has none". Raises QueryError for a name that cannot be filtered by."""
    where: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        where[name] = (*where.get(name, ()), _filter_value(name, value))
    return where


def _filter_value(name: str, value: str) -> str:
    if name in PERIODS:
        raise QueryError(f"{name} cannot be filtered by: use since and until")
    if name not in FILTERS and not is_tag(name):
        raise QueryError(f"there is no filter {name!r}{nearest(name, FILTERS)}; a tag's filter is tag.{name}")
    if name == "status" and value and not value.isdecimal():
        raise QueryError(f"status is an HTTP status such as 429, not {value[:40]!r}")
    if value and value not in _VALUES.get(name, (value,)):
        raise QueryError(f"{name} is one of {', '.join(_VALUES[name])}, not {value[:40]!r}")
    if name not in ("streaming", "byok"):
        return value
    if value.lower() not in _FLAGS:
        raise QueryError(f"{name} is true or false, not {value!r}")
    return _FLAGS[value.lower()]


def is_tag(name: str) -> bool:
    return name.startswith("tag.") and 0 < len(name) - 4 <= 64


def usage_query(pairs: Sequence[tuple[str, str]], now_us: int) -> UsageQuery:
    """The query string of GET /usage, decoded, as a checked question. Raises QueryError."""
    asked, where = _split(pairs, USAGE_WORDS)
    time_zone = _last(asked, "time_zone", "UTC")
    zone(time_zone)
    query = UsageQuery(
        group_by=words(asked.get("group_by", ())),
        since_us=_time(asked, "since", now_us, time_zone),
        until_us=_time(asked, "until", now_us, time_zone),
        where=where,
        measures=words(asked.get("measures", ())) or DEFAULT_MEASURES,
        order=_last(asked, "order", ""),
        limit=_count(asked, "limit", 100),
        time_zone=time_zone,
        as_of_us=_time(asked, "as_of", now_us, time_zone),
    )
    check(query)
    _check_span(query.since_us, query.until_us)
    _check_order(query)
    return query


def events_query(pairs: Sequence[tuple[str, str]], now_us: int) -> EventsQuery:
    """The query string of GET /events, decoded. Raises QueryError."""
    asked, where = _split(pairs, EVENTS_WORDS)
    time_zone = _last(asked, "time_zone", "UTC")
    query = EventsQuery(
        since_us=_time(asked, "since", now_us, time_zone),
        until_us=_time(asked, "until", now_us, time_zone),
        where=where,
        limit=_count(asked, "limit", 100),
        cursor=_last(asked, "cursor", "") or None,
    )
    check(UsageQuery(limit=query.limit))
    _check_span(query.since_us, query.until_us)
    return query


def result_format(pairs: Iterable[tuple[str, str]]) -> str:
    """'json' (unless asked) or 'csv'. Raises QueryError."""
    chosen = [value for name, value in pairs if name == "format"] or ["json"]
    if chosen[-1] not in FORMATS:
        raise QueryError(f"there is no format {chosen[-1]!r}: give json or csv")
    return chosen[-1]


def usage_pairs(query: UsageQuery) -> list[tuple[str, str]]:
    """The query string that `usage_query` reads back as the same question."""
    return [
        *(("group_by", name) for name in query.group_by),
        *_written(since=_iso(query.since_us), until=_iso(query.until_us), order=query.order),
        ("measures", ",".join(query.measures)),
        *_written(limit=str(query.limit), time_zone=query.time_zone, as_of=_iso(query.as_of_us)),
        *((name, value) for name, values in query.where.items() for value in values),
    ]


def events_pairs(query: EventsQuery) -> list[tuple[str, str]]:
    """The query string that `events_query` reads back as the same question."""
    return [
        *_written(since=_iso(query.since_us), until=_iso(query.until_us)),
        *_written(limit=str(query.limit), cursor=query.cursor or ""),
        *((name, value) for name, values in query.where.items() for value in values),
    ]


def _iso(moment_us: int | None) -> str:
    return "" if moment_us is None else iso_us(moment_us)


def _written(**asked: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in asked.items() if text]


def _split(
    pairs: Sequence[tuple[str, str]], known: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    asked: dict[str, tuple[str, ...]] = {}
    rest: list[tuple[str, str]] = []
    for name, value in pairs:
        if name in known:
            asked[name] = (*asked.get(name, ()), value)
        elif name in FILTERS or name.startswith("tag."):
            rest.append((name, value))
        else:
            raise QueryError(f"there is no parameter {name!r}{nearest(name, (*known, *FILTERS))}")
    return asked, filters(rest)


def _last(asked: Mapping[str, tuple[str, ...]], name: str, default: str) -> str:
    return asked.get(name, (default,))[-1]


def _time(asked: Mapping[str, tuple[str, ...]], name: str, now_us: int, time_zone: str) -> int | None:
    text = _last(asked, name, "")
    return instant(text, now_us, time_zone) if text else None


def _count(asked: Mapping[str, tuple[str, ...]], name: str, default: int) -> int:
    text = _last(asked, name, str(default))
    if not re.fullmatch(r"-?\d{1,12}", text):
        raise QueryError(f"{name} is {text!r}: give a whole number")
    return int(text)


def _check_span(since_us: int | None, until_us: int | None) -> None:
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise QueryError("since is not before until: nothing can lie between them")


def _check_order(query: UsageQuery) -> None:
    known = (*query.measures, *query.group_by)
    for name in words((query.order,)):
        if name.removeprefix("-") not in known:
            raise QueryError(
                f"cannot order by {name!r}{nearest(name, known)}: name a measure or group of this question, "
                "'-' before it for largest first"
            )
