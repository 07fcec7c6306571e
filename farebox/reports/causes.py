"""Why a day was unlike the days before it: asked of the ledger, told in words."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from farebox.core.figures import money
from farebox.core.money import to_decimal
from farebox.core.windows import Window, window_at
from farebox.reports import changes
from farebox.reports.changes import Cell, Effects
from farebox.reports.report import Asked, Facts
from farebox.reports.sums import percent, pico, question
from farebox.reports.words import listed, named

NOUNS: Final = {"tenant": "customer", "feature": "feature", "model": "model"}
"""What is looked at for the cause, beside the subject itself."""
_MEASURES: Final = ("spend", "calls", "tokens")
_HOW: Final = {
    "volume": ("more calls", "fewer calls"),
    "mix": ("a dearer mix of features and models", "a cheaper mix of features and models"),
    "size": ("larger calls", "smaller calls"),
    "price": ("dearer tokens", "cheaper tokens"),
}


class Cause(NamedTuple):
    delta: int
    """Against the average of the days before."""
    effects: Effects
    drivers: tuple[tuple[str, str, int], ...]
    """(dimension, value, its part of the difference), the largest first."""


def day_window(day: str, time_zone: str) -> Window:
    """A local day, by its label."""
    noon = date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()
    return window_at("day", noon * 86_400_000_000 + 43_200_000_000, ZoneInfo(time_zone))


def cause(asked: Asked, facts: Facts, where: Mapping[str, tuple[str, ...]], days: list[str]) -> Cause:
    """Of the last of `days`, against all the others together. `where` is the subject."""
    first, last = day_window(days[0], asked.time_zone), day_window(days[-1], asked.time_zone)
    until_us = min(last.end_us or asked.until_us, asked.until_us)
    groups = tuple(name for name in ("tenant", "feature", "provider", "model") if name not in where)
    before = facts.usage(
        question(asked, groups, _MEASURES, since_us=max(0, first.start_us), until_us=last.start_us, where=where)
    )
    after = facts.usage(question(asked, groups, _MEASURES, since_us=last.start_us, until_us=until_us, where=where))
    number = len(days) - 1
    made = changes.effects(_cells(before), _cells(after), number)
    drivers = []
    for name in NOUNS:
        if name in groups:
            moved = changes.driver(_by(name, before), _by(name, after), number)
            if moved is not None:
                drivers.append((name, *moved))
    return Cause(sum(made), made, tuple(sorted(drivers, key=lambda found: -abs(found[2]))))


def told(found: Cause) -> str:
    """'mostly more calls (78 %); most in feature summarize (+$41.20)'."""
    name = found.effects.largest
    size = getattr(found.effects, name)
    more, fewer = _HOW[name]
    share = percent(abs(size), abs(found.delta)) if found.delta else None
    sure = f" ({share:.0f} %)" if share is not None and share <= Decimal(100) else ""
    parts = [f"mostly {more if size >= 0 else fewer}{sure}"]
    most = [f"{NOUNS[kind]} {named(value)} ({signed(part)})" for kind, value, part in found.drivers[:2]]
    parts += [f"most in {listed(most)}"] if most else []
    return "; ".join(parts)


def signed(amount: int) -> str:
    """'+$41.20', '−$3.10'."""
    return f"{'+' if amount >= 0 else ''}{money(to_decimal(amount))}"


def _cells(rows: list[dict[str, Any]]) -> dict[object, Cell]:
    """By feature and model, whoever called."""
    found: dict[object, Cell] = {}
    for row in rows:
        key = row.get("feature"), row.get("provider"), row.get("model")
        had = found.get(key, Cell())
        found[key] = Cell(had.spend + pico(row["spend"]), had.calls + row["calls"], had.tokens + row["tokens"])
    return found


def _by(name: str, rows: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        value = "" if row[name] is None else row[name]
        found[value] = found.get(value, 0) + pico(row["spend"])
    return found
