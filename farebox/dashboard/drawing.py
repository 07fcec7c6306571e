"""Pictures of rows as plain HTML and SVG, so that a page needs no script for them. `draw` is the one door.

Positions are in percent and the text is never scaled, so that a picture fits a phone as it does a screen.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from markupsafe import Markup

from farebox.dashboard.cells import decimal, inline, text_of
from farebox.reports.report import CellKind, Chart

HEIGHT: Final = 200
BASE: Final = 22
"""Pixels below the zero line, for the labels."""
TOP: Final = 8
SERIES_MAX: Final = 6
OTHER: Final = "other"
LABELS: Final = 6
BARS_MAX: Final = 12
_STEPS: Final = tuple(map(Decimal, ("1", "1.2", "1.6", "2", "2.4", "3", "4", "5", "6", "8", "10")))

Values = dict[Any, dict[str, Decimal]]
"""x -> series -> value."""


def draw(chart: Chart) -> Markup:
    """The picture with its title, its legend and, for those who do not see it, its figures."""
    if not chart.rows:
        return Markup("")
    inside = _bars(chart) if chart.kind == "bars" else _plot(chart)
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(chart.title, inside)


def series_of(chart: Chart) -> list[str]:
    """Names of what is drawn, largest first, at most six and the rest as one."""
    if chart.series is None:
        return [""]
    sums: dict[str, Decimal] = {}
    for row in chart.rows:
        name = _name(row.get(chart.series))
        sums[name] = sums.get(name, Decimal(0)) + (_value(row, chart) or 0)
    names = sorted(sums, key=lambda name: -sums[name])
    return names if len(names) <= SERIES_MAX else [*names[:SERIES_MAX], OTHER]


def values_of(chart: Chart, series: Sequence[str]) -> Values:
    found: Values = {}
    for row in chart.rows:
        name = _name(row.get(chart.series)) if chart.series else ""
        name = name if name in series else OTHER
        value = _value(row, chart)
        at = found.setdefault(row.get(chart.x), {})
        if value is not None:
            at[name] = at.get(name, Decimal(0)) + value
    return found


def ceiling(most: Decimal) -> Decimal:
    """The round number at the top of an axis."""
    if most <= 0:
        return Decimal(1)
    unit = Decimal(10) ** most.adjusted()
    return next(step * unit for step in _STEPS if step * unit >= most)


def _plot(chart: Chart) -> Markup:
    series = series_of(chart)
    values = values_of(chart, series)
    is_stacked = chart.kind in ("columns", "area", "waterfall")
    sums = [
        sum(at.values(), Decimal(0)) if is_stacked else max(at.values(), default=Decimal(0)) for at in values.values()
    ]
    top = ceiling(max(sums, default=Decimal(0)))
    marks = list(_columns(chart, values, series, top) if is_stacked else _lines(chart, values, series, top))
    axis = Markup("").join(_axis(top, chart.unit))
    labels = Markup("").join(_labels(list(values)))
    grid = Markup("").join(
        Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(_y(part, Decimal(1)))
        for part in (Decimal(0), Decimal("0.5"), Decimal(1))
    )
    return Markup(
        '{legend}<div class="plot"><svg class="axis" width="52" height="{h}" aria-hidden="true">{axis}</svg>'
        '<svg class="area" height="{h}" role="img" aria-label="{title}">{grid}{marks}{labels}</svg></div>{table}'
    ).format(
        legend=_legend(series, chart),
        h=HEIGHT + BASE,
        axis=axis,
        title=_summary(chart, values),
        grid=grid,
        marks=Markup("").join(marks),
        labels=labels,
        table=_figures(chart, values, series),
    )


def _columns(chart: Chart, values: Values, series: Sequence[str], top: Decimal) -> Iterator[Markup]:
    step = 100 / max(1, len(values))
    width = step * (0.72 if len(values) > 3 else 0.4)
    for place, (x, at) in enumerate(values.items()):
        is_partial = chart.partial_from is not None and str(x) >= chart.partial_from
        left, base = place * step + (step - width) / 2, Decimal(0)
        yield Markup('<g class="column{}"><title>{}</title>').format(
            Markup(" partial") if is_partial else "", _told(chart, x, at, series, is_partial=is_partial)
        )
        yield Markup('<rect class="hover" x="{:.3f}%" y="0" width="{:.3f}%" height="{}"/>').format(
            place * step, step, HEIGHT
        )
        for number, name in enumerate(series):
            value = at.get(name, Decimal(0))
            if value > 0:
                y, y_base = _y(base + value, top), _y(base, top)
                yield Markup('<rect class="{}" x="{:.3f}%" width="{:.3f}%" y="{:.2f}" height="{:.2f}"/>').format(
                    _class(number, name), left, width, y, max(0.75, y_base - y)
                )
                base += value
        yield Markup("</g>")


def _lines(chart: Chart, values: Values, series: Sequence[str], top: Decimal) -> Iterator[Markup]:
    places = list(values)
    step = 100 / max(1, len(places))
    for number, name in enumerate(series):
        points = [((n + 0.5) * step, _y(values[x][name], top)) for n, x in enumerate(places) if name in values[x]]
        for (x1, y1), (x2, y2) in pairwise(points):
            yield Markup('<line class="stroke {}" x1="{:.3f}%" y1="{:.2f}" x2="{:.3f}%" y2="{:.2f}"/>').format(
                _class(number, name), x1, y1, x2, y2
            )
        if len(points) == 1:
            yield Markup('<circle class="{}" cx="{:.3f}%" cy="{:.2f}" r="3"/>').format(_class(number, name), *points[0])
    for place, x in enumerate(places):
        yield Markup(
            '<g class="column"><title>{}</title><rect class="hover" x="{:.3f}%" y="0" width="{:.3f}%" height="{}"/></g>'
        ).format(_told(chart, x, values[x], series, is_partial=False), place * step, step, HEIGHT)


def _bars(chart: Chart) -> Markup:
    """Lying bars with their label before and their value behind."""
    rows = [(row.get(chart.x), _value(row, chart)) for row in chart.rows[:BARS_MAX]]
    most = max((abs(value) for _, value in rows if value is not None), default=Decimal(1)) or Decimal(1)
    lines = [_bar(_name(x), value, most, chart.unit) for x, value in rows]
    return Markup('<ul class="bars">{}</ul>').format(Markup("").join(lines))


def _bar(name: str, value: Decimal | None, most: Decimal, unit: CellKind) -> Markup:
    size = abs(value or Decimal(0)) * 100 / most
    return Markup(
        '<li><span class="label" title="{0}">{0}</span><svg height="14" aria-hidden="true">'
        '<rect class="{1}" height="14" width="{2:.2f}%" rx="2"/></svg><span class="value">{3}</span></li>'
    ).format(name, "lossbar" if (value or 0) < 0 else "s0", size, inline(value, unit))


def _axis(top: Decimal, unit: CellKind) -> Iterator[Markup]:
    for part in (Decimal(0), Decimal("0.5"), Decimal(1)):
        y = _y(part, Decimal(1)) + (0 if part == 0 else 4 if part < 1 else 6)
        yield Markup('<text x="46" y="{:.1f}" text-anchor="end">{}</text>').format(y, _short(top * part, unit))


def _labels(xs: Sequence[Any]) -> Iterator[Markup]:
    step, every = 100 / max(1, len(xs)), -(-len(xs) // LABELS)
    kind = _x_kind(xs[0])
    for place in range(0, len(xs), every):
        anchor = "start" if place == 0 and len(xs) > 3 else "middle"
        at = place * step if anchor == "start" else (place + 0.5) * step
        is_odd = place // every % 2 == 1
        yield Markup('<text{} x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
            Markup(' class="odd"') if is_odd else "", at, HEIGHT + BASE - 5, anchor, text_of(xs[place], kind)
        )


def _legend(series: Sequence[str], chart: Chart) -> Markup:
    if series == [""]:
        return Markup("")
    items = [
        Markup('<li><svg width="10" height="10" aria-hidden="true">{}</svg>{}</li>').format(
            Markup('<rect class="{}" width="10" height="10" rx="2"/>').format(_class(number, name)), name
        )
        for number, name in enumerate(series)
    ]
    if chart.partial_from is not None:
        items.append(Markup('<li class="second">lighter: not complete yet</li>'))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _figures(chart: Chart, values: Values, series: Sequence[str]) -> Markup:
    """The picture's rows as a table, closed unless asked for."""
    heads = Markup("").join(
        Markup('<th scope="col" class="number">{}</th>').format(n or chart.y_title or "Value") for n in series
    )
    lines = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            text_of(x, _x_kind(x)),
            Markup("").join(Markup('<td class="number">{}</td>').format(inline(at.get(n), chart.unit)) for n in series),
        )
        for x, at in values.items()
    )
    return Markup(
        '<details class="figures"><summary>Figures</summary><div class="scroll" tabindex="0" role="region" '
        'aria-label="Figures: {0}"><table><caption class="away">{0}</caption><thead><tr><th scope="col">{1}</th>'
        "{2}</tr></thead><tbody>{3}</tbody></table></div></details>"
    ).format(chart.title, chart.x.capitalize(), heads, lines)


