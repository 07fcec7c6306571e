"""A drawing as an Altair chart: one layer for each kind of mark. Everything is data; colours that differ between light
and dark are named styles, which the theme's config fills in."""

from typing import Any, Final

import altair as alt

from farebox.reports.cells import shown
from farebox.reports.drawing import Drawing, Point
from farebox.reports.report import CellKind

_MONEY: Final = "(datum.value < 0 ? '−' : '') + '$' + format(abs(datum.value), ',.6~f')"
_SHORT: Final = "abs(datum.value) >= 1e7 ? format(datum.value / 1e6, ',.2~f') + 'M' : format(datum.value, ',.4~f')"
TICKS: Final[dict[CellKind, str]] = {
    "usd": _MONEY,
    "percent": "format(datum.value, ',.2~f') + ' %'",
    "ms": "datum.value >= 1000 ? format(datum.value / 1000, ',.2~f') + ' s' : format(datum.value, ',.2~f') + ' ms'",
}
"""How a figure on an axis is written; round figures need no more digits than they have."""
PARTIAL: Final = 0.45
GAP: Final = 0.2
"""Between columns, of a step; between bars a little more."""
BAR_GAP: Final = 0.3


def layered(drawing: Drawing, width: int | str) -> alt.LayerChart | alt.FacetChart:
    """`width` in pixels, or 'container'."""
    kind = drawing.chart.kind
    if kind == "strip":
        layers = [_strip(drawing)]
    elif kind == "bars":
        layers = [*_bars(drawing), _hover(drawing)]
    else:
        layers = [*_upright(drawing), *_labels(drawing), _hover(drawing), *_spikes(drawing)]
    return alt.layer(*layers).properties(
        width=width,
        height=drawing.height,
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        padding={"left": 4, "top": 8, "bottom": 4, "right": 8},
    )


def _upright(drawing: Drawing) -> list[alt.Chart]:
    """Columns, lines, areas and waterfalls: x across, values upwards."""
    kind = drawing.chart.kind
    if kind == "lines":
        return [*_line(drawing, projected=False), *_line(drawing, projected=True)]
    if kind == "area":
        return [_area(drawing, partial=False), _area(drawing, partial=True)]
    plain = [point for point in drawing.points if not point.is_projected]
    rising = [point for point in plain if not _is_loss(drawing, point)]
    falling = [point for point in plain if _is_loss(drawing, point)]
    projected = [point for point in drawing.points if point.is_projected]
    columns = [_columns(drawing, rising, "one")] if rising or not plain else []
    columns += [_columns(drawing, falling, "loss")] if falling else []
    return columns + ([_columns(drawing, projected, "one", dotted=True)] if projected else [])


def _is_loss(drawing: Drawing, point: Point) -> bool:
    return drawing.names == [""] and point.value is not None and point.value < 0


def _columns(drawing: Drawing, points: list[Point], style: str, *, dotted: bool = False) -> alt.Chart:
    chart = alt.Chart(_data(points))
    if dotted:
        marked = chart.mark_bar(style=style, aria=False, fillOpacity=0.12, strokeWidth=1, strokeDash=[2, 3])
        outline: dict[str, Any] = {"stroke": _colour(drawing, alt.Stroke)} if drawing.names != [""] else {}
        return _encoded(marked, {**_upward(drawing), **outline, **_fill(drawing)})
    marked = chart.mark_bar(style=style, aria=False, stroke=None)
    return _encoded(marked, {**_upward(drawing), "opacity": _faint(), **_fill(drawing)})


def _line(drawing: Drawing, *, projected: bool) -> list[alt.Chart]:
    points = [point for point in drawing.points if point.is_projected == projected]
    if projected and not points:
        return []
    dash: dict[str, Any] = {"strokeDash": [2, 4]} if projected else {}
    joined = _joined(drawing) + points if projected else points
    line = alt.Chart(_data(joined)).mark_line(style="one", aria=False, strokeWidth=2, **dash)
    ends = alt.Chart(_data(points)).mark_circle(style="one", aria=False, size=18)
    place: dict[str, Any] = {"x": _x(drawing), "y": _y(drawing, "high"), **_fill(drawing)}
    return [line.encode(**place), ends.encode(opacity=_faint(), **place)]


