"""Customers and their revenue as a spreadsheet's CSV: each line becomes what `statements.read_statement` reads, or an
error that says what to do. Pure."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from farebox.core.book_text import month
from farebox.core.statements import Statement, read_statement
from farebox.core.tables import FORMULA
from farebox.errors import FareboxError, InvalidBooks

LINES_MAX: Final = 1_000_000
COLUMNS_MAX: Final = 100
DELIMITERS: Final = (",", ";", "\t")
_FIELDS: Final = {
    **dict.fromkeys(("tenant", "tenant_id", "customer", "customer_id"), "tenant"),
    **{name: name for name in ("name", "owner_email", "started_on", "plan", "plan_from", "billing_anchor")},
    **{name: name for name in ("month", "revenue", "source", "medium", "campaign")},
    **{f"utm_{name}": name for name in ("source", "medium", "campaign")},
}
"""Columns by the field that they fill; any other column is an attribute of its own name."""
ON_NO_PLAN: Final = "none"


class Line(msgspec.Struct, frozen=True):
    """A line of the file, by the number at which it begins. `written` is the statement's written form."""

    number: int
    written: dict[str, object] = {}
    statement: Statement | None = None
    error: FareboxError | None = None


def lines(content: bytes) -> Iterator[Line]:
    """The lines behind the header. Raises InvalidBooks where the file as a whole cannot be read."""
    text = _text(content)
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        fields = _header(next(reader, []))
    except csv.Error as error:
        raise InvalidBooks(f"line 1: {_unreadable(error)}") from None
    booked: dict[tuple[str, str], int] = {}
    for count in range(LINES_MAX + 1):
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, error=InvalidBooks(_unreadable(error)))
            continue
        if count == LINES_MAX:
            raise InvalidBooks(f"a file has at most {LINES_MAX:,} lines: import it in parts")
        if any(cell.strip() for cell in cells):
            yield _line(number, fields, cells, booked)


def _unreadable(error: csv.Error) -> str:
    if "field larger" in str(error):
        most = f"{csv.field_size_limit():,}"
        return f"a cell has more than {most} characters: shorten it, or close the quote with which it begins"
    return f"a quoted cell is not closed, or goes on behind its quote ({error})"


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InvalidBooks(f"line {number} is not UTF-8: save the file as 'CSV UTF-8'") from None
    if "\0" in text:
        raise InvalidBooks("this is no CSV file: save the table as 'CSV UTF-8'")
    return text


def _header(cells: list[str]) -> list[str]:
    """What each column fills; 'attribute:NAME' for an attribute."""
    fields = []
    for cell in cells:
        name = cell.strip()
        known = _FIELDS.get(name.lower().replace(" ", "_").replace("-", "_"))
        fields.append(known or f"attribute:{name}")
    if "tenant" not in fields:
        raise InvalidBooks(
            f"the first line has no column 'tenant': it reads {', '.join(cells)[:200]!r}; name the columns there, such "
            "as tenant,name,plan,month,revenue"
        )
    if twice := [field for field in fields if fields.count(field) > 1]:
        raise InvalidBooks(f"two columns say {twice[0].removeprefix('attribute:')!r}: leave one out")
    if len(fields) > COLUMNS_MAX or "attribute:" in fields:
        raise InvalidBooks(f"a file has at most {COLUMNS_MAX} columns, each with a name in the first line")
    if "revenue" in fields and "month" not in fields:
        raise InvalidBooks("revenue is for a month: add a column 'month' with values such as 2026-11")
    return fields


def _line(number: int, fields: list[str], cells: list[str], booked: dict[tuple[str, str], int]) -> Line:
    try:
        written = _written(fields, cells)
        statement = read_statement(written, "csv")
        for booking in statement.bookings:
            before = booked.setdefault((statement.tenant, booking.month), number)
            if before != number:
                raise InvalidBooks(
                    f"line {before} has revenue of {statement.tenant} for {booking.month}, too: give their sum once"
                )
    except InvalidBooks as error:
        return Line(number, error=error)
    return Line(number, written, statement)


def _written(fields: list[str], cells: list[str]) -> dict[str, object]:
    """What the cells say; an empty one says nothing."""
    if len(cells) != len(fields):
        raise InvalidBooks(
            f"{len(cells)} cells, but the first line names {len(fields)} columns: quote what has a comma"
        )
    said = {field: value for field, cell in zip(fields, cells, strict=True) if (value := _value(cell))}
    written: dict[str, object] = {
        field: value for field, value in said.items() if field not in ("month", "revenue") and ":" not in field
    }
    written.setdefault("tenant", "")
    if written.get("plan") == ON_NO_PLAN:
        written["plan"] = None
    attributes = {field.partition(":")[2]: value for field, value in said.items() if field.startswith("attribute:")}
    if attributes:
        written["attributes"] = attributes
    if (revenue := _revenue(said)) is not None:
        written["revenue"] = [revenue]
    return written


def _revenue(said: Mapping[str, str]) -> dict[str, str] | None:
    if "revenue" not in said:
        return None
    if "month" not in said:
        raise InvalidBooks("revenue without a month: write the month as 2026-11")
    return {"month": month(said["month"]), "amount": said["revenue"]}


def _value(cell: str) -> str:
    """The cell without the apostrophe that keeps spreadsheets from running it as a formula; it is only ever text."""
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text
