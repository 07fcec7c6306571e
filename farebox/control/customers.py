"""Customers: who pays, on which plan, and how much. Revenue is only ever added to."""

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json, first_problem, page
from farebox.control.book_forms import TENANT_CHARS_MAX, CustomerChange, CustomerForm, ImportForm, LineForm, RevenueForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.core import asking
from farebox.core.book_text import amount, month
from farebox.core.statements import Booking, Statement, read_statement
from farebox.directory.customers import Took
from farebox.directory.rows import CustomerRow
from farebox.directory.showing import customer_shown, entry_shown, months_shown
from farebox.errors import FareboxError, InvalidBooks, QueryError

router = APIRouter(prefix="/api/v1/customers", tags=["customers"])

_FILTERS = {
    "plan": "only customers on this plan today",
    "source": "only customers that came by this utm_source",
    "removed": "true: removed ones, too",
}
_AS_OF = {"as_of": "as it was known by this moment"}


@router.post(
    "",
    dependencies=[needs("admin")],
    status_code=201,
    responses={200: {"description": "The customer was known: it is changed in what is sent."}},
)
def set_customer(request: Request, form: CustomerForm) -> Response:
    """Set a customer: 201 where it is new, else 200. What is left out stays, null is the default; a removed one comes
    back. In force for its calls within a second."""
    statement = read_statement(form.model_dump(exclude_unset=True))
    row = parts_of(request).directory.customers.set(statement, by=author(request))
    return Json(_shown(request, row), status_code=201 if row.is_new else 200)


@router.post("/import", dependencies=[needs("admin")])
def import_customers(request: Request, form: ImportForm) -> Response:
    """Take many customers and their revenue, each line whole or not at all; the same again changes nothing. Answers a
    line each: `created`, `changed`, `booked` entries, or an `error`."""
    read = [_read(line) for line in form.lines]
    failed = any(isinstance(each, Took) for each in read)
    statements = [each for each in read if isinstance(each, Statement)]
    customers = parts_of(request).directory.customers
    whole = form.all_or_none
    taken = iter(customers.take(statements, by=author(request), all_or_none=whole, only_tried=whole and failed))
    done = [each if isinstance(each, Took) else next(taken) for each in read]
    return page([_took(each) for each in done])


def _read(line: object) -> Statement | Took:
    try:
        return read_statement(LineForm.model_validate(line).model_dump(exclude_unset=True), "csv")
    except ValidationError as error:
        return Took(_tenant(line), error=InvalidBooks(first_problem(error.errors())))
    except InvalidBooks as error:
        return Took(_tenant(line), error=error)


def _tenant(line: object) -> str:
    named = line.get("tenant") if isinstance(line, dict) else None
    return named.strip()[:TENANT_CHARS_MAX] if isinstance(named, str) else ""


def _took(took: Took) -> dict[str, object]:
    error: FareboxError | None = took.error
    return {
        "tenant": took.tenant,
        "created": took.is_new,
        "changed": took.changed,
        "booked": took.booked,
        "error": None if error is None else str(error),
    }


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_customers(request: Request) -> Response:
    """Customers by tenant, each as it stands today."""
    query = asked(request, _FILTERS)
    if query.get("removed", "false") not in ("true", "false"):
        raise QueryError(f"removed is {query['removed'][:80]!r}: give true or false")
    parts = parts_of(request)
    today = parts.directory.today(parts.now_us())
    rows = [
        row
        for row in parts.directory.customers.list(removed=query.get("removed") == "true")
        if query.get("plan", row.plan_on(today)) == row.plan_on(today)
        and query.get("source", row.spec.source) == row.spec.source
    ]
    return paged(rows, query, lambda row: row.tenant, lambda row: customer_shown(row, today))


# A tenant's name may hold slashes, so the routes with more behind it come first.


@router.get("/{tenant:path}/revenue", dependencies=[needs("analyst")], openapi_extra=parameters(_AS_OF))
def list_revenue(request: Request, tenant: str) -> Response:
    """What was booked, oldest first; in `meta` what each month comes to, with what its plans say where nothing was
    booked, and adjustments of closed months."""
    query = asked(request, _AS_OF)
    parts = parts_of(request)
    now_us = parts.now_us()
    as_of_us = asking.instant(query["as_of"], now_us) if "as_of" in query else now_us
    parts.directory.customers.get(tenant)
    books = parts.directory.books(min(as_of_us, now_us))
    customer = books.customers.get(tenant)
    entries = [] if customer is None else list(customer.entries)
    meta = {"months": [] if customer is None else months_shown(books, customer)}
    return paged(entries, query, lambda entry: f"{entry.source} {entry.external_id}", entry_shown, meta)


@router.post(
    "/{tenant:path}/revenue",
    dependencies=[needs("admin")],
    status_code=201,
    responses={200: {"description": "An entry of that external_id was booked before."}},
)
def book_revenue(request: Request, tenant: str, form: RevenueForm) -> Response:
    """Book revenue for a month: 201, or 200 where `external_id` was booked before. A correction is a further entry,
    which may be negative. What comes more than three days after a month's end counts in the month in which it comes."""
    booking = Booking(month(form.month), amount(form.amount, "amount"), "api", form.external_id)
    entry, is_new = parts_of(request).directory.customers.book(tenant, booking, by=author(request))
    return Json(entry_shown(entry), status_code=201 if is_new else 200)


@router.get("/{tenant:path}", dependencies=[needs("analyst")])
def get_customer(request: Request, tenant: str) -> Response:
    """One customer; a removed one with `removed_at`."""
    return Json(_shown(request, parts_of(request).directory.customers.get(tenant)))


@router.patch("/{tenant:path}", dependencies=[needs("admin")])
def change_customer(request: Request, tenant: str, change: CustomerChange) -> Response:
    """Change what is sent; what is left out stays, null is the default."""
    statement = read_statement({"tenant": tenant, **change.model_dump(exclude_unset=True)})
    row = parts_of(request).directory.customers.set(statement, by=author(request), must_exist=True)
    return Json(_shown(request, row))


@router.delete("/{tenant:path}", dependencies=[needs("admin")])
def remove_customer(request: Request, tenant: str) -> Response:
    """From today on it is on no plan and no customer any more; its history stays."""
    return Json(_shown(request, parts_of(request).directory.customers.remove(tenant, by=author(request))))


def _shown(request: Request, row: CustomerRow) -> dict[str, object]:
    parts = parts_of(request)
    return customer_shown(row, parts.directory.today(parts.now_us()))
