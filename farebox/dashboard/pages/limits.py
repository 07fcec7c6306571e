"""Limits: what is in force and how far it is used; set, changed, overridden and removed, and tried on the past."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from farebox.core.backtest import beside
from farebox.core.backtest_words import STOPS, headline, unsure
from farebox.core.events import iso_us
from farebox.core.limit_text import (
    CHOICES,
    amount_text,
    changed_limit,
    read_limit,
    sentence,
    shown_amount,
    shown_limit,
)
from farebox.core.limits import Limit
from farebox.dashboard import sums
from farebox.dashboard.filters import read_filters
from farebox.dashboard.forms import Field, Form, as_typed, given, pairs
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.dashboard.tables import Table, table_of
from farebox.directory.rows import LimitRow, checked_limit
from farebox.errors import InvalidLimit
from farebox.reports.report import Answer, Column, Section

SIMULATE_TIMEOUT_S: Final = 600
NEAR_SHARE: Final = 0.7
ROWS: Final = 20
AMOUNT_WORDS: Final = ("counted in",)
"""What errors say of a unit that is none."""
PERS: Final = "user, tenant, workspace, tier, feature, key, tag.NAME, or all together"
COLUMNS: Final = (
    Column("limit", "Limit", door="/limits?limit={id}"),
    Column("action", "When it is used up", "flag"),
    Column("near", "Near", "count", "Accounts of which more than 70 % is used."),
    Column("over", "Used up", "count", "Accounts of which nothing is left."),
    Column("fullest", "Fullest", hint="The account of which most is used."),
    Column("used_share", "Used", "percent", "Of the fullest one."),
    Column("changed_at", "Changed", "moment"),
)
ACCOUNTS: Final = (
    Column("subject", "Whose"),
    Column("used_share", "Used", "percent", "Of the amount, in the current window."),
    Column("used", "So far"),
    Column("resets_at", "Resets", "moment", "When it begins anew (UTC)."),
)
STOPPED: Final = (
    Column("subject", "Who"),
    Column("calls", "Calls", "count", "Calls of that time that the limit counts."),
    Column("met", "Stopped", "count", "Of them, those that the limit would have met."),
    Column("met_spend", "Worth", "usd", "What those calls cost."),
    Column("spend", "Spend", "usd", "All that was spent."),
    Column("first_at", "First", "moment"),
)
ACTIONS: Final = {
    "block": "block",
    "warn": "only warn",
    "dry_run": "only note whom it would stop",
    "downgrade": "downgrade to another model",
    "throttle": "slow down",
}
SPANS: Final = {"30d": "the last 30 days", "last-month": "last month"}


async def show(visit: Visit) -> View:
    limit_id = visit.filters.query.get("limit", "")
    near = await _near(visit)
    if limit_id:
        return _one(visit, await visit.run(visit.parts.directory.limits.get, limit_id), near.get(limit_id, []))
    rows = await visit.run(visit.parts.directory.limits.list)
    listed = [_listed(row, near.get(row.id, [])) for row in rows]
    answer = Answer(sentence=_sentence(listed), columns=COLUMNS, rows=listed)
    more = {"managed": as_typed(visit, [_new(visit, is_open=not rows)]), "up": False}
    return View(
        "Limits", answer, template="manage.html", more=more, caption="In force",
        empty="Nothing is limited: set the first one above, and try it on the past.",
    )  # fmt: skip


async def preview(visit: Visit) -> View:
    """Whom the limit of the form would have stopped. Nothing is set."""
    limit = await visit.run(_meant, visit)
    span = visit.filters.query.get("span", "30d")
    time = read_filters([("period", span if span in SPANS else "30d")], visit.now_us)
    living = [row.limit for row in await visit.run(visit.parts.directory.limits.list)]
    days = await visit.run(visit.parts.directory.customers.anchor_days) if limit.window == "billing" else {}
    question = {
        "limit": limit,
        "others": beside(limit, living),
        "since_us": time.since_us,
        "until_us": time.until_us,
        "rows": ROWS,
        "anchor_days": days,
    }
    found = await visit.parts.keeper.call("simulate", question, timeout_s=SIMULATE_TIMEOUT_S)
    view = await show(visit)
    shown = {
        "title": f"In {SPANS.get(span, SPANS['30d'])}: {sentence(limit)}",
        "sentence": headline(found),
        "table": _stopped(visit, found),
        "notes": [*unsure(found), found["in_flight"]] if found["totals"]["subjects"] else unsure(found),
    }
    return View(
        view.title, view.answer, template=view.template, more={**view.more, "preview": shown}, caption=view.caption,
        empty=view.empty,
    )  # fmt: skip


async def set_limit(visit: Visit) -> Done:
    limits = visit.parts.directory.limits
    row = await visit.run(limits.set, read_limit(_written(visit.form)), by=visit.by)
    return Done(f"/limits?limit={row.id}", f"Set: {sentence(row.limit)}. In force within a second.")


async def change(visit: Visit) -> Done:
    limits, limit_id = visit.parts.directory.limits, visit.filters.query.get("limit", "")
    row = await visit.run(limits.change, limit_id, _written(visit.form), by=visit.by)
    return Done(f"/limits?limit={row.id}", f"Changed: {sentence(row.limit)}. In force within a second.")


async def override(visit: Visit) -> Done:
    """The same place for one subject alone."""
    limits = visit.parts.directory.limits
    row = await visit.run(limits.get, visit.filters.query.get("limit", ""))
    subject = visit.form.get("subject", "").strip()
    if not subject:
        raise InvalidLimit("give the subject: whom the override is for, such as acme/u_7")
    said = shown_limit(row.limit)
    kept = {name: said[name] for name in ("per", "window", "time_zone", "action", "model", "rate", "strict", "message")}
    spec = read_limit({**kept, "subject": subject, "amount": _amount(visit.form.get("amount", ""), row.limit.unit)})
    made = await visit.run(limits.set, spec, by=visit.by)
    return Done(f"/limits?limit={made.id}", f"Set: {sentence(made.limit)}. In force within a second.")


async def remove(visit: Visit) -> Done:
    limits = visit.parts.directory.limits
    row = await visit.run(limits.remove, visit.filters.query.get("limit", ""), by=visit.by)
    return Done("/limits", f"Removed: {sentence(row.limit)}. Nothing counts against it within a second.")


def _meant(visit: Visit) -> Limit:
    limit_id = visit.filters.query.get("limit", "")
    if not limit_id:
        return checked_limit(read_limit(_written(visit.form)))
    return checked_limit(changed_limit(visit.parts.directory.limits.get(limit_id).limit, _written(visit.form)))


def _written(form: Mapping[str, str]) -> dict[str, Any]:
    """The form's limit as `core.limit_text` reads it. Raises InvalidLimit."""
    found: dict[str, Any] = given(form, "per", "subject", "amount", "window", "action", "model", "time_zone", "message")
    if form.get("where", "").strip():
        found["where"] = pairs(form["where"])
    if "warn_at" in form:
        found["warn_at"] = _shares(form["warn_at"])
    if "rate" in form:
        found["rate"] = _whole(form["rate"], "rate")
    found["strict"] = bool(form.get("strict"))
    return found


