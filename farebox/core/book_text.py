"""Plans, customers and revenue as people write and read them. Amounts are text in dollars, days '2026-11-21', months
'2026-11'; every error says what to write instead."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

import msgspec

from farebox.core.attribution import VALUE_CHARS_MAX
from farebox.core.customers import Period, Plan
from farebox.core.limit_text import shown_amount
from farebox.core.money import parse_usd
from farebox.core.months import month_days
from farebox.errors import InvalidBooks, InvalidMoney

NAME_CHARS_MAX: Final = 200
ATTRIBUTES_MAX: Final = 64
UNITS_MAX: Final = 32
USD_MAX: Final = 10**9
"""Dollars of one amount; a larger one is a mistake."""
_AMOUNTS: Final = ("price", "other_cogs", "expected_ai_cost")
_PERIODS: Final = {"monthly": "month", "yearly": "year", "annual": "year", "annually": "year"}
_EMAIL: Final = re.compile(r"[^@\s,;:<>\"?&#/\\]+@[^@\s,;:<>\"?&#/\\]+\.[^@\s,;:<>\"?&#/\\.]+")
_SEPARATED: Final = re.compile(r"[+-]?[0-9]+([,'’_ \u00a0\u202f][0-9]+)+([.,][0-9]+)?|[+-]?[0-9]+(\.[0-9]{3})*,[0-9]+")
_MONTH: Final = re.compile(r"[12][0-9]{3}-(0[1-9]|1[0-2])")
_UNIT: Final = re.compile(r"[a-z_][a-z0-9_-]{0,63}")
SYNONYMS: Final = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "campaign",
    "anchor_day": "billing_anchor",
}
CUSTOMER_FIELDS: Final = (
    "name", "owner_email", "started_on", "billing_anchor", "source", "medium", "campaign", "attributes",
)  # fmt: skip


class CustomerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a customer beside its plans and its revenue."""

    tenant: str
    name: str = ""
    owner_email: str = ""
    started_on: date | None = None
    billing_anchor: int | None = None
    """None: limits' own anchor day holds."""
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    attributes: dict[str, str] = {}


# plans


def read_plan(name: str, written: Mapping[str, Any]) -> Plan:  # Any: decoded JSON, or words of a command line
    """A plan from its written form; what is left out or null is the default. Raises InvalidBooks."""
    checked_name(name, "a plan")
    known = [field for field in Plan.__struct_fields__ if field != "name"]
    if unknown := set(written) - set(known):
        raise InvalidBooks(f"a plan has no field {min(unknown)!r}: use {', '.join(known)}")
    given = {field: value for field, value in written.items() if value is not None}
    for field in _AMOUNTS:
        if field in given:
            given[field] = _not_negative(amount(given[field], field), field)
    if "period" in given:
        given["period"] = _PERIODS.get(given["period"], given["period"])
        if given["period"] not in get_args(Period):
            raise InvalidBooks(f"period is {given['period']!r}: give {' or '.join(get_args(Period))}")
    if "seats" in given and not (_is_count(given["seats"]) and given["seats"] >= 1):
        raise InvalidBooks("seats is a whole number, at least 1")
    if "included" in given:
        given["included"] = {unit: _included(unit, count) for unit, count in _units(given["included"]).items()}
    if "overage_price" in given:
        prices = _units(given["overage_price"]).items()
        given["overage_price"] = {
            unit: _not_negative(amount(price, f"overage_price of {unit}"), unit) for unit, price in prices
        }
    return msgspec.convert({"name": name, **given}, Plan)


def shown_plan(plan: Plan) -> dict[str, object]:
    """The written form, whole; `read_plan` reads it back."""
    expected = plan.expected_ai_cost
    return {
        "name": plan.name,
        "price": shown_amount(plan.price, "usd"),
        "period": plan.period,
        "seats": plan.seats,
        "included": {unit: shown_amount(count, unit) for unit, count in plan.included.items()},
        "overage_price": {unit: shown_amount(price, "usd") for unit, price in plan.overage_price.items()},
        "other_cogs": shown_amount(plan.other_cogs, "usd"),
        "expected_ai_cost": None if expected is None else shown_amount(expected, "usd"),
    }


