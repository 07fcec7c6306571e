"""Windows of limits: fixed stretches of time, by a calendar and a time zone.

Times are microseconds since 1970, UTC. A window holds its start and not its end; every moment is in exactly one
window of a kind, also where clocks are put forward or back. Minutes and hours are those of UTC, in every zone: an hour
of the local clock would not be one where a zone changes by half an hour.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from farebox.errors import InvalidLimit

WindowKind = Literal["minute", "hour", "day", "week", "month", "lifetime", "billing"]
KINDS: Final = get_args(WindowKind)
MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
_OF_THE_MACHINE: Final = frozenset({"localtime", "posixrules", "posix", "right", "Factory"})
"""Files beside the zones: one means another zone on each machine, others count leap seconds."""


class Window(NamedTuple):
    """From `start_us` until `end_us`, which is None for a lifetime."""

    start_us: int
    end_us: int | None

    def holds(self, moment_us: int) -> bool:
        return self.start_us <= moment_us and (self.end_us is None or moment_us < self.end_us)


LIFETIME: Final = Window(0, None)


def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises InvalidLimit."""
    try:
        if name.partition("/")[0] in _OF_THE_MACHINE:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidLimit(f"{name!r} is no time zone: give an IANA name such as Europe/Berlin or UTC") from None


def window_at(kind: WindowKind, moment_us: int, time_zone: ZoneInfo, anchor_day: int = 1) -> Window:
    """The window that holds this moment. `anchor_day` (1 to 31) begins a billing month; where a month has no such
    day, its last one does."""
    if kind == "lifetime":
        return LIFETIME
    if kind == "minute" or kind == "hour":
        length = MINUTE_US if kind == "minute" else HOUR_US
        start = moment_us - moment_us % length
        return Window(start, start + length)
    local = datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(time_zone)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if kind == "day":
        first, following = day, day + timedelta(days=1)
    elif kind == "week":
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    else:
        first, following = _month(day, anchor_day if kind == "billing" else 1)
    return Window(_utc_us(first, time_zone), _utc_us(following, time_zone))


def around(kind: WindowKind, moment_us: int, time_zone: ZoneInfo, anchor_day: int = 1) -> list[Window]:
    """The window before, the one that holds this moment, and the one after; a lifetime has neither."""
    current = window_at(kind, moment_us, time_zone, anchor_day)
    if current.end_us is None:
        return [current]
    before = window_at(kind, current.start_us - 1, time_zone, anchor_day)
    return [before, current, window_at(kind, current.end_us, time_zone, anchor_day)]


def _month(day: datetime, anchor_day: int) -> tuple[datetime, datetime]:
    first = _anchored(day.year, day.month, anchor_day)
    if day < first:
        year, month = (day.year - 1, 12) if day.month == 1 else (day.year, day.month - 1)
        return _anchored(year, month, anchor_day), first
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return first, _anchored(year, month, anchor_day)


def _anchored(year: int, month: int, anchor_day: int) -> datetime:
    following = datetime(year + month // 12, month % 12 + 1, 1)
    last = (following - timedelta(days=1)).day
    return datetime(year, month, min(anchor_day, last))


def _utc_us(local: datetime, time_zone: ZoneInfo) -> int:
    """A local midnight in UTC. One that the clocks skip begins when they have been put forward; of one that they show
    twice, the first counts."""
    return int(local.replace(tzinfo=time_zone).timestamp()) * 1_000_000
