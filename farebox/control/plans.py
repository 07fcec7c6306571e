"""Plans: what customers pay and get, from which day on."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.book_forms import PlanChange, PlanForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.core.book_text import day
from farebox.directory.rows import PlanRow
from farebox.directory.showing import plan_shown
from farebox.errors import QueryError

router = APIRouter(prefix="/api/v1/plans", tags=["plans"])

_FILTERS = {"removed": "true: removed ones, too"}


@router.post(
    "",
    dependencies=[needs("admin")],
    status_code=201,
    responses={200: {"description": "A plan of that name was there: it is changed from that day on."}},
)
def set_plan(request: Request, form: PlanForm) -> Response:
    """Set a plan: 201 where it is new, else 200. What is left out stays as it reads on `valid_from`; earlier days keep
    what held then."""
    return _set(request, form.name, form.model_dump(exclude_unset=True))


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_plans(request: Request) -> Response:
    """Plans by name, each as it reads today, with all its versions."""
    query = asked(request, _FILTERS)
    if query.get("removed", "false") not in ("true", "false"):
        raise QueryError(f"removed is {query['removed'][:80]!r}: give true or false")
    rows = parts_of(request).directory.plans.list(removed=query.get("removed") == "true")
    return paged(rows, query, lambda row: row.name, lambda row: _shown(request, row))


@router.get("/{name}", dependencies=[needs("analyst")])
def get_plan(request: Request, name: str) -> Response:
    """One plan; a removed one with `removed_at`."""
    return Json(_shown(request, parts_of(request).directory.plans.get(name)))


@router.patch("/{name}", dependencies=[needs("admin")])
def change_plan(request: Request, name: str, change: PlanChange) -> Response:
    """Change a plan from `valid_from` on (today unless said): what is left out stays, null is the default."""
    parts_of(request).directory.plans.get(name)
    return _set(request, name, change.model_dump(exclude_unset=True))


@router.delete("/{name}", dependencies=[needs("admin")])
def remove_plan(request: Request, name: str) -> Response:
    """End a plan that no customer is on; its history stays."""
    return Json(_shown(request, parts_of(request).directory.plans.remove(name, by=author(request))))


def _set(request: Request, name: str, given: dict[str, Any]) -> Response:
    given.pop("name", None)
    valid_from = given.pop("valid_from", None)
    from_day = None if valid_from is None else day(valid_from, "valid_from")
    row = parts_of(request).directory.plans.set(name, given, from_day, by=author(request))
    return Json(_shown(request, row), status_code=201 if row.is_new and request.method == "POST" else 200)


def _shown(request: Request, row: PlanRow) -> dict[str, object]:
    parts = parts_of(request)
    return plan_shown(row, parts.directory.today(parts.now_us()))
