"""Text that came from outside, on a terminal: never markup, never an escape sequence."""

from rich.table import Table
from rich.text import Text


def plain(text: str, style: str = "") -> Text:
    """The text as it stands; characters that could steer the terminal are shown as '�'."""
    safe = "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
    return Text(safe, style=style)


def add_row(table: Table, *cells: str | Text) -> None:
    """A row whose strings are text, not markup."""
    table.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells))
