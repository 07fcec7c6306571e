"""How `farebox usage` shows its answer: a sentence, a table, and what is not sure about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.core import figures
from farebox.core.events import iso_us
from farebox.core.queries import PERIODS, UsageQuery

Row = Mapping[str, object]

MONEY: Final = frozenset({"spend", "avg_cost", "cost_per_session", "spend_estimated", "spend_byok"})
_DURATIONS: Final = frozenset({"p50_latency_ms", "p95_latency_ms"})
_TITLES: Final = {
    "avg_cost": "per call",
    "cost_per_session": "per session",
    "input_tokens": "tokens in",
    "output_tokens": "tokens out",
    "p50_latency_ms": "p50",
    "p95_latency_ms": "p95",
    "last_at": "last",
    "spend_estimated": "estimated",
    "calls_unpriced": "unpriced",
    "spend_byok": "own keys",
}
SURENESS: Final = ("spend", "calls", "spend_estimated", "calls_unpriced")
"""Asked for the total whatever is shown: how sure the figures are belongs beside them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of a question, and the total over everything it covers, shown or not."""

    query: UsageQuery
    groups: Sequence[str]
    """As answered: a user's tenant stands before it, for a user is one only within its tenant."""
    rows: Sequence[Row]
    total: Row


def total_query(query: UsageQuery) -> UsageQuery:
    """The same question over everything, as one row."""
    measures = tuple(dict.fromkeys((*query.measures, *SURENESS)))
    return msgspec.structs.replace(query, group_by=(), order="", limit=1, measures=measures)


def usage_view(answer: Answer) -> RenderableType:
    """A sentence, the table, and what is not sure about it."""
    lines: list[RenderableType] = [Text(_headline(answer), style="bold"), Text()]
    if answer.rows and (answer.groups or _whole(answer.total.get("calls"))):
        lines.append(_table(answer))
    else:
        lines.append(Text("No calls in this time. Point an SDK at Farebox, or widen --since.", style="dim"))
    lines.extend(Text(note, style="yellow") for note in _notes(answer.total))
    return Group(*lines)


def _headline(answer: Answer) -> str:
    spend, calls = _usd(answer.total.get("spend")), _whole(answer.total.get("calls"))
    return (
        f"{figures.money(spend)} in {figures.count(calls)} {'call' if calls == 1 else 'calls'}, {_span(answer.query)}"
    )


def _span(query: UsageQuery) -> str:
    since = "from the beginning" if query.since_us is None else f"since {_minute(query.since_us)}"
    return since if query.until_us is None else f"{since} until {_minute(query.until_us)}"


def _minute(moment_us: int) -> str:
    return iso_us(moment_us)[:16].replace("T", " ") + " UTC"


def _notes(total: Row) -> list[str]:
    notes = []
    unpriced = _whole(total.get("calls_unpriced"))
    estimated, spend = _usd(total.get("spend_estimated")), _usd(total.get("spend"))
    if unpriced:
        what = "1 call has" if unpriced == 1 else f"{figures.count(unpriced)} calls have"
        notes.append(f"{what} no price and no part in these sums: `farebox prices unpriced` lists them.")
    if estimated and spend:
        notes.append(f"{figures.share(estimated, spend)} of the spend is estimated (interrupted calls).")
    return notes


def _table(answer: Answer) -> Table:
    groups, measures = answer.groups, answer.query.measures
    has_share = "spend" in measures and bool(groups)
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=bool(groups), footer_style="bold")
    for index, name in enumerate(groups):
        table.add_column(plain(name.removeprefix("tag.")), footer="total" if index == 0 else "", overflow="fold")
    for name in measures:
        title = _TITLES.get(name, name.replace("_", " "))
        table.add_column(title, footer=cell(name, answer.total.get(name)), justify="right", no_wrap=True)
        if name == "spend" and has_share:
            table.add_column("share", justify="right", no_wrap=True)
    for row in answer.rows:
        add_row(table, *_cells(answer, row, has_share))
    return table


def _cells(answer: Answer, row: Row, has_share: bool) -> list[str | Text]:
    cells: list[str | Text] = [_group_cell(name, row.get(name)) for name in answer.groups]
    total = _usd(answer.total.get("spend")) or Decimal(0)
    for name in answer.query.measures:
        text = cell(name, row.get(name))
        cells.append(Text(text, style="red") if text.startswith("−") else text)
        if name == "spend" and has_share:
            cells.append(figures.share(_usd(row.get(name)) or Decimal(0), total))
    return cells


def _group_cell(name: str, value: object) -> Text:
    if value is None or value == "":
        return Text("(none)", style="dim")
    text = str(value)
    return plain(text[:10] if name in PERIODS and name != "hour" and text[10:11] == "T" else text)


def cell(measure: str, value: object) -> str:
    """A measure as a person reads it."""
    if value is None:
        return figures.NONE
    if measure in MONEY:
        return figures.money(_usd(value))
    if measure in _DURATIONS:
        return figures.duration(float(str(value)))
    if measure == "last_at":
        return str(value)[:16].replace("T", " ")
    return figures.count(_whole(value)) if isinstance(value, int) else str(value)


def _usd(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
