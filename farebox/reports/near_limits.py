"""Who is near a limit, and when it will be used up at this pace."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from farebox.core import figures
from farebox.core.events import iso_us
from farebox.core.limit_text import sentence, shown_amount
from farebox.core.limits import WITHIN_TENANT, Limit
from farebox.core.money import divide_half_even
from farebox.core.thresholds import NEAR_SHARE, NEVER_PROJECTED, NearAccount, projection
from farebox.errors import QueryError
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.sums import percent
from farebox.reports.words import many, named, some

SHARE: Final = f"{NEAR_SHARE:g}"
ELAPSED_MIN: Final = 0.1
"""A window is projected once a tenth of it is over."""
OF_NOW: Final = "What is near a limit is always of now, whatever period is asked for."
_COLUMNS: Final = (
    Column("subject", "Who", "text", "The subject as the limit counts it: a user with its customer."),
    Column("per", "Per", "text", "What the limit counts by."),
    Column("limit", "Limit", "text", "What it says."),
    Column("action", "Action", "text", "What happens when it is used up."),
    Column("used", "Used", "amount", "Settled in this window, in the limit's unit: dollars for usd."),
    Column("amount", "Amount", "amount", "What the limit allows."),
    Column("unit", "Unit"),
    Column("of_limit", "Of limit", "percent", "Used as a share of the amount."),
    Column("projected", "At window's end", "percent", "The same at the end of the window, at this pace."),
    Column("used_up_at", "Used up", "moment", "When nothing is left at this pace; empty where the window ends before."),
    Column("resets_at", "Resets", "moment", "When the window ends; empty for a lifetime."),
    Column("limit_id", "Limit id", door="limit"),
)


class NearLimits:
    name: Final = "near-limits"
    title: Final = "Near limits"
    question: Final = "Who is about to be stopped by a limit, and when?"
    period: Final = "none"
    options: tuple[Option, ...] = (
        Option("share", "How much of a limit must be used, 0 to 1; or 'projected': who will use all of it.", SHARE),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        if asked.where:
            raise QueryError("near-limits has no filters: it is about accounts of limits, not about calls")
        text = asked.options.get("share") or SHARE
        share = Fraction(0) if text == "projected" else _share(text)
        limits = {limit.id: limit for limit in facts.limits()}
        if not limits:
            return Answer(sentence="There are no limits: `farebox limits set` makes one.", columns=_COLUMNS, rows=[])
        found = [NearAccount(*row) for row in facts.ask("limits_near", {"share": float(share)})]
        standing = [one for one in found if one.limit in limits and not _replaced(one, limits)]
        rows = [_row(asked, limits[one.limit], one) for one in standing]
        if text == "projected":
            rows = [row for row in rows if row["used_up_at"] is not None or row["of_limit"] >= 100]
        rows.sort(key=lambda row: (-row["of_limit"], row["resets_at"] or "", row["limit_id"], row["subject"]))
        shown = rows[: asked.top]
        left = len(rows) - len(shown)
        return Answer(
            sentence=_sentence(rows, len(limits), text),
            columns=_COLUMNS,
            rows=shown,
            charts=_charts(shown),
            notes=(*((f"{left:,} more are not shown (top={asked.top}).",) if left else ()), OF_NOW),
        )


def _row(asked: Asked, limit: Limit, account: NearAccount) -> dict[str, Any]:
    projected = None if limit.window in NEVER_PROJECTED else projection(account, asked.now_us, ELAPSED_MIN)
    return {
        "subject": account.subject,
        "per": limit.per,
        "limit": sentence(limit),
        "action": limit.action,
        "used": shown_amount(account.used, limit.unit),
        "amount": shown_amount(account.amount, limit.unit),
        "unit": limit.unit,
        "of_limit": percent(account.used, account.amount),
        "projected": None if projected is None else percent(projected, account.amount),
        "used_up_at": _used_up_at(asked, account, projected),
        "resets_at": None if account.end_us is None else iso_us(account.end_us),
        "limit_id": limit.id,
    }


def _used_up_at(asked: Asked, account: NearAccount, projected: int | None) -> str | None:
    """In a straight line from what is used; None where it is used up, or will not be."""
    if projected is None or projected <= account.amount or account.used >= account.amount or account.used <= 0:
        return None
    elapsed = asked.now_us - account.start_us
    return iso_us(account.start_us + divide_half_even(elapsed * account.amount, account.used))


def _replaced(account: NearAccount, limits: dict[str, Limit]) -> bool:
    """Whether an override stands in the place of this template for this subject."""
    own = limits[account.limit]
    if own.subject is not None:
        return False
    bare = account.subject.partition("/")[2] if own.per in WITHIN_TENANT else account.subject
    return any(
        other.subject in (account.subject, bare) and not other.where
        for other in limits.values()
        if other.subject is not None and (other.per, other.unit, other.window) == (own.per, own.unit, own.window)
    )


def _sentence(rows: Sequence[dict[str, Any]], limits: int, text: str) -> str:
    if not rows:
        least = "will use all of it" if text == "projected" else f"has used {percent_of(text)} of it"
        return f"Nobody is near a limit: of {limits} {'limit' if limits == 1 else 'limits'}, no account {least}."
    full = [row for row in rows if row["of_limit"] >= 100]
    first = rows[0]
    which = f"{named(first['subject'])} has used {_used_of(first)}"
    if full:
        rest = f", {_near(len(rows) - len(full), text, 'more is', 'more are')}" if len(rows) > len(full) else ""
        return f"{many(len(full), 'account is', 'accounts are')} at the limit{rest}: {which}."
    return f"{_near(len(rows), text, 'account is', 'accounts are', many)}: {which}."


def _near(number: int, text: str, one: str, more: str, counted: Callable[[int, str, str], str] = some) -> str:
    """'Three accounts are near a limit (70 % used, or more)', or what the question holds for near."""
    if text == "projected":
        return f"{counted(number, one, more)} to reach it at this pace"
    return f"{counted(number, one, more)} near a limit ({percent_of(text)} used, or more)"


def _used_of(row: Mapping[str, Any]) -> str:
    if row["unit"] == "usd":
        return f"{figures.money(Decimal(row['used']))} of {figures.money(Decimal(row['amount']))}"
    return f"{figures.count(row['used'])} of {figures.count(row['amount'])} {row['unit']}"


def percent_of(text: str) -> str:
    return f"{float(text) * 100:g} %"


def _charts(rows: Iterable[dict[str, Any]]) -> tuple[Chart, ...]:
    bars = [{"who": named(row["subject"]), "of_limit": row["of_limit"]} for row in list(rows)[:10]]
    if not bars:
        return ()
    return (Chart("How much of their limit is used", "bars", bars, "who", "of_limit", "Used, %", unit="percent"),)


def _share(text: str) -> Fraction:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    if not 0 <= share <= 1 or len(text) > 20:
        raise QueryError(f"share is {text[:20]!r}: give a number from 0 to 1, such as 0.8, or projected")
    return share
