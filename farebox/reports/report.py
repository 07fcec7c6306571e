"""What a report is: a question, the facts it asks for, and an answer that page, API, command, CSV and picture share.

A report is one file: an object that satisfies `Report`, and one line in `REPORTS`. It asks `Facts` and returns an
`Answer`; it knows no database, no clock and no page.
"""

from typing import Any, Literal, Protocol

import msgspec

from farebox.core.customers import Books
from farebox.core.limits import Limit
from farebox.core.queries import EventsQuery, UsageQuery

CellKind = Literal["text", "count", "usd", "percent", "ratio", "ms", "month", "day", "moment", "flag", "amount"]
"""How a value is written. usd: Decimal dollars; percent: Decimal, 41.2 for 41.2 %; ratio: Decimal; ms: number;
amount, of a limit: text is dollars, a whole number counts the limit's unit; month '2026-11', day '2026-11-21', moment
RFC 3339: text. None is '–' everywhere."""


class Column(msgspec.Struct, frozen=True):
    """`name` stands in JSON and CSV, `title` on pages; `hint` is the definition, in one sentence."""

    name: str
    title: str
    kind: CellKind = "text"
    hint: str = ""
    door: str = ""
    """What a click on the value asks for: a dimension name ('tenant': that customer; 'feature': its calls) or a filter
    written as `name={other column}&…`; empty: nothing behind it."""


class Chart(msgspec.Struct, frozen=True):
    """A picture of rows, engine-free; `charts` draws it. `x`, `y`, `series` are names in `rows`."""

    title: str
    """The finding or the question."""
    kind: Literal["bars", "columns", "lines", "area", "strip", "waterfall"]
    rows: list[dict[str, Any]]
    x: str
    y: str
    y_title: str = ""
    series: str | None = None
    unit: CellKind = "usd"
    marks: list[dict[str, Any]] = []
    """Spikes: {x, y, text}."""
    partial_from: str | None = None
    """From this x on, values are not complete (today), drawn lighter; `projected` rows are dotted."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`sentence` answers the question. Rows hold raw values by column name; nothing is formatted."""

    sentence: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    totals: dict[str, Any] | None = None
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know: the share that is estimated or unpriced, a month that is still open, rows left off."""
    sections: tuple["Section", ...] = ()
    """Further tables, where one is not enough (`weekly`, `optimize`, `audit`)."""
    covers: tuple[int, int] | None = None
    """(since, until) in microseconds since 1970 that it is about, where that is not what was asked for."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    sentence: str = ""
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    totals: dict[str, Any] | None = None
    charts: tuple[Chart, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, parsed and checked. Times in microseconds since 1970, `until_us` exclusive."""

    since_us: int
    until_us: int
    now_us: int
    time_zone: str = "UTC"
    where: dict[str, tuple[str, ...]] = {}
    top: int = 100
    as_of_us: int | None = None
    options: dict[str, str] = {}
    """A report's own, as text; see `Report.options`."""


class Option(msgspec.Struct, frozen=True):
    name: str
    hint: str
    default: str = ""


class Facts(Protocol):
    """What a report may ask. Blocking; called in a thread of its own."""

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        """Rows as `GET /usage` gives them (money as decimal text), but up to 1,000,000 of them. Raises QueryError."""
        ...

    def usage_unordered(self, query: UsageQuery) -> list[dict[str, Any]]:
        """The same rows in no order, which may be those of an answer of before: nobody changes them."""
        ...

    def events(self, query: EventsQuery) -> list[dict[str, Any]]: ...

    def books(self, as_of_us: int | None = None) -> Books: ...

    def limits(self) -> list[Limit]: ...

    def ask(self, method: str, params: dict[str, object]) -> Any:
        """Any other question to the keeper."""
        ...


class Report(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def question(self) -> str:
        """What it answers, as a founder would ask it."""
        ...

    @property
    def period(self) -> Literal["30d", "month", "12 months", "none"]:
        """What it covers where nothing is said."""
        ...

    @property
    def options(self) -> tuple[Option, ...]: ...
    def answer(self, asked: Asked, facts: Facts) -> Answer: ...
