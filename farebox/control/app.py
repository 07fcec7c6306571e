"""The control plane's application, put together from its parts."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Receive, Scope, Send

from farebox import __version__
from farebox.control import (
    alerts,
    authorizing,
    channels,
    customers,
    entrance,
    events,
    health,
    keys,
    limits,
    metrics,
    otlp,
    plans,
    portal,
    prices,
    providers,
    questions,
    reports,
    routes,
    stripe_webhook,
    tokens,
)
from farebox.control.access import Access, FindToken, Needs, declared, key_finder, portal_finder, undeclared
from farebox.control.answers import handle_errors
from farebox.control.parts import Parts
from farebox.control.shield import Shield
from farebox.spans.families import Families

ROUTERS: Final[tuple[APIRouter, ...]] = (
    questions.router,
    events.router,
    otlp.router,
    authorizing.router,
    reports.router,
    keys.router,
    limits.router,
    routes.router,
    plans.router,
    portal.router,
    customers.router,
    stripe_webhook.router,
    alerts.router,
    channels.router,
    tokens.router,
    providers.router,
    prices.router,
    metrics.router,
    health.router,
    entrance.router,
)
OWN_PATHS: Final = ("/api/v1", "/api/webhooks", "/metrics", "/healthz", "/readyz")
"""What the API answers; every other path is a page."""
_ABOUT: Final = """What LLM calls cost, per customer, user, plan and feature.

Send an admin token as `Authorization: Bearer fba_…`; `farebox tokens create NAME --role analyst` makes one. The role \
that a route needs stands beside it; admin may do everything.

Lists are {"data": […], "next_cursor": null}; errors {"error": {"code", "message", "details"}}. Money is a decimal \
string in dollars, times are UTC."""


def create_app(parts: Parts, find_token: FindToken, clock_s: Callable[[], float]) -> FastAPI:
    """The application. Raises RuntimeError if a route does not declare who may call it."""
    app = FastAPI(
        title="Farebox API",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    app.state.families = Families()
    finders = key_finder(parts.directory, parts.now_us), portal_finder(parts.directory, parts.now_us)
    app.state.access = Access(find_token, clock_s, *finders)
    for router in ROUTERS:
        app.include_router(router)
    handle_errors(app)
    app.add_middleware(Shield)
    if open_routes := undeclared(app):
        raise RuntimeError(f"routes that declare no role: {', '.join(open_routes)}")
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


class Joined:
    """API and pages on one port. Each has its own way in, its own errors and its own headers."""

    def __init__(self, api: ASGIApp, pages: ASGIApp) -> None:
        self._api = api
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_own = any(path == own or path.startswith(own + "/") for own in OWN_PATHS)
        await (self._api if is_own else self._pages)(scope, receive, send)


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the role that each route needs."""
    if app.openapi_schema is None:
        spec = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        spec.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for route in iter_route_contexts(app.routes):
            need = declared(route)
            for method in route.methods or ():
                operation = spec["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None and isinstance(need, Needs):
                    operation["security"] = [{"token": []}]
                    operation["x-farebox-role"] = need.role
        app.openapi_schema = spec
    return app.openapi_schema
