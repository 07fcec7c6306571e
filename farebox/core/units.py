"""Units by rule: which calls count as how many of a unit, and which of them only once.

A unit that counts once for a value ('analyses' once a task) is written into a record with the dimension behind its
name, `analyses#task`. Any number of workers may write the same one: whoever takes the records in (see the ledger's
`units`) counts the first that is done, and keeps the others as `analyses#again`. Pure.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

import msgspec

from farebox.core.attribution import NAMES, TAGS_MAX, Attribution
from farebox.core.events import DIMENSIONS, UNIT_MARK
from farebox.core.limit_text import SYNONYMS
from farebox.core.limits import tag_text
from farebox.errors import SettingsError

AGAIN: Final = f"{UNIT_MARK}again"
"""Behind the name of a unit that was counted before for the same value."""
COUNT_MAX: Final = 1_000_000
_RESERVED: Final = frozenset({"usd", "tokens", "requests", *SYNONYMS})


class UnitRule(msgspec.Struct, frozen=True):
    """A call that has all of `where` counts as `count` of `unit`: each time, or once for each value of `once_per`."""

    unit: str
    where: tuple[tuple[str, str], ...]
    once_per: str = ""
    count: int = 1

    def meets(self, who: Attribution) -> bool:
        return all(value_of(who, name) == wanted for name, wanted in self.where)


class Once(NamedTuple):
    """What a unit is counted once for. Values belong to their tenant: a task of one is not that of another."""

    unit: str
    per: str
    tenant: str
    value: str


def value_of(who: Attribution, name: str) -> str | None:
    """A dimension, or the tag `tag.NAME`, as text."""
    if not name.startswith("tag."):
        found: str | None = getattr(who, name)
        return found
    tag = (who.tags or {}).get(name[4:])
    return None if tag is None else tag_text(tag)


def once_of(rule: UnitRule, who: Attribution) -> Once | None:
    """None where a call counts each time: by the rule, or since it lacks the dimension."""
    value = value_of(who, rule.once_per) if rule.once_per else None
    return None if value is None else Once(rule.unit, rule.once_per, who.tenant or "", value)


def written(counts: Mapping[str, int], once: Mapping[str, Once]) -> dict[str, int]:
    """Counts by unit as a record has them."""
    return {f"{unit}{UNIT_MARK}{once[unit].per}" if unit in once else unit: count for unit, count in counts.items()}


def read_rule(unit: str, where: Mapping[str, str], once_per: str, count: int) -> UnitRule:
    """A rule from its written form. Raises SettingsError with what to write instead."""
    if not unit.isidentifier() or not unit.isascii() or unit != unit.lower() or len(unit) > 64:
        raise SettingsError(f"units.{unit}: a unit's name is made of a-z, 0-9 and '_', such as analyses")
    if unit in _RESERVED:
        raise SettingsError(f"units.{unit}: {unit} is counted by itself: take a name of your own, such as analyses")
    if not where:
        raise SettingsError(f'units.{unit}.where: say which calls count, such as {{feature = "analyze"}}')
    conditions = tuple(sorted((_dimension(f"units.{unit}.where", name), value) for name, value in where.items()))
    if len({name for name, _ in conditions}) < len(conditions):
        raise SettingsError(f"units.{unit}.where names a dimension twice")
    per = _dimension(f"units.{unit}.once_per", once_per) if once_per else ""
    return UnitRule(unit, conditions, per, count)


def read_rules(rules: Mapping[str, tuple[Mapping[str, str], str, int]]) -> tuple[UnitRule, ...]:
    """All rules, by unit: (where, once_per, count). Raises SettingsError."""
    if len(rules) > TAGS_MAX:
        raise SettingsError(f"{len(rules)} units have a rule; at most {TAGS_MAX} can")
    return tuple(read_rule(unit, *rule) for unit, rule in sorted(rules.items()))


def _dimension(setting: str, written_name: str) -> str:
    name = NAMES.get(written_name, written_name)
    if name in DIMENSIONS or (name.startswith("tag.") and len(name) > 4):
        return name
    near = get_close_matches(name, (*DIMENSIONS, f"tag.{name}"), n=1, cutoff=0.5)
    hint = near[0] if near else f"tag.{name}"
    raise SettingsError(f"{setting}: there is no dimension {written_name!r}; did you mean {hint!r}?")
