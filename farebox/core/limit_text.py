"""A limit as people write and read it: amounts as text, dimensions by any of their names, and one sentence."""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import msgspec

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS
from farebox.core.limits import ACTIONS, EVERYBODY, PLACES, Limit, Reserve, check, parse_amount, tag_text
from farebox.core.money import format_usd
from farebox.core.windows import KINDS
from farebox.errors import InvalidLimit

FIELDS: Final = tuple(name for name in Limit.__struct_fields__ if name != "id")
FIXED: Final = ("per", "where", "subject", "unit", "window", "time_zone", "anchor_day")
"""What no change may touch: it would count anew, in other accounts. A new limit does."""
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "window": KINDS,
    "action": ACTIONS,
    "reserve": get_args(Reserve),
    "unpriced": ("refuse", "pass"),
}
SYNONYMS: Final = {
    **dict.fromkeys(("dollar", "dollars", "eur", "euro", "euros", "gbp", "cent", "cents"), "usd"),
    **dict.fromkeys(("token",), "tokens"),
    **dict.fromkeys(("request", "call", "calls"), "requests"),
}
"""Units that nothing is counted in, and the one that is meant: such a limit would never stop a call."""
_DEFAULTS: Final[dict[str, object]] = msgspec.to_builtins(Limit("", EVERYBODY, 0, "usd"))
_OWNED: Final = {"model": "downgrade", "rate": "throttle"}
"""Fields that go with one action, and leave with it."""


def read_limit(written: Mapping[str, Any]) -> Limit:  # Any: decoded JSON
    """A limit, without an id yet, from its written form: {"per": "user", "amount": "5 usd", …}. What is left out or
    null is the default. Raises InvalidLimit with what to write instead."""
    for name, example in (("per", "'user'"), ("amount", "'5 usd'")):
        if written.get(name) is None:
            raise InvalidLimit(f"a limit needs {name}, such as {example}")
    return _limit({"id": "", **_read(written)})


def changed_limit(limit: Limit, written: Mapping[str, Any]) -> Limit:  # Any: decoded JSON
    """The limit with the written fields changed; null stands for the default. Raises InvalidLimit for a field that
    belongs to what the limit is (FIXED), unless it is written as it is."""
    had: dict[str, object] = msgspec.to_builtins(limit)
    cleared = {name: _DEFAULTS[name] for name, value in written.items() if value is None and name in _DEFAULTS}
    if "amount" in cleared:
        raise InvalidLimit("a limit needs an amount, such as '5 usd'")
    given = {**cleared, **_read(written, limit.unit)}
    for name in FIXED:
        if name in given and given[name] != had[name]:
            raise InvalidLimit(
                f"{name} of a limit cannot be changed, since it would count in other accounts: make a new limit and "
                f"remove {limit.id}"
            )
    action = given.get("action", limit.action)
    left = {name: None for name, owner in _OWNED.items() if action != owner and name not in given}
    return _limit({**had, **left, **given})


def shown_limit(limit: Limit) -> dict[str, object]:
    """The written form, whole; `read_limit` reads it back but for the id."""
    return {
        "id": limit.id,
        "per": limit.per,
        "where": limit.where,
        "subject": limit.subject,
        "amount": amount_text(limit.amount, limit.unit),
        "unit": limit.unit,
        "window": limit.window,
        "time_zone": limit.time_zone,
        "action": limit.action,
        "model": limit.model,
        "rate": limit.rate,
        "warn_at": list(limit.warn_at),
        "reserve": limit.reserve,
        "strict": limit.strict,
        "unpriced": limit.unpriced,
        "allow_unbounded": limit.allow_unbounded,
        "min_output": limit.min_output,
        "include_byok": limit.include_byok,
        "anchor_day": limit.anchor_day,
        "message": limit.message,
    }


def amount_text(amount: int, unit: str) -> str:
    """The shortest text that `parse_amount` reads back: '5 usd', '0.50 usd', '0.0025 usd', '2000 requests'."""
    if unit != "usd":
        return f"{amount} {unit}"
    dollars, _, rest = format_usd(amount).partition(".")
    rest = rest.rstrip("0")
    return f"{dollars}.{rest:0<2} usd" if rest else f"{dollars} usd"


def figure_text(amount: int, unit: str) -> str:
    """The same to be read alone: '$5', '$0.50', '2,000 requests'."""
    if unit != "usd":
        return f"{amount:,} {unit}"
    dollars, _, rest = amount_text(amount, unit).removesuffix(" usd").partition(".")
    return f"${int(dollars):,}{'.' if rest else ''}{rest}"


def sentence(limit: Limit) -> str:
    """What the limit says, in a line, as it is written: 'each user where tier=free: 5 usd a month, then block'."""
    return f"{_of_whom(limit)}: {_how_much(limit, amount_text)}, {_what_then(limit)}"


def told(limit: Limit) -> str:
    """The same for a page: 'each user where tier=free: $5 a month, then block'."""
    return f"{_of_whom(limit)}: {_how_much(limit, figure_text)}, {_what_then(limit)}"


