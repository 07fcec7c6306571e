"""An answer as a message: an HTML mail, and plain text for all others. Pictures go along as PNG.

Names in rows are strangers' text. They are cut, and escaped for where they stand; none becomes a link or a mention.
"""

import html
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from farebox.reports.cells import NUMBERS, label, shown
from farebox.reports.charts import png
from farebox.reports.palette import FONT, TOKENS
from farebox.reports.report import Answer, Chart, Column, Section

MAIL_ROWS: Final = 15
PICTURES_MAX: Final = 4


class Picture(NamedTuple):
    """`name` is its file name and, in mail, its content id."""

    name: str
    text: str
    png: bytes


def pictures(answer: Answer, width: int = 640, scale: float = 2.0) -> list[Picture]:
    """The first charts of the answer and its sections, light, for a message."""
    charts = [*answer.charts, *(chart for section in answer.sections for chart in section.charts)]
    return [_picture(number, chart, width, scale) for number, chart in enumerate(charts[:PICTURES_MAX], 1)]


def plain_text(title: str, answer: Answer, link: str = "") -> str:
    lines = [title, "", answer.sentence]
    for section in _tables(answer):
        if section.rows or section.sentence:
            lines += ["", section.title, *([section.sentence] if section.sentence else [])]
            lines += [f"- {_plain_row(section.columns, row)}" for row in section.rows[:MAIL_ROWS]]
    return "\n".join([*lines, "", *answer.notes, *([link] if link else [])]).rstrip() + "\n"


def html_mail(title: str, answer: Answer, attached: Sequence[Picture] = (), link: str = "") -> str:
    """A whole document with styles in place, as mail programs want it. `attached` are shown by `cid:` and name."""
    tokens = TOKENS["light"]
    parts = [
        f"<h1 style='font-size:20px'>{html.escape(title)}</h1>",
        f"<p style='font-size:16px'>{html.escape(answer.sentence)}</p>",
    ]
    parts += [_mail_picture(picture) for picture in attached]
    parts += [_mail_table(section) for section in _tables(answer) if section.rows or section.sentence]
    parts += [f"<p style='font-size:12px;color:{tokens['second']}'>{html.escape(note)}</p>" for note in answer.notes]
    if link:
        parts.append(f"<p><a href='{html.escape(link)}' style='color:{tokens['accent']}'>Open</a></p>")
    style = f"font-family:{html.escape(FONT)};font-size:14px;line-height:1.45;color:{tokens['text']}"
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><body style="{style}">{"".join(parts)}</body></html>'


def _picture(number: int, chart: Chart, width: int, scale: float) -> Picture:
    return Picture(f"chart{number}.png", label(chart.title, 160), png(chart, "light", width, scale))


def _tables(answer: Answer) -> list[Section]:
    main = Section(title="", columns=answer.columns, rows=answer.rows)
    return list(answer.sections) if answer.sections else [main]


def _cell(column: Column, row: dict[str, Any]) -> str:
    text = shown(column.kind, row.get(column.name))
    return label(text, 200 if column.name == "how" else 60) if column.kind in ("text", "flag") else text


def _told(columns: Sequence[Column], row: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """(what the row is of, its figures with their titles); what is not known is left out."""
    names = [
        _cell(column, row) for column in columns if column.kind not in NUMBERS and row.get(column.name) is not None
    ]
    figures = [
        (column.title, _cell(column, row))
        for column in columns
        if column.kind in NUMBERS and row.get(column.name) is not None
    ]
    return " · ".join(dict.fromkeys(names)) or "(none)", figures


def _plain_row(columns: Sequence[Column], row: dict[str, Any]) -> str:
    name, figures = _told(columns, row)
    return f"{name}: {', '.join(f'{title} {text}' for title, text in figures)}" if figures else name


def _mail_picture(picture: Picture) -> str:
    name, text = html.escape(picture.name), html.escape(picture.text)
    return f"<p><img src='cid:{name}' alt='{text}' width='640' style='max-width:100%'></p>"


def _mail_table(section: Section) -> str:
    tokens = TOKENS["light"]
    edge = f"padding:4px 12px 4px 0;border-bottom:1px solid {tokens['line']}"
    head = "".join(
        f"<th style='{edge};text-align:{_side(column)};font-weight:600'>{html.escape(column.title)}</th>"
        for column in section.columns
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td style='{edge};text-align:{_side(column)}{_tone(column, row)}'>{html.escape(_cell(column, row))}</td>"
            for column in section.columns
        )
        + "</tr>"
        for row in section.rows[:MAIL_ROWS]
    )
    title = f"<h2 style='font-size:16px'>{html.escape(section.title)}</h2>" if section.title else ""
    said = f"<p>{html.escape(section.sentence)}</p>" if section.sentence else ""
    table = f"<table style='border-collapse:collapse;font-size:13px'><tr>{head}</tr>{rows}</table>" if rows else ""
    return f"{title}{said}{table}"


def _side(column: Column) -> str:
    return "right" if column.kind in NUMBERS else "left"


def _tone(column: Column, row: dict[str, Any]) -> str:
    value = row.get(column.name)
    lost = column.name in ("margin", "margin_percent", "gross_margin") and value is not None and value < 0
    return f";color:{TOKENS['light']['loss']}" if lost else ""
