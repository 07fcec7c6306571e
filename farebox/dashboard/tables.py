"""A report's rows as a table of a page: found, ordered and cut as the address says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from markupsafe import Markup

from farebox.core.tables import csv_text
from farebox.dashboard.cells import NUMBERS, cell, decimal, inline, joined, text_of
from farebox.dashboard.filters import ROWS, Filters
from farebox.reports.report import Answer, Column, Section

Rows = Sequence[Mapping[str, Any]]  # Any: raw values of a report
_DESCENDING: Final = NUMBERS | {"moment", "day", "month"}


@dataclass(frozen=True, slots=True)
class Heading:
    column: Column
    href: str
    order: str
    """For assistive technology: ascending, descending or none."""

    @property
    def is_number(self) -> bool:
        return self.column.kind in NUMBERS


@dataclass(frozen=True, slots=True)
class Table:
    """What the template shows. `all_href` is set where rows are left off."""

    caption: str
    headings: tuple[Heading, ...]
    rows: list[list[Markup]]
    totals: list[Markup] | None
    found: int
    all_href: str
    search: str | None


def table_of(
    part: Answer | Section,
    filters: Filters,
    path: str,
    caption: str,
    index: int = 0,
    *,
    rows_max: int = ROWS,
    is_whole: bool = True,
) -> Table:
    """`index` tells the tables of a page apart: only the first can be searched, and none that is not whole."""
    key = "sort" if index == 0 else f"sort{index}"
    search = filters.query.get("q", "") if index == 0 and is_whole else ""
    rows = chosen(part, filters, index) if is_whole else list(part.rows)
    shown = rows if filters.query.get("rows") == "all" else rows[:rows_max]
    return Table(
        caption=caption,
        headings=tuple(
            _heading(column, filters, path, key) if is_whole else Heading(column, "", "none") for column in part.columns
        ),
        rows=[[cell(row, column, filters) for column in part.columns] for row in shown],
        totals=_totals(part, len(rows)),
        found=len(rows),
        all_href=filters.same(path, rows="all") if len(shown) < len(rows) else "",
        search=search if index == 0 and is_whole and (search or len(part.rows) > 10) else None,
    )


def chosen(part: Answer | Section, filters: Filters, index: int = 0) -> list[Mapping[str, Any]]:
    """The rows that page, JSON and CSV share."""
    rows: list[Mapping[str, Any]] = list(part.rows)
    words = filters.query.get("q", "").casefold().split() if index == 0 else []
    if words:
        rows = [row for row in rows if all(word in _text(row, part.columns, filters.year) for word in words)]
    name = filters.query.get("sort" if index == 0 else f"sort{index}", "")
    columns = {column.name for column in part.columns}
    if name.removeprefix("-") in columns:
        rows = _ordered(rows, name.removeprefix("-"), is_falling=name.startswith("-"))
    return rows


def as_csv(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> str:
    return csv_text([column.name for column in columns], ({n: _raw(v) for n, v in row.items()} for row in rows))


def _ordered(rows: list[Mapping[str, Any]], name: str, *, is_falling: bool) -> list[Mapping[str, Any]]:
    """Rows without a value stand last, either way."""
    known = [row for row in rows if row.get(name) is not None]
    known.sort(key=lambda row: _key(row[name]), reverse=is_falling)
    return known + [row for row in rows if row.get(name) is None]


def _key(value: Any) -> tuple[int, Decimal, str]:
    if isinstance(value, bool | int | float | Decimal):
        return 0, decimal(int(value) if isinstance(value, bool) else value), ""
    text = str(value)
    try:
        return 0, decimal(text), ""
    except ValueError:
        return 1, Decimal(0), text.casefold()


def _heading(column: Column, filters: Filters, path: str, key: str) -> Heading:
    now = filters.query.get(key, "")
    falling = f"-{column.name}"
    first = falling if column.kind in _DESCENDING else column.name
    other = column.name if first == falling else falling
    order = "descending" if now == falling else "ascending" if now == column.name else "none"
    return Heading(column, filters.same(path, **{key: other if now == first else first}), order)


def _totals(part: Answer | Section, found: int) -> list[Markup] | None:
    """The total of all rows; none where a search has left some off."""
    if part.totals is None or found != len(part.rows):
        return None
    cells = []
    for place, column in enumerate(part.columns):
        value = part.totals.get(column.name)
        empty = Markup("Total") if place == 0 else Markup("")
        cells.append(empty if value is None else inline(value, column.kind))
    return cells


def _text(row: Mapping[str, Any], columns: Sequence[Column], year: int) -> str:
    return " ".join(text_of(row.get(column.name), column.kind, year) for column in columns).casefold()


def _raw(value: Any) -> Any:
    """As CSV writes it: lists and mappings as the text that pages show."""
    if isinstance(value, list | tuple | Mapping):
        return joined(value) if value else None
    return value