def _shares(text: str) -> list[float] | None:
    try:
        return [float(part.strip().removesuffix("%")) / (100 if "%" in part else 1) for part in text.split(",")
                if part.strip()] or None  # fmt: skip
    except ValueError:
        raise InvalidLimit(f"warn at {text[:40]!r} is no share: write 0.8, or 80 %") from None


def _whole(text: str, name: str) -> int | None:
    if text.strip() and not (text.strip().isascii() and text.strip().isdecimal()):
        raise InvalidLimit(f"{name} is a whole number, not {text[:40]!r}")
    return int(text) if text.strip() else None


def _amount(text: str, unit: str) -> str:
    return text if " " in text.strip() else f"{text.strip()} {unit}"


async def _near(visit: Visit) -> dict[str, list[sums.Row]]:
    """Accounts of which most is used by their limit's id, fullest first."""
    limits = {row.id: row.limit for row in await visit.run(visit.parts.directory.limits.list)}
    if not limits:
        return {}
    found: dict[str, list[sums.Row]] = {}
    for limit_id, subject, _, end_us, amount, used in await visit.ask("limits_near", {"share": NEAR_SHARE}):
        if limit_id in limits:
            unit = limits[limit_id].unit
            found.setdefault(limit_id, []).append({
                "subject": subject or "all together",
                "used_share": sums.percent(Decimal(used), Decimal(amount)),
                "used": sums.amount(shown_amount(used, unit), unit),
                "resets_at": None if end_us is None else iso_us(end_us),
            })  # fmt: skip
    return {limit_id: sorted(rows, key=lambda row: -row["used_share"]) for limit_id, rows in found.items()}


def _listed(row: LimitRow, near: list[sums.Row]) -> sums.Row:
    first = near[0] if near else None
    return {
        "limit": sentence(row.limit),
        "id": row.id,
        "action": ACTIONS[row.limit.action],
        "near": len(near),
        "over": sum(account["used_share"] >= 100 for account in near),
        "fullest": first["subject"] if first else None,
        "used_share": first["used_share"] if first else None,
        "changed_at": iso_us(row.changed_at_us),
    }


def _sentence(rows: list[sums.Row]) -> str:
    if not rows:
        return "No limit is set: every call passes."
    near, over = sum(row["near"] for row in rows), sum(row["over"] for row in rows)
    text = "One limit is" if len(rows) == 1 else f"{len(rows)} limits are"
    return f"{text} in force; {near} accounts are near theirs, {over} of them have used it up."


def _one(visit: Visit, row: LimitRow, near: list[sums.Row]) -> View:
    limit = row.limit
    text = sentence(limit)
    forms = [] if row.removed_at_us is not None else [_change(row), *_overrides(row), _removal(row)]
    facts = [("Time zone", limit.time_zone), ("Set", iso_us(row.created_at_us)[:10])]
    if limit.subject is not None:
        facts.append(("Override", f"in place of what holds for each {limit.per}"))
    said = f"{text}." if row.removed_at_us is None else f"Removed: {text}."
    answer = Answer(sentence=said[0].upper() + said[1:], columns=ACCOUNTS, rows=near)
    return View(
        row.id, answer, template="manage.html", caption="Near it",
        more={"managed": as_typed(visit, forms), "up": True, "facts": facts},
        empty="No account has used more than 70 % of it in its current window.",
    )  # fmt: skip


