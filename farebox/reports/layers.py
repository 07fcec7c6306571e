"""A drawing as a Vega-Lite specification: one layer for each kind of mark, put together by Altair.

Altair takes a tenth of a second for a chart, most of it to check itself. So each *shape* of chart is put together
once, with placeholders where titles, scales and data go, and filled for each drawing. All that is filled in is data;
colours that differ between light and dark are named styles, which the theme's config gives.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

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
FIGURE_PX: Final = 32
"""Right of bars, for what their figures need beyond the axis."""
SHAPES_MAX: Final = 256
XS, NAMES, COLOURS, VALUES, Y_TITLE = ("@xs",), ("@names",), ("@colours",), ("@values",), "@y_title"
"""Placeholders: no name of a caller's ever meets them, for it comes in with the filling."""


class Shape(NamedTuple):
    """All of a drawing that decides which layers it has and how they are set up."""

    kind: str
    unit: CellKind
    has_series: bool
    has_labels: bool
    has_y_title: bool
    data: frozenset[str]
    """The names of those data sets that have rows."""


def specification(drawing: Drawing, width: int | str) -> dict[str, Any]:
    """`width` in pixels, or 'container'."""
    data = _data(drawing)
    chart = drawing.chart
    held = frozenset(name for name, rows in data.items() if rows)
    shape = Shape(chart.kind, chart.unit, drawing.names != [""], bool(drawing.labels), bool(chart.y_title), held)
    filling = {
        XS[0]: drawing.xs,
        NAMES[0]: drawing.names,
        COLOURS[0]: drawing.colours,
        VALUES[0]: [drawing.low, drawing.high],
        Y_TITLE: chart.y_title,
    }
    spec: dict[str, Any] = _filled(_template(shape), filling)
    return {**spec, "datasets": data, "width": width, "height": drawing.height}


@lru_cache(SHAPES_MAX)
def _template(shape: Shape) -> dict[str, Any]:
    """Never changed by who gets it."""
    chart = alt.layer(*_layers(shape)).properties(
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        padding={"left": 4, "top": 8, "bottom": 4, "right": FIGURE_PX if "figures" in shape.data else 8},
    )
    found: dict[str, Any] = chart.to_dict()
    return {name: part for name, part in found.items() if name != "config"}


def _filled(part: Any, filling: dict[str, Any]) -> Any:  # Any: a tree of JSON
    if isinstance(part, dict):
        return {name: _filled(value, filling) for name, value in part.items()}
    if isinstance(part, list):
        if len(part) == 1 and isinstance(part[0], str) and part[0] in filling:
            return filling[part[0]]
        return [_filled(value, filling) for value in part]
    return filling[part] if isinstance(part, str) and part in filling else part


def _data(drawing: Drawing) -> dict[str, list[dict[str, Any]]]:
    """The rows of each layer, by the name of its data set."""
    plain = [point for point in drawing.points if not point.is_projected]
    projected = [point for point in drawing.points if point.is_projected]
    sets: dict[str, list[dict[str, Any]]] = {}
    if drawing.chart.kind == "strip":
        sets["main"] = [{**_row(point), "tip": _strip_tip(drawing, point)} for point in plain]
        return sets
    if drawing.chart.kind == "area":
        complete = [point for point in plain if not point.is_partial]
        sets["main"], sets["partial"] = _rows(complete), _rows(_after(complete, plain))
    elif drawing.chart.kind == "lines":
        sets["main"] = _rows(plain)
        sets["projected"] = _rows([*_ends(plain), *projected]) if projected else []
    else:
        sets["main"] = _rows([point for point in plain if not _is_loss(drawing, point)])
        sets["falling"] = _rows([point for point in plain if _is_loss(drawing, point)])
        sets["projected"] = _rows(projected)
    sets["hover"] = [{"x": x, "tip": drawing.tips[x], "low": drawing.low, "high": drawing.high} for x in drawing.xs]
    sets["labels"] = [{"x": label.x, "high": label.y, "s": label.name} for label in drawing.labels]
    sets["spikes"] = [{"x": spike.x, "high": spike.y, "tip": drawing.tips[spike.x]} for spike in drawing.spikes]
    if drawing.chart.kind == "bars" and drawing.names == [""]:
        sets["figures"] = [_figure(drawing, point) for point in plain]
    return sets


