"""Plans: what customers pay and get, from which day on."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from farebox.core.book_text import day
from farebox.dashboard import sums
from farebox.dashboard.forms import Field, Form, as_typed, given, pairs, written
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import PlanRow
from farebox.directory.showing import plan_shown
from farebox.errors import InvalidBooks
from farebox.reports.cells import named
from farebox.reports.report import Answer, Column
from farebox.reports.words import some

_TERMS: Final = (
    Column("price", "Price", "usd", "For each period."),
    Column("period", "Period"),
    Column("seats", "Seats", "count"),
    Column("included", "Included", hint="Units that the price includes, for each billing month."),
    Column("overage_price", "Beyond", hint="Dollars for each unit beyond what is included."),
    Column("expected_ai_cost", "Expected AI cost", "usd", "What AI may cost a month; alerts measure against it."),
    Column("other_cogs", "Other costs", "usd", "What serving a customer costs beside AI, a month."),
)
COLUMNS: Final = (
    Column("name", "Plan", door="/plans?plan={name}"),
    Column("customers", "Customers", "count", "On it today.", "/books?plan={name}"),
    *_TERMS,
)
VERSIONS: Final = (Column("valid_from", "From", "day"), *_TERMS, Column("entered_at", "Entered", "moment"))
PERIODS: Final = {"month": "a month", "year": "a year"}


async def show(visit: Visit) -> View:
    today = visit.parts.directory.today(visit.now_us)
    name = visit.filters.query.get("plan", "")
    if name:
        row = await visit.run(visit.parts.directory.plans.get, name)
        return _one(visit, row, plan_shown(row, today))
    rows = await visit.run(visit.parts.directory.plans.list)
    on = [row.plan_on(today) for row in await visit.run(visit.parts.directory.customers.list)]
    shown = [{**_row(plan_shown(row, today)), "customers": on.count(row.name)} for row in rows]
    held = sum(plan is not None for plan in on)
    sentence = f"{named(len(rows), 'plan')}; {some(held, 'customer is', 'customers are')} on one." if rows else (
        "No plan yet. A plan's name is also the tier of its customers' calls."
    )  # fmt: skip
    forms = [_form(None, {}, is_open=not rows)]
    more = {"managed": as_typed(visit, forms), "up": False}
    return View("Plans", Answer(sentence=sentence, columns=COLUMNS, rows=shown), template="manage.html", more=more,
                caption="As they read today", empty="Make the first plan above.")  # fmt: skip


async def set_plan(visit: Visit) -> Done:
    name = visit.filters.query.get("plan") or visit.form.get("name", "").strip()
    start = visit.form.get("valid_from", "").strip()
    from_day = day(start, "valid from") if start else None
    row = await visit.run(visit.parts.directory.plans.set, name, _written(visit.form), from_day, by=visit.by)
    return Done(_href(row.name), f"Plan {row.name} holds from {from_day or 'today'} on; earlier days keep what held.")


async def remove(visit: Visit) -> Done:
    row = await visit.run(visit.parts.directory.plans.remove, visit.filters.query.get("plan", ""), by=visit.by)
    return Done("/plans", f"Removed plan {row.name}; its history stays.")


def _one(visit: Visit, row: PlanRow, shown: Mapping[str, Any]) -> View:
    forms = [_form(row.name, shown, is_open=False)]
    if row.removed_at_us is None:
        question = f"Remove plan {row.name}? No customer can be put on it any more; its history stays."
        forms.append(Form(_href(row.name, "/plans/remove"), "", "Remove", question=question))
    versions = [_row(version) for version in reversed(shown["versions"])]
    answer = Answer(
        sentence=f"{named(len(versions), 'version')}; the newest that has begun holds.", columns=VERSIONS, rows=versions
    )
    more = {"managed": as_typed(visit, forms), "up": True}
    return View(row.name, answer, template="manage.html", more=more, caption="Versions")


def _form(name: str | None, had: Mapping[str, Any], *, is_open: bool) -> Form:
    fields = (
        *(() if name else (Field("name", "Name", "", "also the tier of its customers' calls", is_required=True),)),
        Field("price", "Price", _text(had, "price"), "dollars for each period: 29.00", "number"),
        Field("period", "Period", had.get("period") or "month", kind="choice", options=PERIODS),
        Field("seats", "Seats", _text(had, "seats"), "empty: not counted", "number"),
        Field("included", "Included", written(had.get("included") or {}), "units a month: analyses=100"),
        Field("overage_price", "Price beyond", written(had.get("overage_price") or {}), "dollars a unit: analyses=0.20",
              words=("overage",)),
        Field("expected_ai_cost", "Expected AI cost", _text(had, "expected_ai_cost"), "a customer, a month", "number"),
        Field("other_cogs", "Other costs", _text(had, "other_cogs"), "a customer, a month, beside AI", "number"),
        Field("valid_from", "Valid from", "", "empty: today. Earlier days keep what held", "date"),
    )  # fmt: skip
    if name is None:
        return Form("/plans/set", "Make a plan", "Make plan", fields, is_open=is_open)
    return Form(_href(name, "/plans/set"), "New version from a day", "Set version", fields)


def _written(form: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = given(form, "price", "period", "other_cogs", "expected_ai_cost")
    seats = form.get("seats", "").strip()
    found["seats"] = int(seats) if seats.isascii() and seats.isdecimal() else seats or None
    found["included"] = {
        unit: text if unit == "usd" else _count(unit, text) for unit, text in pairs(form.get("included", "")).items()
    }
    found["overage_price"] = dict(pairs(form.get("overage_price", "")))
    return found


def _count(unit: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InvalidBooks(f"included {unit} is a whole number, not {text[:40]!r}: write analyses=100")
    return int(text)


def _row(shown: Mapping[str, Any]) -> dict[str, Any]:
    usd = {name: sums.usd(shown.get(name)) for name in ("price", "expected_ai_cost", "other_cogs")}
    return {**shown, **usd}


def _text(had: Mapping[str, Any], name: str) -> str:
    return "" if had.get(name) is None else str(had[name])


def _href(name: str, path: str = "/plans") -> str:
    return f"{path}?{urlencode({'plan': name})}"


PLANS: Final = Page(
    "/plans", "analyst", "Plans", show, group="Customers",
    actions=(Action("/plans/set", "admin", set_plan), Action("/plans/remove", "admin", remove)),
)  # fmt: skip