def _units(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or len(value) > UNITS_MAX:
        raise InvalidBooks(f'give units as a mapping of at most {UNITS_MAX}, such as {{"analyses": 100}}')
    for unit in value:
        if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
            raise InvalidBooks(f"{unit!r} is no unit: write it as analyses")
    return value


def _included(unit: str, count: object) -> int:
    """A count; of usd pico-dollars."""
    if unit == "usd":
        return _not_negative(amount(count, "included usd"), unit)
    if not _is_count(count):
        raise InvalidBooks(f"included {unit} is a whole number, not {count!r}")
    assert isinstance(count, int)
    return count


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


# customers


def changed_customer(spec: CustomerSpec, written: Mapping[str, Any]) -> CustomerSpec:  # Any: decoded JSON
    """The customer with the written fields changed: what is left out stays, null is the default; of attributes those
    given are changed, and '' or null takes one back. Raises InvalidBooks."""
    given = {SYNONYMS.get(field, field): value for field, value in written.items()}
    if unknown := set(given) - set(CUSTOMER_FIELDS):
        fields = ("tenant", *CUSTOMER_FIELDS, "plan", "plan_from")
        raise InvalidBooks(f"a customer has no field {min(unknown)!r}: use {', '.join(fields)}, or an attribute")
    changed: dict[str, Any] = {}
    for field in ("name", "source", "medium", "campaign"):
        if field in given:
            text = _text(given[field], field)
            changed[field] = text if field == "name" else text or None
    if "owner_email" in given:
        changed["owner_email"] = _email(given["owner_email"])
    if "started_on" in given:
        changed["started_on"] = None if given["started_on"] in (None, "") else day(given["started_on"], "started_on")
    if "billing_anchor" in given:
        changed["billing_anchor"] = _anchor(given["billing_anchor"])
    if "attributes" in given:
        changed["attributes"] = _attributes(spec.attributes, given["attributes"])
    return msgspec.structs.replace(spec, **changed)


def checked_name(name: object, what: str) -> str:
    """The name of a plan or a tenant: what calls can name as well. Raises InvalidBooks."""
    ok = isinstance(name, str) and 1 <= len(name) <= VALUE_CHARS_MAX and name.isprintable() and name == name.strip()
    if not ok:
        raise InvalidBooks(f"{what} is named by 1 to {VALUE_CHARS_MAX} printable characters, not {str(name)[:80]!r}")
    return str(name)


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > NAME_CHARS_MAX or not value.isprintable():
        raise InvalidBooks(f"{what} has at most {NAME_CHARS_MAX} printable characters, not {str(value)[:80]!r}")
    return value.strip()


def _email(value: object) -> str:
    text = _text(value, "owner_email")
    if text and not _EMAIL.fullmatch(text):
        raise InvalidBooks(f"owner_email {text[:80]!r} is no e-mail address: write it as ann@acme.com")
    return text


def _anchor(value: object) -> int | None:
    if value is None or value == "":
        return None
    is_number = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 4
    number = int(str(value)) if is_number else value
    if not _is_count(number) or not 1 <= int(str(number)) <= 31:
        raise InvalidBooks(f"billing_anchor is a day of the month, 1 to 31, not {str(value)[:80]!r}")
    return int(str(number))


def _attributes(had: Mapping[str, str], given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidBooks('attributes is a mapping of names to texts, such as {"region": "eu"}')
    found = dict(had)
    for name, value in given.items():
        checked_name(name, "an attribute")
        text = _text(value, f"attribute {name}")
        found.pop(name, None)
        if text:
            found[name] = text
    if len(found) > ATTRIBUTES_MAX:
        raise InvalidBooks(f"a customer has at most {ATTRIBUTES_MAX} attributes")
    return found


# amounts, days, months


def amount(value: object, what: str) -> int:
    """Pico-dollars of '29', '29.00' or '29 usd', or of a whole number. Raises InvalidBooks: thousands separators and
    other currencies are refused, never guessed at."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidBooks(f"{what} is a text in dollars such as '29.50', not {str(value)[:80]!r}")
    text = value.strip()
    number = text[:-3].rstrip() if text[-3:].lower() == "usd" else text.removeprefix("$")
    if _SEPARATED.fullmatch(number):
        raise InvalidBooks(f"{what} is {text[:80]!r}: write it without thousands separators and with a point, 1234.50")
    try:
        if not number.isascii() or abs(Decimal(number)) > USD_MAX:
            raise InvalidOperation
        return parse_usd(number)
    except (InvalidOperation, InvalidMoney):
        raise InvalidBooks(f"{what} is {text[:80]!r}: write dollars such as 29.50") from None


def _not_negative(pico: int, what: str) -> int:
    if pico < 0:
        raise InvalidBooks(f"{what} is not below zero")
    return pico


def day(value: object, what: str) -> date:
    """A day as 2026-11-21. Raises InvalidBooks."""
    if isinstance(value, date):
        return value
    try:
        if not isinstance(value, str) or len(value.strip()) != 10:
            raise ValueError
        found = date.fromisoformat(value.strip())
    except ValueError:
        found = date.min
    if not 1970 <= found.year <= 2999:
        raise InvalidBooks(f"{what} is {str(value)[:80]!r}: write a day as 2026-11-21")
    return found


def month(value: object) -> str:
    """A month as 2026-11; a day of it will do. Raises InvalidBooks."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) == 10:
        text = f"{day(text, 'month'):%Y-%m}"
    if not _MONTH.fullmatch(text):
        raise InvalidBooks(f"month is {str(value)[:80]!r}: write it as 2026-11")
    month_days(text)
    return text
