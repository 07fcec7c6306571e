"""Limits: what may be spent by whom in which window, and which of them a call falls under.

A limit without a subject is a template: each value of its dimension has an account of its own. One with a subject is
an override: for that subject it stands in place of the templates of the same dimension, unit and window. `all` is one
account for everybody. Pure: who calls and when are arguments.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, NamedTuple, get_args

import msgspec
from msgspec.structs import replace

from farebox.core.events import DIMENSIONS, Tag
from farebox.core.money import format_usd, parse_usd
from farebox.core.windows import KINDS, Window, WindowKind, window_at, zone
from farebox.errors import InvalidLimit, InvalidMoney

Action = Literal["block", "warn", "dry_run", "downgrade", "throttle"]
Reserve = Literal["expected", "ceiling"]
ACTIONS: Final = get_args(Action)
STOPPING: Final = frozenset({"block", "downgrade", "throttle"})
"""Actions that change what happens to a call; the others only tell of it."""
EVERYBODY: Final = "all"
RATE: Final = "#rate"
"""Behind a limit's id: the account by which `throttle` counts the calls of a minute."""
NOBODY: Final = "(none)"
"""The subject of calls that lack the dimension that a limit counts by: leaving a header out evades nothing."""
WITHIN_TENANT: Final = frozenset({"workspace", "user", "task", "session"})
"""Dimensions whose values belong to a tenant: `u_1` of one is not `u_1` of another."""
PLACES: Final = ("provider", "model", "route")
"""Where a call goes, which conditions may name beside whom it is for. `model` is the one that was asked for."""
AMOUNT_MAX: Final = 2**63 - 1
"""In the unit's smallest: pico-dollars for usd."""
_DIGITS_MAX: Final = 18
"""What is behind the first digit of AMOUNT_MAX."""
MIN_OUTPUT: Final = 16
NO_DAYS: Final[Mapping[str, int]] = {}
"""No customer has a billing day of its own."""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """One limit. `amount` is pico-dollars for 'usd', else a count of `unit`.

    `strict` and `reserve` say how a call's worth is held; `message` is for the end customer."""

    id: str
    per: str
    amount: int
    unit: str
    window: WindowKind = "month"
    time_zone: str = "UTC"
    subject: str | None = None
    where: dict[str, Tag] = {}
    action: Action = "block"
    model: str | None = None
    """What 'downgrade' turns the call to."""
    rate: int | None = None
    """Calls a minute that 'throttle' still lets through once the amount is used up."""
    warn_at: tuple[float, ...] = (0.8,)
    reserve: Reserve = "expected"
    strict: bool = False
    unpriced: Literal["refuse", "pass"] = "refuse"
    allow_unbounded: bool = False
    min_output: int = MIN_OUTPUT
    include_byok: bool = False
    """Whether usd counts calls with the caller's own provider credential, too."""
    anchor_day: int = 1
    """The day on which a 'billing' window begins for tenants that have none of their own."""
    message: str | None = None


class Account(NamedTuple):
    """What a limit counts for one subject in one window. A new window is another account."""

    limit: str
    subject: str
    start_us: int


class Applied(NamedTuple):
    """A limit that a call falls under, and whose account it counts in."""

    limit: Limit
    subject: str
    window: Window

    @property
    def account(self) -> Account:
        return Account(self.limit.id, self.subject, self.window.start_us)


def parse_amount(text: str) -> tuple[int, str]:
    """`5 usd`, `0.50 usd`, `2000 analyses`, `1_000_000 tokens` -> (pico-dollars or a count, unit). Raises
    InvalidLimit."""
    number, _, unit = text.strip().partition(" ")
    unit = unit.strip().lower()
    if not unit.replace("-", "_").isidentifier():
        raise InvalidLimit(f"{text!r} is no amount: give a number and its unit, such as '5 usd' or '2000 requests'")
    try:
        amount = parse_usd(number) if unit == "usd" else _count(number)
    except InvalidMoney as error:
        raise InvalidLimit(str(error)) from None
    if not 0 <= amount <= AMOUNT_MAX:
        raise InvalidLimit(f"{text!r} is out of range: an amount is not negative, and at most 9,000,000 usd or 9e18")
    return amount, unit