def _new(visit: Visit, *, is_open: bool) -> Form:
    query = visit.filters.query
    subject = query.get("subject", "")
    fields = (
        Field("per", "Per", query.get("per", "user"), PERS, is_required=True),
        Field(
            "amount",
            "Amount",
            "",
            "with its unit: 5 usd, 2000 requests, 100 analyses",
            is_required=True,
            words=AMOUNT_WORDS,
        ),
        Field("window", "Window", "month", kind="choice", options={kind: kind for kind in CHOICES["window"]}),
        Field("where", "Only where", "", "tier=free, feature=chat; empty: all calls", words=("where",)),
        Field(
            "subject", "Override for", subject, "one subject alone, such as acme/u_7; empty: each", words=("subject",)
        ),
        *_fields("block", "", "", "0.8", "", is_strict=False),
    )
    tries = tuple((f"/limits/preview?span={span}", f"Try on {text}") for span, text in SPANS.items())
    return Form("/limits/set", "Set a limit", "Set limit", fields, is_open=is_open or bool(subject), others=tries)


def _change(row: LimitRow) -> Form:
    limit = row.limit
    fields = (
        Field("amount", "Amount", amount_text(limit.amount, limit.unit), "with its unit", is_required=True,
              words=AMOUNT_WORDS),
        *_fields(
            limit.action, limit.model or "", "" if limit.rate is None else str(limit.rate),
            ", ".join(f"{share:g}" for share in limit.warn_at), limit.message or "", is_strict=limit.strict,
        ),
    )  # fmt: skip
    tries = tuple((f"/limits/preview?limit={row.id}&span={span}", f"Try on {text}") for span, text in SPANS.items())
    about = "What it counts (per, where, subject, window) stays: for another, set a new limit."
    return Form(f"/limits/change?limit={row.id}", "Change", "Change limit", fields, about=about, others=tries)


def _fields(action: str, model: str, rate: str, warn_at: str, message: str, *, is_strict: bool) -> tuple[Field, ...]:
    return (
        Field("action", "When it is used up", action, kind="choice", options=ACTIONS, words=("action",)),
        Field("model", "Model to downgrade to", model, "for downgrade alone", words=("model", "downgrade")),
        Field("rate", "Calls a minute", rate, "for slowing down alone", "number", words=("rate", "throttle")),
        Field("warn_at", "Warn at", warn_at, "shares of the amount: 0.5, 0.8"),
        Field("message", "Message", message, "to the end customer; may use {amount} {used} {reset_at} {tier}",
              is_wide=True),
        Field("strict", "Strict", "yes" if is_strict else "", "never a cent above; calls without a bound are refused",
              "check", words=("strict",)),
    )  # fmt: skip


def _overrides(row: LimitRow) -> list[Form]:
    limit = row.limit
    if limit.subject is not None or limit.per == "all":
        return []
    fields = (
        Field("subject", "Whom", "", f"one {limit.per}, such as {'acme/u_7' if limit.per == 'user' else 'acme'}",
              is_required=True, words=("subject",)),
        Field("amount", "Amount", amount_text(limit.amount, limit.unit), "up or down", is_required=True,
              words=AMOUNT_WORDS),
    )  # fmt: skip
    return [Form(f"/limits/override?limit={row.id}", "Override for one", "Set override", fields)]


def _removal(row: LimitRow) -> Form:
    question = f"Remove “{sentence(row.limit)}”? Within a second it stops nobody. Its counts are gone for good."
    return Form(f"/limits/remove?limit={row.id}", "", "Remove", question=question)


def _stopped(visit: Visit, found: Mapping[str, Any]) -> Table:
    stops = found["limit"]["action"] in STOPS
    calls, spend = ("calls_stopped", "spend_stopped_usd") if stops else ("calls_beyond", "spend_beyond_usd")
    rows = [
        {
            "subject": row["subject"] or "all together",
            "calls": row["calls"],
            "met": row[calls],
            "met_spend": sums.usd(row[spend]),
            "spend": sums.usd(row["spend_usd"]),
            "first_at": row["first_at"],
        }
        for row in found["rows"]
    ]
    section = Section(title="Whom it would have met", columns=STOPPED, rows=rows)
    return table_of(section, visit.filters, "/limits", section.title, 9, is_whole=False)


LIMITS: Final = Page(
    "/limits", "analyst", "Limits", show, group="Control", key="i",
    actions=(
        Action("/limits/preview", "analyst", preview),
        Action("/limits/set", "admin", set_limit),
        Action("/limits/change", "admin", change),
        Action("/limits/override", "admin", override),
        Action("/limits/remove", "admin", remove),
    ),
)  # fmt: skip
