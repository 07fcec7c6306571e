"""How `farebox simulate` shows its answer: a sentence, whom it would have touched most, and what to know of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.core import figures
from farebox.core.backtest_words import STOPS, calls, headline, minute, moment, money, plural, unsure

Answer = Mapping[str, Any]  # Any: decoded JSON


def simulate_view(answer: Answer) -> RenderableType:
    totals, limit = answer["totals"], answer["limit"]
    lines: list[RenderableType] = [plain(headline(answer), style="bold")]
    span = f"{minute(answer['since'])} until {minute(answer['until'])}"
    lines += [plain(f"{answer['sentence']}; {span}", style="dim"), Text()]
    if answer["rows"]:
        lines.append(_table(answer))
        if len(answer["rows"]) < totals["subjects_touched"]:
            lines.append(
                Text(f"… of {figures.count(totals['subjects_touched'])}: --limit-rows shows more", style="dim")
            )
        lines += [plain(text) for text in _groups(answer)]
    elif not totals["subjects"]:
        lines.append(Text("No calls that it counts in this time: look at --where, or widen --since.", style="dim"))
    lines += [plain(text) for text in (*_reached(answer), *_marked(answer))]
    lines += [plain(text, style="yellow") for text in unsure(answer)]
    if totals["subjects"] and not limit["strict"]:
        lines.append(plain(answer["in_flight"], style="dim"))
    elif limit["strict"]:
        lines.append(plain(f"Shown as if it were not strict. {answer['in_flight']}", style="dim"))
    return Group(*lines)


def _table(answer: Answer) -> Table:
    saves, stops = answer["limit"]["action"] == "downgrade", answer["limit"]["action"] in STOPS
    what = "saved" if saves else "stopped" if stops else "beyond"
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    totals = answer["totals"]
    cells: dict[str, Callable[[Answer], str]] = {
        "windows": lambda row: figures.count(row["windows_hit"]),
        "calls": lambda row: figures.count(row["calls"]),
        "met it" if not stops else "stopped": lambda row: figures.count(
            row["calls_stopped" if stops else "calls_beyond"]
        ),
        "spend": lambda row: money(row["spend_usd"]),
        f"{what} $": lambda row: money(row[_MONEY[what]]),
        "let through $": lambda row: money(row["spend_passed_usd"]),
    }
    table.add_column(plain(answer["limit"]["per"]), footer="total", overflow="fold")
    for title, cell in cells.items():
        table.add_column(title, footer=cell(totals), justify="right", no_wrap=True)
    table.add_column("first (UTC)", no_wrap=True)
    for row in answer["rows"]:
        add_row(table, row["subject"], *(cell(row) for cell in cells.values()), moment(row["first_at"]))
    return table


_MONEY: Final = {"saved": "saved_usd", "stopped": "spend_stopped_usd", "beyond": "spend_beyond_usd"}


def _groups(answer: Answer) -> list[str]:
    """Which tenants and tiers those calls are of, where that says more than the table."""
    found = []
    for name, rows in (("tenant", answer["tenants"]), ("tier", answer["tiers"])):
        if answer["limit"]["per"] != name and rows != [] and [row[name] for row in rows] != [None]:
            parts = [
                f"{row[name] or '(none)'} {calls(row['calls_beyond'])} ({money(row['spend_beyond_usd'])})"
                for row in rows[:5]
            ]
            more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
            found.append(f"By {name}: {', '.join(parts)}{more}.")
    return found


def _reached(answer: Answer) -> list[str]:
    per, found = answer["limit"]["per"], []
    for row in answer["warnings"]:
        whom = f"{figures.count(row['subjects'])} {plural(per, row['subjects'])}" if per != "all" else "all together"
        come = f"{whom} would have come to it, first on {minute(row['first_at'])}."
        found.append(f"{row['share'] * 100:g} % of the amount: {come if row['subjects'] else 'nobody.'}")
    return found


def _marked(answer: Answer) -> list[str]:
    marked = answer["marked"]
    if marked is None or (not marked["calls"] and answer["limit"]["action"] != "dry_run"):
        return []
    first = f", first on {minute(marked['first_at'])}" if marked["first_at"] else ""
    return [
        f"In force, {marked['limit_id']} has really marked {calls(marked['calls'])} of this time as a dry run, worth "
        f"{money(marked['spend_usd'])}{first}; the replay finds {calls(answer['totals']['calls_beyond'])}, worth "
        f"{money(answer['totals']['spend_beyond_usd'])}."
    ]