def _count(number: str) -> int:
    try:
        count = Decimal(number)
    except InvalidOperation:
        count = Decimal("NaN")
    if count.is_finite() and count.adjusted() > _DIGITS_MAX:
        return AMOUNT_MAX + 1  # out of range, whichever it is: a number of a billion digits is not worked out
    if not count.is_finite() or count != count.to_integral_value():
        raise InvalidLimit(f"{number!r} is no count: give a whole number")
    return int(count)


def format_amount(amount: int, unit: str) -> str:
    """The inverse of `parse_amount`: '5.000000000000 usd', '2000 requests'."""
    return f"{format_usd(amount) if unit == 'usd' else amount} {unit}"


def check(limit: Limit) -> Limit:
    """The limit itself, or InvalidLimit with what contradicts what and what to do."""
    if limit.per not in (*DIMENSIONS, "key", EVERYBODY) and not (limit.per.startswith("tag.") and limit.per[4:]):
        raise InvalidLimit(f"a limit is per {', '.join(DIMENSIONS)}, key, tag.NAME or all, not per {limit.per!r}")
    if limit.window not in KINDS:
        raise InvalidLimit(f"{limit.window!r} is no window: {', '.join(KINDS)}")
    zone(limit.time_zone)
    if limit.subject is not None and limit.per == EVERYBODY:
        raise InvalidLimit("a limit per all has no subject: it is one account for everybody")
    if (limit.action == "downgrade") != (limit.model is not None):
        raise InvalidLimit("a model belongs to the action downgrade, and the action downgrade needs one")
    if (limit.action == "throttle") != (limit.rate is not None):
        raise InvalidLimit("a rate (calls a minute) belongs to the action throttle, and the action throttle needs one")
    if limit.rate is not None and limit.rate < 1:
        raise InvalidLimit("a rate is at least one call a minute: to stop all of them the action is block")
    if not 1 <= limit.anchor_day <= 31:
        raise InvalidLimit(f"an anchor day is a day of the month, 1 to 31, not {limit.anchor_day}")
    if not 1 <= limit.min_output <= 1_000_000:
        raise InvalidLimit("min_output is a count of tokens, 1 to 1,000,000")
    if not limit.warn_at or not all(0 < share <= 1 for share in limit.warn_at):
        raise InvalidLimit("warn_at is a list of shares above 0 and up to 1, such as [0.5, 0.8]")
    if limit.strict and limit.action != "block":
        raise InvalidLimit("only a limit that blocks can be strict")
    if unknown := [name for name in limit.where if not _is_condition(name)]:
        known = ", ".join((*DIMENSIONS, *PLACES))
        raise InvalidLimit(f"where knows {known}, key and tag.NAME, not {unknown[0]!r}")
    return limit


def _is_condition(name: str) -> bool:
    return name in DIMENSIONS or name in PLACES or name == "key" or (name.startswith("tag.") and len(name) > 4)


class Who(NamedTuple):
    """Whom a call is for and where it goes, as far as limits look: dimensions (and `key` and PLACES), and tags."""

    dimensions: Mapping[str, str]
    tags: Mapping[str, Tag]

    def value(self, name: str) -> Tag | None:
        return self.tags.get(name[4:]) if name.startswith("tag.") else self.dimensions.get(name)

    def subject(self, per: str) -> str:
        """The subject whose account a limit per this dimension counts in."""
        if per == EVERYBODY:
            return EVERYBODY
        value = self.value(per)
        text = NOBODY if value is None else tag_text(value)
        tenant = self.dimensions.get("tenant") if per in WITHIN_TENANT else None
        return f"{tenant}/{text}" if tenant is not None else text


