"""Charts: one definition, drawn by the browser on pages and by the server for mail, Slack and files.

Pages get a specification and draw it themselves (`fragment`, `assets`); so a page costs the server no JavaScript, fits
any width and follows the reader's theme. `svg` and `png` run Vega inside this process: some 0.1 s each, and about
130 MB once.
"""

import html
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import metadata, resources
from typing import Any, Final, NamedTuple

import vl_convert

from farebox.core.figures import NONE
from farebox.reports.cells import label, shown
from farebox.reports.drawing import Drawing, drawing
from farebox.reports.layers import specification
from farebox.reports.palette import THEMES, Theme, config
from farebox.reports.report import Chart

VEGA_LITE: Final = "6.4"
WIDTH: Final = 720
SCALE: Final = 2.0
_HEIGHT_STEP: Final = 40
_HEIGHT_MAX: Final = 920
VEGA_VERSION: Final = f"{VEGA_LITE} {metadata.version('vl-convert-python')}"
"""What vega.js is made of: known before it is bundled, and changes with it."""
_bundling: Final = threading.Lock()
_VALUES_MAX: Final = 60
"""Rows of the table behind a chart."""


class Asset(NamedTuple):
    """A file that a page with charts loads, once: its content changes with versions of Farebox or vl-convert alone."""

    content: bytes
    content_type: str


def spec(chart: Chart, theme: Theme, *, width: int | str = "container", titled: bool = False) -> dict[str, Any]:
    """The Vega-Lite specification with its theme: plain JSON, the same each time for the same chart."""
    return {**_plain(drawing(chart), width, titled), "config": config(theme)}


def svg(chart: Chart, theme: Theme = "light", width: int = WIDTH) -> str:
    """The picture with its title, as text that needs no fonts or scripts of its own."""
    return str(vl_convert.vegalite_to_svg(_alone(chart, theme, width), vl_version=VEGA_LITE, allowed_base_urls=[]))


def png(chart: Chart, theme: Theme = "light", width: int = WIDTH, scale: float = SCALE) -> bytes:
    """The picture with its title; `scale` 2 is sharp on dense screens."""
    drawn = _alone(chart, theme, width)
    return bytes(vl_convert.vegalite_to_png(drawn, scale=scale, vl_version=VEGA_LITE, allowed_base_urls=[]))


def _alone(chart: Chart, theme: Theme, width: int) -> dict[str, Any]:
    return spec(chart, theme, width=width, titled=True)


def fragment(chart: Chart, behind: str | None = None) -> str:
    """HTML of one chart for a page that loads `assets`: a figure with its title, its specification as data, a
    sentence for those who cannot see it, and its values as a table behind a summary, or `behind` (HTML) in place of
    that table. No inline style or script."""
    drawn = drawing(chart)
    caption = f"<figcaption>{html.escape(_title(chart))}</figcaption>"
    if not any(point.value is not None for point in drawn.points):
        return f'<figure class="chart is-empty">{caption}<p>No values.</p></figure>'
    data = json.dumps(_plain(drawn, "container", titled=False), ensure_ascii=False, separators=(",", ":"))
    safe = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    height = min(_HEIGHT_MAX, -(-(drawn.height + 40) // _HEIGHT_STEP) * _HEIGHT_STEP)
    return (
        f'<figure class="chart">{caption}'
        f'<div class="chart-drawn chart-{height}" role="img" aria-label="{html.escape(_described(drawn))}"></div>'
        f'<script type="application/json">{safe}</script>{_table(drawn) if behind is None else behind}</figure>'
    )


@cache
def light_assets() -> Mapping[str, Asset]:
    """By file name: what is at hand at once, all but Vega."""
    browser = resources.files("farebox.reports") / "browser"
    script = (browser / "charts.js").read_text(encoding="utf-8")
    configs = json.dumps({theme: config(theme) for theme in THEMES})
    steps = range(2 * _HEIGHT_STEP, _HEIGHT_MAX + 1, _HEIGHT_STEP)
    heights = "".join(f".chart-{height} {{ min-height: {height}px; }}\n" for height in steps)
    style = (browser / "charts.css").read_text(encoding="utf-8") + heights
    return {
        "charts.css": Asset(style.encode(), "text/css; charset=utf-8"),
        "charts.js": Asset(script.replace("/* CONFIG */ {}", configs).encode(), "text/javascript; charset=utf-8"),
    }


def assets() -> Mapping[str, Asset]:
    """By file name, in the order in which a page loads them: charts.css, vega.js, charts.js (both deferred, or at the
    body's end). Nothing in them needs more than script-src 'self' and style-src 'self'. The first time, Vega is
    bundled, which takes seconds: ask early, in a thread; it is done by a process of its own, since vl-convert lets no
    other thread of its process run meanwhile."""
    with _bundling:
        return _assets()


@cache
def _assets() -> Mapping[str, Asset]:
    light = light_assets()
    bundled = subprocess.run((sys.executable, "-m", __name__), capture_output=True, check=True)  # noqa: S603 (our own)
    vega = Asset(bundled.stdout, "text/javascript; charset=utf-8")
    return {"charts.css": light["charts.css"], "vega.js": vega, "charts.js": light["charts.js"]}


def bundle() -> str:
    """Vega, Vega-Lite, Vega-Embed and Vega's interpreter as one script, from vl-convert: nothing is fetched."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))


def _plain(drawn: Drawing, width: int | str, titled: bool) -> dict[str, Any]:
    found = specification(drawn, width)
    found["description"] = _described(drawn)
    if titled:
        found["title"] = _title(drawn.chart)
    return found


def _title(chart: Chart) -> str:
    return label(chart.title, 160)


def _described(drawn: Drawing) -> str:
    """What the picture shows, in two sentences."""
    title, unit = _title(drawn.chart), drawn.chart.unit
    known = [point for point in drawn.points if point.value is not None and not point.is_projected]
    if not known:
        return f"{title}. No values."
    totals: dict[str, Decimal] = {}
    for point in known:
        totals[point.x] = totals.get(point.x, Decimal(0)) + (point.value or 0)
    if drawn.chart.kind in ("lines", "strip"):
        totals = {point.x: point.value for point in known if point.value is not None}
    top = max(totals, key=lambda x: totals[x])
    first, last = drawn.xs[0], drawn.xs[-1]
    span = f"{first} to {last}" if first != last else first
    return f"{title}. {span}; the most is {shown(unit, totals[top])} ({top})."


def _table(drawn: Drawing) -> str:
    names = drawn.names if drawn.names != [""] else [drawn.chart.y_title or "value"]
    cells = {
        (point.x, point.name): shown(drawn.chart.unit, point.value) for point in drawn.points if not point.is_projected
    }
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in ["", *names])
    rows = [
        f"<tr><th scope=row>{html.escape(x)}</th>"
        + "".join(f"<td>{html.escape(cells.get((x, name), NONE))}</td>" for name in drawn.names)
        + "</tr>"
        for x in drawn.xs[-_VALUES_MAX:]
    ]
    return f"<details><summary>Values</summary><table><tr>{head}</tr>{''.join(rows)}</table></details>"


if __name__ == "__main__":
    os.nice(19)  # whoever waits for it waits a little longer; calls do not
    sys.stdout.buffer.write(bundle().encode())
