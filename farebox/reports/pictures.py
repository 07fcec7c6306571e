"""Answers as files to look at: a PNG of a chart, a page that stands alone."""

import base64
from collections.abc import Iterable, Mapping
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from farebox.errors import FareboxError, QueryError
from farebox.reports.cells import NUMBERS, shown
from farebox.reports.report import Answer, Chart, Column, Report

CHARTS: Final = "farebox.reports.charts"
"""Has `png(chart) -> bytes`; loaded when the first picture is asked for, since it brings a JavaScript engine."""
_STYLE: Final = """:root{color-scheme:light dark}body{font:14px/1.45 system-ui,sans-serif;margin:32px auto;
max-width:1280px;padding:0 24px}h1{font-size:28px;font-weight:600}
h2{font-size:20px;font-weight:600;margin-top:32px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:8px 16px 8px 0;
border-bottom:1px solid #8884;overflow-wrap:anywhere;unicode-bidi:isolate}.n{text-align:right;white-space:nowrap}
.loss{color:#b3261e}.note{color:#63635e}img{max-width:100%}
@media print{body{margin:0;padding:0;max-width:none;font-size:10pt}tr,img{break-inside:avoid}
thead{display:table-header-group}tfoot{display:table-row-group}h2{break-after:avoid}}@page{margin:16mm}
@media(prefers-color-scheme:dark){.loss{color:#ff8a80}
.note{color:#a0a39c}}"""


def png(answer: Answer, number: int = 0) -> bytes:
    """The answer's chart of that number. Raises QueryError where there is none, FareboxError where none can be
    drawn here."""
    if not 0 <= number < len(answer.charts):
        has = "no chart" if not answer.charts else f"charts 0 to {len(answer.charts) - 1}"
        raise QueryError(f"there is no chart {number}: this answer has {has}")
    return drawn(answer.charts[number])


def can_draw() -> bool:
    return find_spec(CHARTS) is not None


def drawn(chart: Chart) -> bytes:
    if not can_draw():
        raise FareboxError("this installation cannot draw pictures: --csv and --json have the same rows")
    picture: bytes = import_module(CHARTS).png(chart)
    return picture


def page(report: Report, answer: Answer) -> str:
    """A page that needs nothing beside itself. Everything that came from outside is escaped."""
    pictures = "".join(_picture(chart) for chart in answer.charts) if can_draw() else ""
    sections = "".join(
        f"<h2>{escape(section.title)}</h2><p>{escape(section.sentence)}</p>"
        f"{_table(section.columns, section.rows, section.totals)}"
        for section in answer.sections
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in answer.notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width,initial-scale=1"><meta http-equiv="content-security-policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body><h1>{escape(report.title)}</h1>"
        f"<p>{escape(answer.sentence)}</p>{pictures}{_table(answer.columns, answer.rows, answer.totals)}{notes}"
        f"{sections}</body></html>"
    )


def _picture(chart: Chart) -> str:
    data = base64.b64encode(drawn(chart)).decode()
    return f'<p><img alt="{escape(chart.title)}" src="data:image/png;base64,{data}"></p>'


def _table(columns: Iterable[Column], rows: Iterable[Mapping[str, Any]], totals: Mapping[str, Any] | None) -> str:
    shown = list(columns)
    head = "".join(f'<th{_class(column)} title="{escape(column.hint)}">{escape(column.title)}</th>' for column in shown)
    lines = "".join(_line(shown, row) for row in rows)
    foot = f"<tfoot>{_line(shown, {shown[0].name: 'Total', **totals})}</tfoot>" if totals else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody>{foot}</table>"


def _line(columns: list[Column], row: Mapping[str, Any]) -> str:
    cells = ((column, shown(column.kind, row.get(column.name))) for column in columns)
    return "<tr>" + "".join(f"<td{_class(column, text)}>{escape(text)}</td>" for column, text in cells) + "</tr>"


def _class(column: Column, text: str = "") -> str:
    if column.kind not in NUMBERS:
        return ""
    return ' class="n loss"' if text.startswith("−") else ' class="n"'
