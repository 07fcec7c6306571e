"""Routes: names that stand for several targets, and how those fare."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.forms import RouteChange, RouteForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.core.routes import Route, changed_route, read_route
from farebox.directory.routes import RouteRow, checked_removal, checked_targets
from farebox.directory.showing import route_shown
from farebox.telemetry import read_targets

router = APIRouter(prefix="/api/v1/routes", tags=["routes"])


@router.post(
    "",
    dependencies=[needs("admin")],
    status_code=201,
    responses={200: {"description": "A route of that name was there: it is changed to what is sent."}},
)
def set_route(request: Request, form: RouteForm) -> Response:
    """Set a route: 201 where it is new, else 200. What is left out is the default. In force within a second. One of
    the settings' file is set aside by one of the same name here."""
    written = form.model_dump(exclude_unset=True)
    row = _set(request, read_route(written.pop("name"), written))
    return Json(_shown(request, row), status_code=201 if row.changed_at_us == row.created_at_us else 200)


def _set(request: Request, route: Route) -> RouteRow:
    parts = parts_of(request)
    checked = checked_targets(route, parts.directory.providers.known(parts.settings))
    return parts.directory.routes.set(checked, by=author(request))


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters({}))
def list_routes(request: Request) -> Response:
    """Routes by name, those of the settings too, each with how its targets fare: calls and failures since the workers
    started, time to the first byte, how many workers leave it alone."""
    parts = parts_of(request)
    rows = sorted(parts.directory.routes.in_force(parts.settings.route_table).items())
    health = read_targets(parts.run_dir)
    return paged(
        [row for _, row in rows], asked(request), lambda row: row.route.name, lambda row: route_shown(row, health)
    )


@router.get("/{name}", dependencies=[needs("analyst")])
def get_route(request: Request, name: str) -> Response:
    """One route, with how its targets fare."""
    return Json(_shown(request, _found(request, name)))


@router.patch("/{name}", dependencies=[needs("admin")])
def change_route(request: Request, name: str, change: RouteChange) -> Response:
    """Change what is sent; what is left out stays, null is the default."""
    changed = changed_route(_found(request, name).route, change.model_dump(exclude_unset=True))
    return Json(_shown(request, _set(request, changed)))


@router.delete("/{name}", dependencies=[needs("admin")])
def remove_route(request: Request, name: str) -> Response:
    """End a route. One that the settings say too is what they say from then on."""
    checked_removal(_found(request, name))
    return Json(_shown(request, parts_of(request).directory.routes.remove(name, by=author(request))))


def _found(request: Request, name: str) -> RouteRow:
    parts = parts_of(request)
    return parts.directory.routes.get(name, parts.settings.route_table)


def _shown(request: Request, row: RouteRow) -> dict[str, Any]:
    return route_shown(row, read_targets(parts_of(request).run_dir))