def tag_text(value: Tag) -> str:
    """A value as conditions compare it, and as subjects are named by it."""
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def window_of(limit: Limit, moment_us: int, tenant: str | None, anchor_days: Mapping[str, int]) -> Window:
    """The limit's window that holds this moment, for calls of that tenant: a billing month begins on the tenant's own
    day where it has one, else on the limit's."""
    day = limit.anchor_day
    if limit.window == "billing" and tenant is not None:
        day = anchor_days.get(tenant, day)
    return window_at(limit.window, moment_us, zone(limit.time_zone), day)


def by_anchor(limit: Limit, anchor_days: Mapping[str, int]) -> dict[int, Limit]:
    """The limit as it is for tenants of each billing day that there is."""
    days = {limit.anchor_day, *(anchor_days.values() if limit.window == "billing" else ())}
    return {day: limit if day == limit.anchor_day else replace(limit, anchor_day=day) for day in sorted(days)}


class LimitBook:
    """All limits in force, ready to be asked. Immutable; made anew when one changes.

    `anchor_days` are customers' own billing days, by tenant."""

    def __init__(self, limits: Iterable[Limit], anchor_days: Mapping[str, int] = NO_DAYS) -> None:
        self._anchor_days = anchor_days
        self._templates: list[Limit] = []
        self._overrides: dict[tuple[str, str, str], dict[str, list[Limit]]] = {}
        self._by_id: dict[str, Limit] = {}
        self.by_place = False
        """Whether any of them looks at where a call goes."""
        for limit in limits:
            self._by_id[limit.id] = limit
            self.by_place = self.by_place or any(name in PLACES for name in limit.where)
            if limit.subject is None:
                self._templates.append(limit)
            else:
                kind = limit.per, limit.unit, limit.window
                self._overrides.setdefault(kind, {}).setdefault(limit.subject, []).append(limit)

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, limit_id: str) -> Limit | None:
        return self._by_id.get(limit_id)

    def applied(self, who: Who, moment_us: int) -> list[Applied]:
        """The limits that a call of these falls under, each with its account; those that stop calls first."""
        found: list[Applied] = []
        replaced: set[tuple[str, str, str]] = set()
        for kind, overrides in self._overrides.items():
            subject = who.subject(kind[0])
            for limit in _overriding(overrides, who, kind[0], subject):
                replaced.add(kind)
                found.append(self._account(limit, subject, who, moment_us))
        for limit in self._templates:
            if not _meets(limit, who) or (limit.per, limit.unit, limit.window) in replaced:
                continue
            subject = who.subject(limit.per)
            found.append(self._account(limit, subject, who, moment_us))
        found.sort(key=lambda applied: (applied.limit.action not in STOPPING, applied.limit.id))
        return found

    def _account(self, limit: Limit, subject: str, who: Who, moment_us: int) -> Applied:
        window = window_of(limit, moment_us, who.dimensions.get("tenant"), self._anchor_days)
        return Applied(limit, subject, window)


def _overriding(overrides: Mapping[str, list[Limit]], who: Who, per: str, subject: str) -> list[Limit]:
    """Those for this very subject whose conditions it meets, else those for its bare name in every tenant."""
    own = [limit for limit in overrides.get(subject, ()) if _meets(limit, who)]
    value = who.value(per)
    bare = NOBODY if value is None else tag_text(value)
    return own or [limit for limit in overrides.get(bare, ()) if _meets(limit, who)]


def _meets(limit: Limit, who: Who) -> bool:
    for name, wanted in limit.where.items():
        value = who.value(name)
        if value is None or tag_text(value) != tag_text(wanted):
            return False
    return True


def place(limit: Limit) -> tuple[object, ...]:
    """What tells one limit from another: two of the same place would say two things of the same calls."""
    where = sorted((name, tag_text(value)) for name, value in limit.where.items())
    stops = limit.action in STOPPING
    return limit.per, limit.subject, where, limit.unit, limit.window, limit.time_zone, stops