def _joined(drawing: Drawing) -> list[Point]:
    """The last point that is there of each series: a projection begins at it."""
    last = {point.name: point for point in drawing.points if not point.is_projected and point.high is not None}
    return list(last.values())


def _area(drawing: Drawing, *, partial: bool) -> alt.Chart:
    """What is not complete yet begins at the last complete x, lighter."""
    points = [point for point in drawing.points if not point.is_projected]
    complete = [point for point in points if not point.is_partial]
    if partial:
        last = complete[-1].x if complete else ""
        points = [point for point in points if point.is_partial or point.x == last]
        points = points if any(point.is_partial for point in points) else []
    else:
        points = complete
    marked = alt.Chart(_data(points)).mark_area(style="one", aria=False, opacity=PARTIAL if partial else 0.85)
    return _encoded(marked, {**_upward(drawing), **_fill(drawing)})


def _bars(drawing: Drawing) -> list[alt.Chart]:
    across = {**_across(drawing, "low"), "x2": "high"}
    rising = [point for point in drawing.points if not _is_loss(drawing, point)]
    falling = [point for point in drawing.points if _is_loss(drawing, point)]
    found = []
    for points, style in ((rising, "one"), (falling, "loss")):
        if points or style == "one":
            marked = alt.Chart(_data(points)).mark_bar(style=style, aria=False, stroke=None)
            found.append(marked.encode(**across, **_fill(drawing)))
    return found + ([] if drawing.names != [""] else [_figures(drawing)])


def _figures(drawing: Drawing) -> alt.Chart:
    """Each bar's figure at its end."""
    rows = [
        {"x": point.x, "high": max(point.low or 0.0, point.high or 0.0), "text": drawing.tips[point.x].split("\t")[1]}
        for point in drawing.points
    ]
    marked = alt.Chart(alt.InlineData(values=rows)).mark_text(style="label", aria=False, dx=6)
    return _encoded(marked, {**_across(drawing, "high"), "text": alt.Text("text:N")})


def _strip(drawing: Drawing) -> alt.Chart:
    rows = [
        {"x": point.x, "s": point.name, "high": point.high, "tip": _strip_tip(drawing, point)}
        for point in drawing.points
    ]
    marked = alt.Chart(alt.InlineData(values=rows)).mark_circle(style="one", aria=False, size=40, opacity=0.5)
    return _encoded(marked, {**_across(drawing, "high"), "tooltip": alt.Tooltip("tip:N"), **_fill(drawing)})


def _strip_tip(drawing: Drawing, point: Point) -> str:
    name = point.name or drawing.chart.y_title or "value"
    return f"{point.x}\n{name}\t{shown(drawing.chart.unit, point.value)}"


def _labels(drawing: Drawing) -> list[alt.Chart]:
    """A square in the series' colour and its name, right of the last value."""
    if not drawing.labels:
        return []
    rows = [{"x": label.x, "high": label.y, "s": label.name} for label in drawing.labels]
    data = alt.InlineData(values=rows)
    end = _x(drawing, at=1)
    square = alt.Chart(data).mark_square(aria=False, size=64, xOffset=10, opacity=1)
    text = alt.Chart(data).mark_text(style="label", aria=False, dx=18)
    place: dict[str, Any] = {"x": end, "y": _y(drawing, "high")}
    return [square.encode(**place, **_fill(drawing)), text.encode(**place, text=alt.Text("s:N"))]


def _spikes(drawing: Drawing) -> list[alt.Chart]:
    if not drawing.spikes:
        return []
    rows = [{"x": spike.x, "high": spike.y, "tip": drawing.tips[spike.x]} for spike in drawing.spikes]
    marked = alt.Chart(alt.InlineData(values=rows)).mark_point(
        style="spike", aria=False, shape="triangle-down", filled=True, size=60, yOffset=-9, opacity=1
    )
    return [marked.encode(x=_x(drawing), y=_y(drawing, "high"), tooltip=alt.Tooltip("tip:N"))]