def _rows(points: list[Point]) -> list[dict[str, Any]]:
    return [_row(point) for point in points]


def _row(point: Point) -> dict[str, Any]:
    faint = PARTIAL if point.is_partial else 1
    return {"x": point.x, "s": point.name, "low": point.low, "high": point.high, "o": faint}


def _is_loss(drawing: Drawing, point: Point) -> bool:
    return drawing.names == [""] and point.value is not None and point.value < 0


def _ends(points: list[Point]) -> list[Point]:
    """The last point that is there of each series: a projection begins at it."""
    return list({point.name: point for point in points if point.high is not None}.values())


def _after(complete: list[Point], plain: list[Point]) -> list[Point]:
    """What is not complete yet, joined to the last x that is."""
    if not any(point.is_partial for point in plain):
        return []
    last = complete[-1].x if complete else ""
    return [point for point in plain if point.is_partial or point.x == last]


def _strip_tip(drawing: Drawing, point: Point) -> str:
    name = point.name or drawing.chart.y_title or "value"
    return f"{point.x}\n{name}\t{shown(drawing.chart.unit, point.value)}"


def _figure(drawing: Drawing, point: Point) -> dict[str, Any]:
    """A bar's figure stands at its right end."""
    end = max(point.low or 0.0, point.high or 0.0)
    return {"x": point.x, "high": end, "text": shown(drawing.chart.unit, point.value)}


def _layers(shape: Shape) -> list[alt.Chart]:
    if shape.kind == "strip":
        dots = _base("main").mark_circle(style="one", aria=False, size=40, opacity=0.5)
        return [_encoded(dots, {**_across(shape, "high"), "tooltip": alt.Tooltip("tip:N"), **_fill(shape)})]
    if shape.kind == "bars":
        return [*_blocks(shape, {**_across(shape, "low"), "x2": "high"}), *_figures(shape), _hover(shape)]
    drawn = {"lines": _lines, "area": _areas}.get(shape.kind, _columns)(shape)
    return [*drawn, *_labels(shape), _hover(shape), *_spikes(shape)]


def _blocks(shape: Shape, place: dict[str, Any]) -> list[alt.Chart]:
    """Columns or bars; without series, losses in their own colour."""
    found = []
    for name, style in (("main", "one"), ("falling", "loss")):
        if name == "main" or name in shape.data:
            marked = _base(name).mark_bar(style=style, aria=False, stroke=None)
            found.append(_encoded(marked, {**place, "opacity": _faint(), **_fill(shape)}))
    return found


def _columns(shape: Shape) -> list[alt.Chart]:
    found = _blocks(shape, _upward(shape))
    if "projected" in shape.data:
        marked = _base("projected").mark_bar(
            style="one", aria=False, fillOpacity=0.12, strokeWidth=1, strokeDash=[2, 3]
        )
        outline: dict[str, Any] = {"stroke": _colour(shape, alt.Stroke)} if shape.has_series else {}
        found.append(_encoded(marked, {**_upward(shape), **outline, **_fill(shape)}))
    return found


def _lines(shape: Shape) -> list[alt.Chart]:
    place = {"x": _x(), "y": _value(alt.Y, shape, "high"), **_fill(shape)}
    line = _base("main").mark_line(style="one", aria=False, strokeWidth=2)
    dots = _base("main").mark_circle(style="one", aria=False, size=18)
    found = [_encoded(line, place), _encoded(dots, {**place, "opacity": _faint()})]
    if "projected" in shape.data:
        dotted = _base("projected").mark_line(style="one", aria=False, strokeWidth=2, strokeDash=[2, 4])
        found.append(_encoded(dotted, place))
    return found


def _areas(shape: Shape) -> list[alt.Chart]:
    whole = _base("main").mark_area(style="one", aria=False, opacity=0.85)
    faint = _base("partial").mark_area(style="one", aria=False, opacity=PARTIAL)
    return [_encoded(marked, {**_upward(shape), **_fill(shape)}) for marked in (whole, faint)]


def _figures(shape: Shape) -> list[alt.Chart]:
    if "figures" not in shape.data:
        return []
    marked = _base("figures").mark_text(style="label", aria=False, dx=6)
    return [_encoded(marked, {**_across(shape, "high"), "text": alt.Text("text:N")})]


