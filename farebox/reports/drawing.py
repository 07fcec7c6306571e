"""From a chart's rows to what is drawn: series folded, stacked and named, labels set apart, tooltips written out. Pure.

Text comes from callers of the API and may be anything: here it becomes short and plain, and from here on it is only
ever data, never part of an expression or of markup.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from farebox.reports.cells import day_text, label, shown
from farebox.reports.palette import OTHER, SERIES
from farebox.reports.report import Chart

HEIGHT: Final = 240
BAR_HEIGHT: Final = 28
BARS_MAX: Final = 25
STRIP_MAX: Final = 2000
XS_MAX: Final = 750
DAYS_MAX: Final = 4000
LABEL_GAP_PX: Final = 15
SERIES_LABEL_MAX: Final = 22


class Point(NamedTuple):
    x: str
    name: str
    low: float | None
    """Where it begins; for a line, and where nothing is known, the value stands in `high` alone."""
    high: float | None
    value: Decimal | None
    is_partial: bool
    is_projected: bool


class Label(NamedTuple):
    name: str
    x: str
    y: float


class Spike(NamedTuple):
    x: str
    y: float
    text: str


class Drawing(NamedTuple):
    chart: Chart
    xs: list[str]
    """As written on the axis, each once, in order."""
    names: list[str]
    """Series in the order of their colours; one empty name where there are none."""
    points: list[Point]
    tips: dict[str, str]
    """By x: lines of 'name<tab>value' under a heading."""
    labels: list[Label]
    spikes: list[Spike]
    low: float
    high: float
    left_off: int
    """Rows that are not drawn."""

    @property
    def height(self) -> int:
        if self.chart.kind in ("bars", "strip"):
            return max(2, len(self.xs)) * BAR_HEIGHT
        return HEIGHT

    @property
    def colours(self) -> list[str]:
        folded = len(self.names) > len(SERIES)
        return [*SERIES[: len(self.names)], *([OTHER] if folded else [])]


def drawing(chart: Chart) -> Drawing:
    """What a chart draws. Rows beyond the bound are left off, the last ones of a ranking, the first ones of a time."""
    rows, left_off = _bounded(chart)
    keys, xs = _axis(chart, rows)
    series, names = _series(chart, rows)
    values = _values(chart, rows, series)
    points = _waterfall(rows, xs, chart) if chart.kind == "waterfall" else _points(chart, values, keys, xs, names)
    spikes = _spikes(chart, dict(zip(keys, xs, strict=True)))
    low, high = _domain(points, spikes)
    labels = _labels(chart, points, names, low, high)
    tips = _tips(chart, points, keys, xs, spikes)
    return Drawing(chart, xs, names, points, tips, labels, spikes, low, high, left_off)


def _bounded(chart: Chart) -> tuple[list[dict[str, Any]], int]:
    most = {"bars": BARS_MAX, "strip": STRIP_MAX}.get(chart.kind)
    if most is None:
        keys = _in_order({_key(row.get(chart.x)) for row in chart.rows}, chart)
        kept = set(keys[-XS_MAX:])
        rows = [row for row in chart.rows if _key(row.get(chart.x)) in kept]
    elif chart.kind == "bars":
        kept = set(list(dict.fromkeys(_key(row.get(chart.x)) for row in chart.rows))[:most])
        rows = [row for row in chart.rows if _key(row.get(chart.x)) in kept]
    else:
        rows = chart.rows[:most]
    return rows, len(chart.rows) - len(rows)


def _key(value: object) -> str:
    """What stands on the x axis, as text; what has no name is ''."""
    return "" if value is None else str(value)


def _in_order(keys: Iterable[str], chart: Chart) -> list[str]:
    """Times by time, all else as the rows have it."""
    found = set(keys)
    ordered = [key for key in dict.fromkeys(_key(row.get(chart.x)) for row in chart.rows) if key in found]
    if not ordered or any(day_text(key) == key for key in ordered):
        return ordered
    return _without_gaps(sorted(ordered)) if chart.kind in ("columns", "lines", "area") else sorted(ordered)


def _without_gaps(keys: list[str]) -> list[str]:
    """Every day (or month) from the first to the last: one without calls has its place, too."""
    try:
        first, last = (date.fromisoformat(f"{key}-01" if len(key) == 7 else key) for key in (keys[0], keys[-1]))
    except ValueError:
        return keys  # moments
    days = [(first + timedelta(days=offset)).isoformat() for offset in range(min((last - first).days, DAYS_MAX) + 1)]
    if len({len(key) for key in keys}) > 1 or days[-1] < keys[-1]:
        return keys
    return days if len(keys[0]) == 10 else list(dict.fromkeys(day[:7] for day in days))


def _axis(chart: Chart, rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    keys = _in_order((_key(row.get(chart.x)) for row in rows), chart)
    short = [day_text(key, with_year=False) for key in keys]
    if len(set(short)) < len(short):  # the same day of two years
        short = [day_text(key) for key in keys]
    return keys, unique(label(text) for text in short)


def unique(names: Iterable[str]) -> list[str]:
    """The same names, those that stand there already with a number: ['a', 'a'] -> ['a', 'a (2)']."""
    seen: set[str] = set()
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in seen:
            number += 1
            candidate = f"{name} ({number})"
        seen.add(candidate)
        found.append(candidate)
    return found


def _series(chart: Chart, rows: Sequence[dict[str, Any]]) -> tuple[dict[Any, str], list[str]]:
    """(each series' name as drawn, those names in order): the largest first, from the seventh on 'other'."""
    if chart.series is None or chart.kind == "waterfall":
        return {}, [""]
    totals: dict[Any, Decimal] = {}
    for row in rows:
        totals[row.get(chart.series)] = totals.get(row.get(chart.series), Decimal(0)) + abs(
            _number(row, chart) or Decimal(0)
        )
    order = sorted(totals, key=lambda name: (-totals[name], str(name)))
    kept, rest = order[: len(SERIES)], order[len(SERIES) :]
    names = unique([*(label(name, SERIES_LABEL_MAX) for name in kept), *([f"other ({len(rest)})"] if rest else [])])
    drawn = dict(zip(kept, names, strict=False))
    return {**drawn, **{name: names[-1] for name in rest}}, names or [""]  # noqa: C420 - there may be no names


def _number(row: dict[str, Any], chart: Chart) -> Decimal | None:
    value = row.get(chart.y)
    return None if value is None else Decimal(str(value))


class _Value(NamedTuple):
    amount: Decimal | None
    is_projected: bool


def _values(
    chart: Chart, rows: Sequence[dict[str, Any]], series: dict[Any, str]
) -> dict[tuple[str, str, bool], _Value]:
    found: dict[tuple[str, str, bool], _Value] = {}
    for number, row in enumerate(rows):
        name = series[row.get(chart.series)] if chart.series and series else ""
        key = _key(row.get(chart.x)) if chart.kind != "strip" else f"{number}\0{_key(row.get(chart.x))}"
        projected = bool(row.get("projected"))
        amount, before = _number(row, chart), found.get((key, name, projected))
        if before is not None and before.amount is not None:
            amount = before.amount if amount is None else before.amount + amount
        found[key, name, projected] = _Value(amount, projected)
    return found


def _points(
    chart: Chart, values: dict[tuple[str, str, bool], _Value], keys: list[str], xs: list[str], names: list[str]
) -> list[Point]:
    """Stacked where the kind stacks: upwards from zero what is above it, downwards what is below. What is projected
    stands on what is there."""
    written = dict(zip(keys, xs, strict=True))
    if chart.kind == "strip":
        return [
            Point(written[key.partition("\0")[2]], name, None, _drawn(value.amount), value.amount, False, False)
            for (key, name, _), value in values.items()
        ]
    points: list[Point] = []
    for key in keys:
        tops = {True: Decimal(0), False: Decimal(0)}
        partial = chart.partial_from is not None and key >= chart.partial_from
        for projected in (False, True):
            for name in names:
                value = values.get((key, name, projected))
                if value is None:
                    continue
                amount, low = value.amount, None
                if amount is not None and chart.kind != "lines":
                    low = tops[amount >= 0]
                    tops[amount >= 0] = low + amount
                high = amount if low is None or amount is None else low + amount
                points.append(Point(written[key], name, _drawn(low), _drawn(high), amount, partial, projected))
    return points


def _waterfall(rows: Sequence[dict[str, Any]], xs: list[str], chart: Chart) -> list[Point]:
    """Each row a step from where the last one ended; a row with `total` stands on zero."""
    at, points = Decimal(0), []
    for row, x in zip(rows, xs, strict=False):
        amount = _number(row, chart)
        start = Decimal(0) if row.get("total") else at
        at = start + (amount or 0)
        points.append(Point(x, "", _drawn(start), _drawn(None if amount is None else at), amount, False, False))
    return points


def _drawn(amount: Decimal | None) -> float | None:
    """For the picture alone: figures are written from the Decimal."""
    return None if amount is None else float(amount)


def _domain(points: Sequence[Point], spikes: Sequence[Spike]) -> tuple[float, float]:
    """Always with zero."""
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    high = max(high, *(spike.y for spike in spikes), 0.0) if spikes else max(high, 0.0)
    return (min(low, 0.0), high) if high > low or high > 0 or low < 0 else (0.0, 1.0)


def _spikes(chart: Chart, written: dict[str, str]) -> list[Spike]:
    return [
        Spike(written[str(mark["x"])], float(Decimal(str(mark.get("y") or 0))), label(mark.get("text", ""), 200))
        for mark in chart.marks
        if str(mark.get("x")) in written
    ]


def _labels(chart: Chart, points: Sequence[Point], names: Sequence[str], low: float, high: float) -> list[Label]:
    """A name beside the last value of each series, moved apart so that none covers another."""
    if chart.kind not in ("lines", "area", "columns") or names == [""]:
        return []
    last: dict[str, Point] = {}
    for point in points:
        if point.high is not None and (not point.is_projected or chart.kind == "lines"):
            last[point.name] = point
    end = points[-1].x if points else ""
    wanted = sorted(((_middle(point), name) for name, point in last.items()), key=lambda pair: (pair[0], pair[1]))
    gap, at, found = LABEL_GAP_PX * (high - low) / HEIGHT, low - high, []
    for y, name in wanted:
        at = max(y, at + gap)
        found.append(Label(name, end, at))
    # what was pushed over the top comes down again
    ceiling = high
    for index in range(len(found) - 1, -1, -1):
        y = min(found[index].y, ceiling)
        found[index] = found[index]._replace(y=y)
        ceiling = y - gap
    return found


def _middle(point: Point) -> float:
    high = point.high or 0.0
    return high if point.low is None else (point.low + high) / 2


def _tips(
    chart: Chart, points: Sequence[Point], keys: Sequence[str], xs: Sequence[str], spikes: Sequence[Spike]
) -> dict[str, str]:
    if chart.kind == "strip":
        return {}
    told: dict[str, list[Point]] = {x: [] for x in xs}
    for point in points:
        told[point.x].append(point)
    changed = {spike.x: spike.text for spike in spikes}
    return {x: _tip(chart, label(day_text(key)), told[x], changed.get(x)) for key, x in zip(keys, xs, strict=True)}


def _tip(chart: Chart, heading: str, points: Sequence[Point], changed: str | None) -> str:
    lines = [heading if not any(point.is_partial for point in points) else f"{heading}, so far"]
    for point in reversed(points):
        name = point.name or chart.y_title or "value"
        lines.append(f"{name}{', projected' if point.is_projected else ''}\t{shown(chart.unit, point.value)}")
    known = [point.value for point in points if point.value is not None and not point.is_projected]
    if len(known) > 1 and chart.kind != "lines":
        lines.append(f"total\t{shown(chart.unit, sum(known, Decimal(0)))}")
    return "\n".join([*lines, *([changed] if changed else [])])
