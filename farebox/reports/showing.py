"""A report's answer as data: the same for the API and the shell's --json and --csv."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from farebox.core.events import iso_us
from farebox.core.tables import csv_text
from farebox.reports.report import Answer, Asked, Chart, Column, Report, Section


def described(report: Report) -> dict[str, object]:
    """What there is to ask."""
    return {
        "name": report.name,
        "title": report.title,
        "question": report.question,
        "period": report.period,
        "options": [msgspec.structs.asdict(option) for option in report.options],
    }


def shown(report: Report, asked: Asked, answer: Answer) -> dict[str, object]:
    """Money and percent are decimal text, times RFC 3339, what is unknown is null."""
    since_us, until_us = answer.covers or (asked.since_us, asked.until_us)
    return {
        "name": report.name,
        "title": report.title,
        "question": report.question,
        "since": iso_us(since_us),
        "until": iso_us(until_us),
        "time_zone": asked.time_zone,
        "sentence": answer.sentence,
        **_table(answer),
        "notes": list(answer.notes),
        "sections": [
            {"title": section.title, "sentence": section.sentence, **_table(section)} for section in answer.sections
        ],
    }


def csv_of(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header of column names and a line a row. What a spreadsheet would run has an apostrophe before it."""
    return csv_text([column.name for column in columns], (plain(row) for row in rows))


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it: a Decimal as text, with all its digits and no exponent."""
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in row.items()}


def _table(part: Answer | Section) -> dict[str, object]:
    return {
        "columns": [msgspec.structs.asdict(column) for column in part.columns],
        "data": [plain(row) for row in part.rows],
        "totals": None if part.totals is None else plain(part.totals),
        "charts": [_chart(chart) for chart in part.charts],
    }


def _chart(chart: Chart) -> dict[str, object]:
    fields = msgspec.structs.asdict(chart)
    return {**fields, "rows": [plain(row) for row in chart.rows], "marks": [plain(mark) for mark in chart.marks]}
