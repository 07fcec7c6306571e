"""Limits: what each user, customer, tier or tag may spend."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.forms import LimitChange, LimitForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.control.questions import ask
from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS
from farebox.core.limit_text import read_limit
from farebox.directory.showing import limit_shown
from farebox.errors import QueryError

router = APIRouter(prefix="/api/v1/limits", tags=["limits"])

_FILTERS = {
    "per": "only limits per this dimension",
    "unit": "only limits in this unit",
    "window": "only limits of this window",
    "action": "only limits with this action",
    "removed": "true: removed ones, too",
}
_WHO = {
    **{name: f"this {name}" for name in DIMENSIONS},
    "key": "a key's id",
    **{name: f"calls to this {name}" for name in ("provider", "model")},
    "route": "calls by this route",
    "tag.NAME": "the value of a tag",
}
_FIELDS = ("per", "unit", "window", "action")


@router.post(
    "",
    dependencies=[needs("admin")],
    status_code=201,
    responses={200: {"description": "A limit that counts the same was there: it is changed and keeps its id."}},
)
def set_limit(request: Request, form: LimitForm) -> Response:
    """Set a limit: 201 where it is new. One that counts the same (per, where, subject, unit, window, time zone, and
    whether it stops calls) is changed to what is sent, and keeps its id: 200. What is left out is the default."""
    limits = parts_of(request).directory.limits
    row = limits.set(read_limit(form.model_dump(exclude_unset=True)), by=author(request))
    return Json(limit_shown(row), status_code=201 if row.is_new else 200)


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_limits(request: Request) -> Response:
    """Limits in force, oldest first."""
    query = asked(request, _FILTERS)
    if query.get("removed", "false") not in ("true", "false"):
        raise QueryError(f"removed is {query['removed'][:80]!r}: give true or false")
    wanted = {name: query[name] for name in _FIELDS if name in query}
    if "per" in wanted:
        wanted["per"] = NAMES.get(wanted["per"], wanted["per"])
    rows = [
        row
        for row in parts_of(request).directory.limits.list(removed=query.get("removed") == "true")
        if all(getattr(row.limit, name) == value for name, value in wanted.items())
    ]
    return paged(rows, query, lambda row: row.id, limit_shown)


@router.get("/explain", dependencies=[needs("analyst")], openapi_extra=parameters(_WHO))
async def explain_limits(request: Request) -> Response:
    """The limits that apply to these dimensions now: used, held and by which workers and calls, when that is free
    again, and what the next call would get and why."""
    dimensions: dict[str, str] = {}
    tags: dict[str, str] = {}
    for name, value in request.query_params.items():
        if name.startswith("tag."):
            tags[name[4:]] = value
        else:
            dimensions[name] = value
    return Json(await ask(parts_of(request), "limits_explain", {"dimensions": dimensions, "tags": tags}))


@router.get("/{limit_id}", dependencies=[needs("analyst")])
def get_limit(request: Request, limit_id: str) -> Response:
    """One limit; a removed one with `removed_at`."""
    return Json(limit_shown(parts_of(request).directory.limits.get(limit_id)))


@router.patch("/{limit_id}", dependencies=[needs("admin")])
def change_limit(request: Request, limit_id: str, change: LimitChange) -> Response:
    """Change what is sent; what is left out stays, null is the default. What a limit counts (per, where, subject, unit,
    window, time zone, anchor day) cannot be changed: make a new one."""
    limits = parts_of(request).directory.limits
    return Json(limit_shown(limits.change(limit_id, change.model_dump(exclude_unset=True), by=author(request))))


@router.delete("/{limit_id}", dependencies=[needs("admin")])
def remove_limit(request: Request, limit_id: str) -> Response:
    """End a limit for good, in force within a second."""
    return Json(limit_shown(parts_of(request).directory.limits.remove(limit_id, by=author(request))))
