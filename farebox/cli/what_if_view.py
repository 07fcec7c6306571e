"""How `farebox simulate` shows margins before and after: a sentence, tiers, customers, what moved, and what to know."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.core import figures
from farebox.core.backtest_words import minute

Answer = Mapping[str, Any]  # Any: decoded JSON
MOVED_SHOWN: Final = 12
_NONE: Final = "–"


def what_if_view(answer: Answer) -> RenderableType:
    span = f"{minute(answer['since'])} until {minute(answer['until'])}"
    lines: list[RenderableType] = [
        plain(answer["sentence"], style="bold"),
        plain(f"{'; '.join(answer['changes'])}; {span}. Nothing is set.", style="dim"),
        Text(),
    ]
    if answer["tiers"]:
        lines += [_table("tier", answer["tiers"], answer["totals"]), Text()]
    if answer["customers"]:
        lines.append(_table("tenant", answer["customers"], answer["totals"]))
        if len(answer["customers"]) < answer["totals"]["customers"]:
            whole = figures.count(answer["totals"]["customers"])
            lines.append(Text(f"… of {whole}, most moved first: --limit-rows shows more", style="dim"))
    if answer["moved"]:
        lines += [Text(), _moved(answer["moved"])]
    lines += [plain(note, style="dim") for note in answer["notes"]]
    return Group(*lines)


def _table(name: str, rows: Sequence[Answer], totals: Answer) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("customer" if name == "tenant" else name, footer="total", overflow="fold")
    titles = ("AI cost", "would be", "revenue", "would be", "margin", "would be", "change", "%", "would be")
    for title, footer in zip(titles, _cells(totals), strict=True):
        table.add_column(title, footer=footer, justify="right", no_wrap=True)
    for row in rows:
        add_row(table, row[name] or "(none)", *_cells(row))
    return table


def _cells(row: Answer) -> list[Text]:
    before, after = row["before"], row["after"]
    cells = [_money(side[name]) for name in ("ai_cost", "revenue", "margin") for side in (before, after)]
    change = row["margin_change"]
    cells.append(_money(change, signed=True))
    return [*cells, *(_percent(side["margin_percent"]) for side in (before, after))]


def _money(text: str | None, *, signed: bool = False) -> Text:
    if text is None:
        return Text(_NONE, style="dim")
    amount = Decimal(text)
    shown = figures.money(abs(amount))
    sign = "-" if amount < 0 else "+" if signed and amount > 0 else ""
    return Text(f"{sign}{shown}", style="red" if amount < 0 else "")


def _percent(text: str | None) -> Text:
    if text is None:
        return Text(_NONE, style="dim")
    return Text(f"{Decimal(text):.1f} %", style="red" if Decimal(text) < 0 else "")


def _moved(rows: Sequence[Answer]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("feature", "model", "would be"):
        table.add_column(title, overflow="fold")
    for title in ("attempts", "cost", "would be"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows[:MOVED_SHOWN]:
        costs = (_money(row["before"]), _money(row["after"]))
        add_row(table, row["feature"] or "(none)", row["model"], row["to"], figures.count(row["attempts"]), *costs)
    return table