def _labels(shape: Shape) -> list[alt.Chart]:
    """A square in the series' colour and its name, right of the last value."""
    if not shape.has_labels:
        return []
    place = {"x": _x(band_position=1), "y": _value(alt.Y, shape, "high")}
    square = _base("labels").mark_square(aria=False, size=64, xOffset=10, opacity=1)
    text = _base("labels").mark_text(style="label", aria=False, dx=18)
    return [_encoded(square, {**place, **_fill(shape)}), _encoded(text, {**place, "text": alt.Text("s:N")})]


def _spikes(shape: Shape) -> list[alt.Chart]:
    if "spikes" not in shape.data:
        return []
    marked = _base("spikes").mark_point(
        style="spike", aria=False, shape="triangle-down", filled=True, size=60, yOffset=-9, opacity=1
    )
    return [_encoded(marked, {"x": _x(), "y": _value(alt.Y, shape, "high"), "tooltip": alt.Tooltip("tip:N")})]


def _hover(shape: Shape) -> alt.Chart:
    """A band over the whole height of each x (the width, of bars); shows itself under the pointer, has the tip."""
    over = alt.selection_point(name="hover", on="pointerover", clear="pointerout", empty=False, fields=["x"])
    sideways = shape.kind == "bars"
    whole: dict[str, Any] = {"height" if sideways else "width": {"band": 1 / (1 - (BAR_GAP if sideways else GAP))}}
    marked = _base("hover", view="under").mark_bar(style="hover", aria=False, stroke=None, **whole)
    place = {**_across(shape, "low"), "x2": "high"} if sideways else _upward(shape)
    shade = alt.condition(over, alt.value(0.06), alt.value(0))
    return _encoded(marked, {**place, "fillOpacity": shade, "tooltip": alt.Tooltip("tip:N")}).add_params(over)


def _base(data: str, view: str = "") -> alt.Chart:
    """A view with a name keeps it: those that Altair makes up differ from process to process."""
    return alt.Chart(alt.NamedData(name=data), name=view) if view else alt.Chart(alt.NamedData(name=data))


def _encoded(marked: alt.Chart, channels: dict[str, Any]) -> alt.Chart:
    found: alt.Chart = marked.encode(**channels)
    return found


def _upward(shape: Shape) -> dict[str, Any]:
    """From `low` to `high` over x."""
    return {"x": _x(), "y": _value(alt.Y, shape, "low"), "y2": "high"}


def _across(shape: Shape, field: str) -> dict[str, Any]:
    inner: dict[str, Any] = {} if shape.kind == "strip" else {"paddingInner": BAR_GAP}
    axis = alt.Axis(title=None, grid=False, labelLimit=260)
    names = alt.Y("x:O", axis=axis, scale=alt.Scale(domain=list(XS), **inner))
    return {"y": names, "x": _value(alt.X, shape, field)}


def _x(band_position: float | None = None) -> alt.X:
    axis = alt.Axis(title=None, grid=False, labelAngle=0, labelOverlap="greedy", labelSeparation=8, labelLimit=160)
    scale = alt.Scale(domain=list(XS), paddingInner=GAP, paddingOuter=GAP / 2)
    place: dict[str, Any] = {} if band_position is None else {"bandPosition": band_position}
    return alt.X("x:O", axis=axis, scale=scale, **place)


def _value(channel: Any, shape: Shape, field: str) -> Any:  # alt.X or alt.Y, which share no type
    title = Y_TITLE if shape.has_y_title else None
    axis = alt.Axis(title=title, tickCount=4, labelExpr=TICKS.get(shape.unit, _SHORT))
    return channel(f"{field}:Q", axis=axis, scale=alt.Scale(domain=list(VALUES), nice=4))


def _fill(shape: Shape) -> dict[str, Any]:
    return {"color": _colour(shape, alt.Color)} if shape.has_series else {}


def _colour(shape: Shape, channel: Any) -> Any:  # alt.Color or alt.Stroke
    legend = None if shape.has_labels else alt.Legend(title=None, orient="top")
    return channel("s:N", scale=alt.Scale(domain=list(NAMES), range=list(COLOURS)), legend=legend)


def _faint() -> alt.Opacity:
    return alt.Opacity("o:Q", scale=None)