def _told(chart: Chart, x: Any, at: Mapping[str, Decimal], series: Sequence[str], *, is_partial: bool) -> str:
    """What hovering says: the day with every value of it."""
    lines = [text_of(x, _x_kind(x)) + (" (not complete yet)" if is_partial else "")]
    lines += [f"{name or chart.y_title or 'value'}: {text_of(at[name], chart.unit)}" for name in series if name in at]
    if len(at) > 1 and chart.kind != "lines":
        lines.append(f"together: {text_of(sum(at.values(), Decimal(0)), chart.unit)}")
    lines += [str(mark.get("text")) for mark in chart.marks if mark.get("x") == x]
    return "\n".join(lines)


def _summary(chart: Chart, values: Values) -> str:
    sums = {x: sum(at.values(), Decimal(0)) for x, at in values.items()}
    most = max(sums, key=lambda x: sums[x])
    first, last = next(iter(sums)), list(sums)[-1]
    return (
        f"{chart.title}: {text_of(first, _x_kind(first))} to {text_of(last, _x_kind(last))}, "
        f"most on {text_of(most, _x_kind(most))} with {text_of(sums[most], chart.unit)}"
    )


def _x_kind(x: Any) -> CellKind:
    """'2026-11', '2026-11-21' and '2026-11-21T10:00:00Z' are times, anything else a name."""
    text = str(x)
    if not text[:4].isdecimal() or text[4:5] != "-":
        return "text"
    return "month" if len(text) == 7 else "day" if len(text) == 10 else "moment"


def _y(value: Decimal, top: Decimal) -> float:
    return float(TOP + (HEIGHT - TOP) * (1 - value / top))


def _short(value: Decimal, unit: CellKind) -> str:
    text = text_of(int(value) if unit == "count" else value, unit)
    return text.removesuffix(".00")


def _class(number: int, name: str) -> str:
    return "other" if name == OTHER and number >= SERIES_MAX else f"s{number % SERIES_MAX}"


def _name(value: Any) -> str:
    return "(none)" if value is None or value == "" else str(value)


def _value(row: Mapping[str, Any], chart: Chart) -> Decimal | None:
    value = row.get(chart.y)
    return None if value is None else decimal(value)
