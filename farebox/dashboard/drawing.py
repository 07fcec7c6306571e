"""Pictures of rows: the reports' chart for browsers, and its figures as a table, which is all there is without a
script. `draw` is the one door."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from markupsafe import Markup

from farebox.dashboard.cells import decimal, inline, text_of
from farebox.reports import charts
from farebox.reports.report import CellKind, Chart

SERIES_MAX: Final = 6
OTHER: Final = "other"
ROWS_MAX: Final = 400

Values = dict[Any, dict[str, Decimal]]
"""x -> series -> value."""


def draw(chart: Chart) -> Markup:
    """The picture with its title, a sentence for those who do not see it, and its figures; nothing of no rows."""
    if not chart.rows:
        return Markup("")
    return Markup(charts.fragment(chart, _figures(chart)))  # noqa: S704 (made of escaped parts there)


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


def _figures(chart: Chart) -> Markup:
    """The picture's rows as a table, closed where there is a picture unless asked for."""
    series = series_of(chart)
    heads = Markup("").join(
        Markup('<th scope="col" class="number">{}</th>').format(n or chart.y_title or "Value") for n in series
    )
    lines = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            text_of(x, _x_kind(x)),
            Markup("").join(Markup('<td class="number">{}</td>').format(inline(at.get(n), chart.unit)) for n in series),
        )
        for x, at in list(values_of(chart, series).items())[-ROWS_MAX:]
    )
    return Markup(
        '<details class="figures"><summary>Figures</summary><div class="scroll" tabindex="0" role="region" '
        'aria-label="Figures: {0}"><table><caption class="away">{0}</caption><thead><tr><th scope="col">{1}</th>'
        "{2}</tr></thead><tbody>{3}</tbody></table></div></details>"
    ).format(chart.title, chart.x.capitalize(), heads, lines)


def _x_kind(x: Any) -> CellKind:
    """'2026-11', '2026-11-21' and '2026-11-21T10:00:00Z' are times, anything else a name."""
    text = str(x)
    if not text[:4].isdecimal() or text[4:5] != "-":
        return "text"
    return "month" if len(text) == 7 else "day" if len(text) == 10 else "moment"


def _name(value: Any) -> str:
    return "(none)" if value is None or value == "" else str(value)


def _value(row: Mapping[str, Any], chart: Chart) -> Decimal | None:
    value = row.get(chart.y)
    return None if value is None else decimal(value)
