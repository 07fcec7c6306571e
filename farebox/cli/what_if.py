"""`farebox simulate --model … --plan-price … --price …`: margin before and after, asked here or of a server."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from farebox.cli import prices
from farebox.cli.context import Remote, UsageError
from farebox.cli.ledgers import now_us
from farebox.cli.price_views import read_file
from farebox.core import asking
from farebox.core.money import format_usd, parse_usd
from farebox.core.price_rows import PriceRow
from farebox.core.price_text import shown_row
from farebox.errors import InvalidMoney, QueryError
from farebox.reports.report import Asked
from farebox.reports.what_if import Change, question, what_if
from farebox.settings import Settings

TIMEOUT_S = 3600.0


def swaps_of(words: Sequence[str]) -> list[tuple[str, str]]:
    """FEATURE:MODEL words; a model's name may have colons of its own. Raises UsageError."""
    found = []
    for word in words:
        feature, colon, model = word.partition(":")
        if not colon or not feature or not model:
            raise UsageError(
                f"--model {word!r}: write FEATURE:MODEL, such as summarizer:gpt-4.1-mini, or '*:gpt-4.1-mini'"
            )
        found.append((feature.strip(), model.strip()))
    return found


def plans_of(words: Sequence[str]) -> dict[str, int]:
    """PLAN:DOLLARS words -> pico-dollars by plan. Raises UsageError."""
    found: dict[str, int] = {}
    for word in words:
        plan, colon, dollars = word.rpartition(":")
        try:
            price = parse_usd(dollars.strip().removeprefix("$")) if colon and plan else -1
        except InvalidMoney:
            price = -1
        if price < 0:
            raise UsageError(f"--plan-price {word!r}: write PLAN:DOLLARS, such as pro:59")
        if found.setdefault(plan.strip(), price) != price:
            raise UsageError(f"two prices are given for the plan {plan.strip()!r}")
    return found


def price_rows(files: Sequence[Path], book: Any) -> tuple[list[PriceRow], str]:
    """(rows of price files, read as `farebox prices update` reads them; what they are in a few words)."""
    rows = [
        prices.row_of(book, written, file.name)
        for file in files
        for written in read_file(file.name, prices.text_of(file))
    ]
    count = "1 price" if len(rows) == 1 else f"{len(rows)} prices"
    return rows, f"{count} of {', '.join(file.name for file in files)}" if rows else ""


def asked_here(settings: Settings, asked: Asked, change: Change, rows: Sequence[PriceRow]) -> dict[str, Any]:
    """The answer from a data directory, whether or not a server runs on it. Raises FareboxError."""
    from farebox.cli.report import local_facts

    ask = question(asked, change, rows)
    with local_facts(settings) as facts:
        return (
            what_if(asked, facts, change) if ask is None else what_if(asked, facts, change, facts.ask("what_if", ask))
        )


def asked_remotely(
    remote: Remote, since: str, until: str | None, time_zone: str, change: Change, rows: Sequence[PriceRow], top: int
) -> dict[str, Any]:
    form: dict[str, Any] = {
        "models": [{"feature": feature, "model": model} for feature, model in change.swaps],
        "plan_prices": {name: format_usd(price) for name, price in change.plans.items()},
        "prices": [shown_row(row) for row in rows],
        "since": since,
        "until": until,
        "time_zone": time_zone,
        "rows": top,
    }
    with closing(remote):
        found: dict[str, Any] = remote.call("POST", "/simulate", body=form, timeout_s=TIMEOUT_S)
        return found


def period(since: str | None, until: str | None, time_zone: str, top: int) -> Asked:
    """What is asked of which time. Raises QueryError, UsageError."""
    if since in (None, "", "all"):
        raise UsageError("margins are told by months: say since when, such as --since 90d")
    now = now_us()
    since_us = asking.instant(str(since), now, time_zone)
    until_us = now if until is None else asking.instant(until, now, time_zone)
    if since_us >= until_us:
        raise QueryError("since is not before until: nothing can lie between them")
    return Asked(since_us=since_us, until_us=until_us, now_us=now, time_zone=time_zone, top=top)
