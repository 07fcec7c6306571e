"""How `farebox report` shows an answer: the sentence, the table, what is not sure, then further tables."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.reports.cells import NUMBERS, shown
from farebox.reports.words import NONE

ROWS_MAX: Final = 200
"""Rows of one table; a terminal is no place for more."""
Part = Mapping[str, Any]


def report_view(answer: Part) -> RenderableType:
    """An answer as `showing.shown` has it."""
    lines: list[RenderableType] = [plain(answer["sentence"], style="bold")]
    if answer["data"]:
        lines += [Text(), *_table(answer)]
    lines += [plain(note, style="yellow") for note in answer["notes"]]
    for section in answer["sections"]:
        lines += [Text(), plain(section["title"], style="bold")]
        if section["sentence"]:
            lines.append(plain(section["sentence"]))
        if section["data"]:
            lines += _table(section)
    return Group(*lines)


def _table(part: Part) -> list[RenderableType]:
    """The table, without columns that say nothing in any row."""
    rows, totals = part["data"], part["totals"]
    first, *others = part["columns"]
    columns = [first, *(column for column in others if any(row.get(column["name"]) is not None for row in rows))]
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=bool(totals), footer_style="bold")
    for place, column in enumerate(columns):
        footer = (
            "total" if place == 0 else shown(column["kind"], totals[column["name"]]) if _has(totals, column) else ""
        )
        number = column["kind"] in NUMBERS
        table.add_column(
            column["title"], footer=footer, justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    for row in rows[:ROWS_MAX]:
        add_row(table, *(_cell(row.get(column["name"]), column) for column in columns))
    left = len(rows) - ROWS_MAX
    return [table, *([Text(f"{left:,} more rows: --csv or --json has them.", style="dim")] if left > 0 else [])]


def _has(totals: Part | None, column: Part) -> bool:
    return bool(totals) and (totals or {}).get(column["name"]) is not None


def _cell(value: Any, column: Part) -> Text:
    if value is None and column["kind"] == "text":
        return Text(NONE, style="dim")
    text = shown(column["kind"], value)
    return plain(text, style="red" if text.startswith("−") else "")