def _hover(drawing: Drawing) -> alt.Chart:
    """A band over the whole height of each x (the width, of bars); shows itself under the pointer, has the tip."""
    rows = [{"x": x, "tip": drawing.tips[x], "low": drawing.low, "high": drawing.high} for x in drawing.xs]
    over = alt.selection_point(name="hover", on="pointerover", clear="pointerout", empty=False, fields=["x"])
    sideways = drawing.chart.kind == "bars"
    whole: dict[str, Any] = {"height" if sideways else "width": {"band": 1 / (1 - (BAR_GAP if sideways else GAP))}}
    base = alt.Chart(alt.InlineData(values=rows), name="under")
    chart = base.mark_bar(style="hover", aria=False, stroke=None, **whole)
    shade = alt.condition(over, alt.value(0.06), alt.value(0))
    place = {**_across(drawing, "low"), "x2": "high"} if sideways else _upward(drawing)
    return _encoded(chart, {**place, "fillOpacity": shade, "tooltip": alt.Tooltip("tip:N")}).add_params(over)


def _encoded(marked: alt.Chart, channels: dict[str, Any]) -> alt.Chart:
    found: alt.Chart = marked.encode(**channels)
    return found


def _upward(drawing: Drawing) -> dict[str, Any]:
    """From `low` to `high` over x."""
    return {"x": _x(drawing), "y": _y(drawing, "low"), "y2": "high"}


def _across(drawing: Drawing, field: str) -> dict[str, Any]:
    return {"y": _band(drawing), "x": _value_axis(alt.X, drawing, field)}


def _data(points: list[Point]) -> alt.InlineData:
    return alt.InlineData(
        values=[
            {
                "x": point.x,
                "s": point.name,
                "low": point.low,
                "high": point.high,
                "o": PARTIAL if point.is_partial else 1,
            }
            for point in points
        ]
    )


def _x(drawing: Drawing, at: float | None = None) -> alt.X:
    axis = alt.Axis(title=None, grid=False, labelAngle=0, labelOverlap="greedy", labelSeparation=8, labelLimit=160)
    scale = alt.Scale(domain=drawing.xs, paddingInner=GAP, paddingOuter=GAP / 2)
    return alt.X("x:O", axis=axis, scale=scale) if at is None else alt.X("x:O", axis=axis, scale=scale, bandPosition=at)


def _band(drawing: Drawing) -> alt.Y:
    axis = alt.Axis(title=None, grid=False, labelLimit=260)
    inner: dict[str, Any] = {} if drawing.chart.kind == "strip" else {"paddingInner": BAR_GAP}
    return alt.Y("x:O", axis=axis, scale=alt.Scale(domain=drawing.xs, **inner))


def _y(drawing: Drawing, field: str) -> alt.Y:
    found: alt.Y = _value_axis(alt.Y, drawing, field)
    return found


def _value_axis(channel: Any, drawing: Drawing, field: str) -> Any:  # alt.X or alt.Y, which share no type
    chart = drawing.chart
    axis = alt.Axis(title=chart.y_title or None, tickCount=4, labelExpr=TICKS.get(chart.unit, _SHORT))
    return channel(f"{field}:Q", axis=axis, scale=alt.Scale(domain=[drawing.low, drawing.high], nice=4))


def _fill(drawing: Drawing) -> dict[str, Any]:
    return {} if drawing.names == [""] else {"color": _colour(drawing, alt.Color)}


def _colour(drawing: Drawing, channel: Any) -> Any:  # alt.Color or alt.Stroke
    legend = None if drawing.labels else alt.Legend(title=None, orient="top")
    scale = alt.Scale(domain=drawing.names, range=drawing.colours)
    return channel("s:N", scale=scale, legend=legend)


def _faint() -> alt.Opacity:
    return alt.Opacity("o:Q", scale=None)
