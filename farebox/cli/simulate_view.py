"""How `farebox simulate` shows its answer: a sentence, whom it would have touched most, and what to know of it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.core import figures

Answer = Mapping[str, Any]  # Any: decoded JSON

STOPS: Final = ("block", "throttle")
"""Actions by which calls are not sent."""


def simulate_view(answer: Answer) -> RenderableType:
    totals, limit = answer["totals"], answer["limit"]
    lines: list[RenderableType] = [plain(headline(answer), style="bold")]
    span = f"{_minute(answer['since'])} until {_minute(answer['until'])}"
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
    lines += [plain(text, style="yellow") for text in _unsure(answer)]
    if totals["subjects"] and not limit["strict"]:
        lines.append(plain(answer["in_flight"], style="dim"))
    elif limit["strict"]:
        lines.append(plain(f"Shown as if it were not strict. {answer['in_flight']}", style="dim"))
    return Group(*lines)


def headline(answer: Answer) -> str:
    """The answer in a sentence: 'It would have stopped 12 of 340 users: 1,204 calls (3.1 %), $41.20 of $512.33,
    first on 2026-11-03 14:02 UTC.'"""
    totals, limit = answer["totals"], answer["limit"]
    stops = limit["action"] in STOPS
    touched, subjects = totals["subjects_stopped" if stops else "subjects_touched"], totals["subjects"]
    verb = {
        "block": "stopped",
        "throttle": "slowed down",
        "downgrade": f"moved to {limit['model']}",
        "warn": "warned of a used-up amount for",
        "dry_run": "marked calls of",
    }[limit["action"]]
    pooled = limit["per"] == "all"
    if not touched:
        none = "nobody" if pooled else f"none of {figures.count(subjects)} {_plural(limit['per'], subjects)}"
        return f"It would have {verb} {none}." if subjects else f"It would have {verb} nobody: nothing to count."
    which = "calls_stopped" if stops else "calls_beyond"
    spend = "saved_usd" if limit["action"] == "downgrade" else "spend_stopped_usd" if stops else "spend_beyond_usd"
    money = _money(totals[spend])
    saved = "saving " if limit["action"] == "downgrade" else ""
    whom = (
        "all together"
        if pooled
        else f"{figures.count(touched)} of {figures.count(subjects)} {_plural(limit['per'], subjects)}"
    )
    share = figures.share(Decimal(totals[which]), Decimal(totals["calls"]))
    return (
        f"It would have {verb} {whom}: {_calls(totals[which])} ({share}), {saved}{money} of "
        f"{_money(totals['spend_usd'])}, first on {_minute(totals['first_at'])}."
    )


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
        "spend": lambda row: _money(row["spend_usd"]),
        f"{what} $": lambda row: _money(row[_MONEY[what]]),
        "let through $": lambda row: _money(row["spend_passed_usd"]),
    }
    table.add_column(plain(answer["limit"]["per"]), footer="total", overflow="fold")
    for title, cell in cells.items():
        table.add_column(title, footer=cell(totals), justify="right", no_wrap=True)
    table.add_column("first (UTC)", no_wrap=True)
    for row in answer["rows"]:
        add_row(table, row["subject"], *(cell(row) for cell in cells.values()), _moment(row["first_at"]))
    return table


_MONEY: Final = {"saved": "saved_usd", "stopped": "spend_stopped_usd", "beyond": "spend_beyond_usd"}


def _groups(answer: Answer) -> list[str]:
    """Which tenants and tiers those calls are of, where that says more than the table."""
    found = []
    for name, rows in (("tenant", answer["tenants"]), ("tier", answer["tiers"])):
        if answer["limit"]["per"] != name and rows != [] and [row[name] for row in rows] != [None]:
            parts = [
                f"{row[name] or '(none)'} {_calls(row['calls_beyond'])} ({_money(row['spend_beyond_usd'])})"
                for row in rows[:5]
            ]
            more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
            found.append(f"By {name}: {', '.join(parts)}{more}.")
    return found


def _reached(answer: Answer) -> list[str]:
    per, found = answer["limit"]["per"], []
    for row in answer["warnings"]:
        whom = f"{figures.count(row['subjects'])} {_plural(per, row['subjects'])}" if per != "all" else "all together"
        come = f"{whom} would have come to it, first on {_minute(row['first_at'])}."
        found.append(f"{row['share'] * 100:g} % of the amount: {come if row['subjects'] else 'nobody.'}")
    return found


def _marked(answer: Answer) -> list[str]:
    marked = answer["marked"]
    if marked is None or (not marked["calls"] and answer["limit"]["action"] != "dry_run"):
        return []
    first = f", first on {_minute(marked['first_at'])}" if marked["first_at"] else ""
    return [
        f"In force, {marked['limit_id']} has really marked {_calls(marked['calls'])} of this time as a dry run, worth "
        f"{_money(marked['spend_usd'])}{first}; the replay finds {_calls(answer['totals']['calls_beyond'])}, worth "
        f"{_money(answer['totals']['spend_beyond_usd'])}."
    ]


def _unsure(answer: Answer) -> list[str]:
    totals, found = answer["totals"], []
    if totals["calls_unpriced"]:
        have = "has" if totals["calls_unpriced"] == 1 else "have"
        found.append(f"{_calls(totals['calls_unpriced'])} {have} no price and cost nothing here.")
    if totals["calls_without_other_price"]:
        unknown = _calls(totals["calls_without_other_price"])
        found.append(f"{unknown} cannot be priced with {answer['limit']['model']}: nothing is saved by them here.")
    if (answer["events_kept_from"] or "") > answer["since"]:
        found.append(f"Events before {_minute(answer['events_kept_from'])} are no longer kept.")
    return found


def _plural(per: str, count: int) -> str:
    """'user', 'users'; values of a tag have no plural."""
    return per if count == 1 or per.startswith("tag.") else f"{per}s"


def _calls(count: int) -> str:
    return f"{figures.count(count)} {'call' if count == 1 else 'calls'}"


def _money(text: str | None) -> str:
    return figures.money(None if text is None else Decimal(text))


def _moment(text: str | None) -> str:
    return "" if text is None else text[:16].replace("T", " ")


def _minute(text: str | None) -> str:
    return f"{_moment(text)} UTC"