def told_briefly(limit: Limit) -> str:
    """'$5 a month, each user'."""
    return f"{_how_much(limit, figure_text)}, {_of_whom(limit)}"


def span_text(window: str) -> str:
    """How often a limit begins anew, behind its amount: 'a month', 'an hour', 'for ever'."""
    if window == "lifetime":
        return "for ever"
    return "a billing month" if window == "billing" else f"{'an' if window == 'hour' else 'a'} {window}"


def whom_text(per: str, subject: str | None = None) -> str:
    """'each user', 'user acme/u_7', 'all together'."""
    if per == EVERYBODY:
        return "all together"
    return f"each {per}" if subject is None else f"{per} {subject}"


def _of_whom(limit: Limit) -> str:
    where = ", ".join(f"{name}={value}" for name, value in limit.where.items())
    return f"{whom_text(limit.per, limit.subject)}{f' where {where}' if where else ''}"


def _how_much(limit: Limit, shown: Callable[[int, str], str]) -> str:
    amount = shown(limit.amount, limit.unit)
    if limit.window == "lifetime":
        return f"{amount} {span_text(limit.window)}"
    zoned = "" if limit.time_zone == "UTC" or limit.window in ("minute", "hour") else f" ({limit.time_zone})"
    if limit.window == "billing":
        return f"{amount} a month from day {limit.anchor_day} on{zoned}"
    return f"{amount} {span_text(limit.window)}{zoned}"


def _what_then(limit: Limit) -> str:
    if limit.action == "downgrade":
        return f"then downgrade to {limit.model}"
    if limit.action == "throttle":
        return f"then throttle to {limit.rate} calls a minute"
    if limit.action == "block":
        return "then block, strictly" if limit.strict else "then block"
    return "then only warn" if limit.action == "warn" else "then only note what would have been refused"


def _read(written: Mapping[str, Any], unit: str | None = None) -> dict[str, Any]:
    """The fields that say something, as `Limit` has them. `unit` is the one that the amount must be of."""
    if unknown := set(written) - set(FIELDS):
        raise InvalidLimit(f"a limit has no field {min(unknown)!r}: use {', '.join(FIELDS)}")
    given = {name: value for name, value in written.items() if value is not None}
    if "amount" in given:
        given["amount"], given["unit"] = _amount(given["amount"], given.get("unit"), unit)
    if "per" in given:
        given["per"] = _dimension(given["per"])
    if "where" in given:
        given["where"] = _where(given["where"])
    if isinstance(given.get("warn_at"), int | float):
        given["warn_at"] = [given["warn_at"]]
    return given


def _amount(value: Any, unit: Any, unit_had: str | None) -> tuple[int, str]:
    if isinstance(value, Mapping):
        value, unit = value.get("amount"), value.get("unit", unit)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidLimit("write an amount as text with its unit, such as '5 usd' or '2000 requests'")
    unit = unit.strip().lower() if isinstance(unit, str) else unit
    expected = unit if unit is not None else unit_had
    text = value.strip()
    amount, found = parse_amount(text if " " in text or expected is None else f"{text} {expected}")
    if unit is not None and found != unit:
        raise InvalidLimit(f"the amount {text!r} is not in the unit {unit!r}: give the unit once")
    if unit_had is not None and found != unit_had:
        raise InvalidLimit(f"this limit counts {unit_had}, not {found}: make a new limit for another unit")
    if found in SYNONYMS:
        raise InvalidLimit(f"nothing is counted in {found}: write {SYNONYMS[found]}")
    return amount, found


def _where(conditions: object) -> dict[str, object]:
    if not isinstance(conditions, Mapping):
        raise InvalidLimit('where is a mapping of dimensions to values, such as {"tier": "free"}')
    found: dict[str, object] = {}
    for name, value in conditions.items():
        known = str(_dimension(name))
        if known in found:
            raise InvalidLimit(f"where has {known} twice")
        is_text = known in DIMENSIONS or known in PLACES
        found[known] = tag_text(value) if is_text and isinstance(value, int | float) else value
    return found


def _dimension(name: object) -> object:
    return NAMES.get(name, name) if isinstance(name, str) else name


def _limit(fields: Mapping[str, object]) -> Limit:
    for name, choices in CHOICES.items():
        if name in fields and fields[name] not in choices:
            raise InvalidLimit(f"{name} {fields[name]!r} is unknown: give {', '.join(choices)}")
    try:
        return check(msgspec.convert(fields, Limit))
    except msgspec.ValidationError as error:
        raise InvalidLimit(f"this is no limit: {error}") from None


def shown_amount(amount: int, unit: str) -> str | int:
    """Money as text with at least two decimals, counts as they are."""
    if unit != "usd":
        return amount
    text = format_usd(amount).rstrip("0")
    places = len(text) - text.index(".") - 1
    return text + "0" * max(0, 2 - places)
