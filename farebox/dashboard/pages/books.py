"""Books: who pays, on which plan, and how much; entered here, or taken from a file."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from farebox.core import customer_csv
from farebox.core.book_text import amount, month
from farebox.core.statements import Booking, read_statement
from farebox.dashboard import sums
from farebox.dashboard.forms import Field, Form, as_typed, given, pairs, written
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.dashboard.tables import table_of
from farebox.directory.customers import Took
from farebox.directory.rows import CustomerRow
from farebox.directory.showing import customer_shown, entry_shown, months_shown
from farebox.errors import InvalidBooks, NotFound
from farebox.reports.report import Answer, Column, Section
from farebox.reports.words import some

COLUMNS: Final = (
    Column("tenant", "Customer", door="/books?customer={tenant}"),
    Column("name", "Name"),
    Column("plan", "Plan", door="/plans?plan={plan}"),
    Column("started_on", "Since", "day"),
    Column("source", "Source"),
    Column("campaign", "Campaign"),
    Column("owner_email", "Owner"),
    Column("changed_at", "Changed", "moment"),
)
MONTHS: Final = (
    Column("month", "Month", "month", door="/reports/statement?tenant={tenant}&month={month}"),
    Column("revenue", "Revenue", "usd", "What was booked, else what its plans ask."),
    Column("closed", "State", "flag", "A month closes three days after its end; what comes later is an adjustment."),
)
ENTRIES: Final = (
    Column("month", "Month", "month"),
    Column("amount", "Amount", "usd"),
    Column("source", "Source"),
    Column("external_id", "Its id"),
    Column("booked_at", "Booked", "moment"),
)
HELD: Final = (Column("from", "From", "day"), Column("plan", "Plan"), Column("entered_at", "Entered", "moment"))
LINES: Final = (Column("line", "Line", "count"), Column("tenant", "Customer"), Column("error", "What is wrong"))
ERRORS_MAX: Final = 200
NONE: Final = "(none)"


async def show(visit: Visit) -> View:
    customer = visit.filters.query.get("customer", "")
    if customer:
        return await visit.run(_one, visit, customer)
    today = visit.parts.directory.today(visit.now_us)
    rows = [customer_shown(row, today) for row in await visit.run(visit.parts.directory.customers.list)]
    plan = visit.filters.query.get("plan")
    rows = [row for row in rows if plan is None or row["plan"] == plan]
    plans = await visit.run(_plans, visit)
    forms = [
        Form("/books/set", "Enter a customer", "Enter customer", (
            Field("tenant", "Customer", visit.filters.query.get("enter", ""), "as calls name it", is_required=True,
                  words=("tenant",)),
            *_fields({}), *_plan_fields(plans),
        ), is_open=bool(visit.filters.query.get("enter"))),
        Form("/books/import", "Import a CSV file", "Import", (
            Field("file", "File", kind="file", is_required=True,
                  hint="columns such as tenant, name, plan, started_on, utm_source, month, revenue; at most 1 MB, "
                  "larger ones by `farebox import`"),
            Field("all_or_none", "Take nothing where any line has an error", kind="check"),
        ), about="The same file again changes nothing. Any other column is an attribute of its name."),
    ]  # fmt: skip
    count = some(len(rows), "customer is", "customers are")
    sentence = f"{count} on plan {plan}." if plan is not None else f"{count} in the books."
    answer = Answer(sentence=sentence, columns=COLUMNS, rows=rows)
    more = {"managed": as_typed(visit, forms), "up": False}
    return View("Books", answer, template="manage.html", more=more, caption="Customers",
                empty="Nobody is entered: margins need to know who pays. Enter one, or import a file.")  # fmt: skip


async def set_customer(visit: Visit) -> Done:
    customer = visit.filters.query.get("customer", "")
    row = await visit.run(_set, visit, customer)
    return Done(_href(row.tenant), f"{row.tenant} is {'changed' if customer else 'entered'}.")


async def subscribe(visit: Visit) -> Done:
    tenant = visit.filters.query.get("customer", "")
    statement = read_statement({"tenant": tenant, **_plan(visit.form)})
    row = await visit.run(visit.parts.directory.customers.set, statement, by=visit.by, must_exist=True)
    plan = statement.plan or "no plan"
    return Done(_href(row.tenant), f"{tenant} is on {plan} from {statement.plan_from or 'today'} on.")


async def book(visit: Visit) -> Done:
    tenant, form = visit.filters.query.get("customer", ""), visit.form
    booking = Booking(
        month(form.get("month", "")), amount(form.get("amount", ""), "amount"), "manual",
        form.get("external_id", "").strip() or None,
    )  # fmt: skip
    entry, is_new = await visit.run(visit.parts.directory.customers.book, tenant, booking, by=visit.by)
    return Done(_href(tenant), f"Booked for {entry.month}." if is_new else "That entry was booked before.")


async def remove(visit: Visit) -> Done:
    tenant = visit.filters.query.get("customer", "")
    await visit.run(visit.parts.directory.customers.remove, tenant, by=visit.by)
    return Done("/books", f"{tenant} is no customer from today on; its history stays.")


async def take(visit: Visit) -> View:
    """Import a file: what was taken, and each line that was not, with what to write instead."""
    content = visit.files.get("file")
    if content is None:
        raise InvalidBooks("choose a file: a table saved as 'CSV UTF-8'")
    lines, taken = await visit.run(_take, visit, content, bool(visit.form.get("all_or_none")))
    wrong = [{"line": n, "tenant": tenant, "error": error} for n, tenant, error in lines]
    done = [took for took in taken if took.error is None]
    counts = sum(took.is_new for took in done), sum(took.changed for took in done), sum(took.booked for took in done)
    new, changed, booked = counts
    text = (
        f"{some(new, 'customer is', 'customers are')} new, {changed} changed, "
        f"{some(booked, 'entry of revenue is', 'entries of revenue are')} booked"
    )
    if wrong:
        text = f"{some(len(wrong), 'line has errors', 'lines have errors')}: " + (text if done else "nothing was taken")
    section = Section(title="Lines with errors", columns=LINES, rows=wrong[:ERRORS_MAX])
    table = table_of(section, visit.filters, "/books", section.title, 9, is_whole=False)
    shown = {"title": "Import", "sentence": f"{text}.", "table": table if wrong else None, "notes": ()}
    again = Visit(visit.parts, visit.viewer, "/books", visit.names, visit.filters)
    view = await show(again)
    return View(view.title, view.answer, template=view.template, more={**view.more, "preview": shown},
                caption=view.caption, empty=view.empty)  # fmt: skip


def _take(visit: Visit, content: bytes, all_or_none: bool) -> tuple[list[tuple[int, str, str]], list[Took]]:
    """(lines with errors, what was taken). Blocks; raises InvalidBooks for a file that cannot be read."""
    lines = list(customer_csv.lines(content))
    wrong = [(line.number, str(line.written.get("tenant", "")), str(line.error)) for line in lines if line.error]
    good = [line for line in lines if line.statement is not None]
    if wrong and all_or_none:
        return wrong, []
    statements = [line.statement for line in good if line.statement is not None]
    taken = visit.parts.directory.customers.take(statements, by=visit.by, all_or_none=all_or_none)
    wrong += [
        (line.number, took.tenant, str(took.error)) for line, took in zip(good, taken, strict=False) if took.error
    ]
    undone = all_or_none and any(took.error for took in taken)
    return sorted(wrong), [] if undone else taken


def _set(visit: Visit, customer: str) -> CustomerRow:
    customers, form = visit.parts.directory.customers, visit.form
    tenant = customer or form.get("tenant", "").strip()
    said: dict[str, Any] = given(
        form, "name", "owner_email", "started_on", "billing_anchor", "source", "medium", "campaign"
    )
    had = customers.get(customer).spec.attributes if customer else {}
    said["attributes"] = {**dict.fromkeys(had, ""), **pairs(form.get("attributes", ""))}
    if form.get("plan"):
        said |= _plan(form)
    statement = read_statement({"tenant": tenant, **said})
    return customers.set(statement, by=visit.by, must_exist=bool(customer))


def _plan(form: Mapping[str, str]) -> dict[str, Any]:
    plan = form.get("plan", "")
    return {"plan": None if plan in ("", NONE) else plan, "plan_from": form.get("plan_from", "").strip() or None}


def _plans(visit: Visit) -> list[str]:
    return [row.name for row in visit.parts.directory.plans.list()]


def _one(visit: Visit, tenant: str) -> View:
    directory = visit.parts.directory
    try:
        row = directory.customers.get(tenant)
    except NotFound:
        return _unknown(visit, tenant)
    shown = customer_shown(row, directory.today(visit.now_us))
    books = directory.books(visit.now_us)
    customer = books.customers.get(tenant)
    months = [] if customer is None else months_shown(books, customer)
    entries = [] if customer is None else [entry_shown(entry) for entry in reversed(customer.entries)]
    answer = Answer(
        sentence=f"{shown['name'] or tenant} is on {'plan ' + str(shown['plan']) if shown['plan'] else 'no plan'}.",
        columns=MONTHS,
        rows=[{"tenant": tenant, "month": each["month"], "revenue": sums.usd(each["revenue"]),
               "closed": "closed" if each["closed"] else "open"} for each in reversed(months)],
        sections=(
            Section(title="Plans it was on", columns=HELD, rows=list(reversed(shown["subscriptions"]))),  # type: ignore[call-overload]
            Section(title="Booked", columns=ENTRIES,
                    rows=[{**entry, "amount": sums.usd(entry["amount"])} for entry in entries]),
        ),
    )  # fmt: skip
    more = {"managed": as_typed(visit, _forms(row, shown, _plans(visit))), "up": True}
    return View(tenant, answer, template="manage.html", more=more, caption="Revenue by month")


def _unknown(visit: Visit, tenant: str) -> View:
    form = Form("/books/set", f"Enter {tenant}", "Enter customer", (
        Field("tenant", "Customer", tenant, "as calls name it", is_required=True), *_fields({}),
        *_plan_fields(_plans(visit)),
    ), is_open=True)  # fmt: skip
    answer = Answer(sentence=f"{tenant} is not in the books: its revenue is not known.", columns=MONTHS, rows=[])
    return View(tenant, answer, template="manage.html", more={"managed": as_typed(visit, [form]), "up": True},
                caption="Revenue by month", empty="Nothing is known.")  # fmt: skip


def _forms(row: CustomerRow, shown: Mapping[str, Any], plans: list[str]) -> list[Form]:
    tenant = row.tenant
    fields = (
        Field("month", "Month", "", "2026-11", is_required=True),
        Field("amount", "Amount", "", "dollars; a correction may be negative", "number", is_required=True),
        Field("external_id", "Its id", "", "your own, such as an invoice's: the same id is booked once"),
    )
    question = f"Remove {tenant} from the books? From today on it is on no plan; its history stays."
    return [
        Form(_href(tenant, "/books/set"), "Change", "Change customer", _fields(shown)),
        Form(_href(tenant, "/books/plan"), "Plan from a day", "Set plan", _plan_fields(plans, shown.get("plan"))),
        Form(_href(tenant, "/books/revenue"), "Book revenue", "Book", fields),
        *([Form(_href(tenant, "/books/remove"), "", "Remove", question=question)] if row.removed_at_us is None else ()),
    ]


def _fields(had: Mapping[str, Any]) -> tuple[Field, ...]:
    text = {name: "" if value is None else str(value) for name, value in had.items()}
    return (
        Field("name", "Name", text.get("name", "")),
        Field("owner_email", "Owner's e-mail", text.get("owner_email", ""), "channels that tell the owner write to it",
              words=("e-mail",)),
        Field("started_on", "Customer since", text.get("started_on", ""), kind="date"),
        Field("billing_anchor", "Billing day", text.get("billing_anchor", ""), "day of the month, 1 to 31", "number"),
        Field("source", "Source", text.get("source", ""), "utm_source"),
        Field("medium", "Medium", text.get("medium", ""), "utm_medium"),
        Field("campaign", "Campaign", text.get("campaign", ""), "utm_campaign"),
        Field("attributes", "Attributes", written(had.get("attributes") or {}), "region=eu, size=large"),
    )  # fmt: skip


def _plan_fields(plans: list[str], now: str | None = None) -> tuple[Field, ...]:
    options = {NONE: "no plan", **{name: name for name in plans}}
    return (
        Field("plan", "Plan", now or NONE, kind="choice", options=options),
        Field("plan_from", "Since", "", "empty: from its start, or today", "date", words=("plan from",)),
    )


def _href(tenant: str, path: str = "/books") -> str:
    return f"{path}?{urlencode({'customer': tenant})}"


BOOKS: Final = Page(
    "/books", "analyst", "Books", show, group="Customers", key="b",
    actions=(
        Action("/books/set", "admin", set_customer),
        Action("/books/plan", "admin", subscribe),
        Action("/books/revenue", "admin", book),
        Action("/books/remove", "admin", remove),
        Action("/books/import", "admin", take),
    ),
)  # fmt: skip
