"""The portal: a page on which a customer sees its own usage, by a signed link, without a login.

An application of its own: no error of it leads into the dashboard, and no cookie is read or set.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from farebox.core.events import iso_us
from farebox.dashboard.entrance import address_of
from farebox.dashboard.parts import Parts
from farebox.dashboard.rendering import Renderer
from farebox.directory.rows import PortalRow
from farebox.errors import FareboxError
from farebox.portal.pace import Pace
from farebox.portal.usage import Shop, units_named

log: Final = logging.getLogger("farebox.dashboard")
VIEWS_PER_MINUTE: Final = 60
"""Answers to one link."""
FAILURES_PER_MINUTE: Final = 30
"""Links that are none, of one address; a good link is answered whatever its address has tried."""
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'none'; base-uri 'none'; "
_GONE: Final = (
    404,
    "This link does not work",
    "It may have expired, been withdrawn or been copied in part. Ask whoever gave it to you for a new one, or open the "
    "page again from where you found it.",
)
_OFTEN: Final = 429, "Wait a moment", "This page was opened very often. Try again in a minute."
_FAILED: Final = 503, "Usage cannot be shown now", "Nothing is lost: it is still counted. Try again in a moment."


class Portal:
    def __init__(self, parts: Parts, renderer: Renderer) -> None:
        self._parts = parts
        self._renderer = renderer
        self._shop = Shop(parts.keeper, parts.directory, parts.settings)
        self._views = Pace(VIEWS_PER_MINUTE, time.monotonic)
        self._failures = Pace(FAILURES_PER_MINUTE, time.monotonic)

    def app(self) -> Starlette:
        routes = [
            Route("/{token}.json", self._json, methods=["GET"]),
            Route("/{token}", self._html, methods=["GET"]),
        ]
        handlers: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
            HTTPException: self._nothing,
            FareboxError: self._failed,
            Exception: self._failed,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _html(self, request: Request) -> Response:
        row = await self._link(request)
        if isinstance(row, tuple):
            return self._said(request, row)
        answer = await self._answer(row)
        response = self._renderer.bare("portal.html", answer=answer, units=units_named(answer))
        return self._sent(response, row)

    async def _json(self, request: Request) -> Response:
        row = await self._link(request)
        if isinstance(row, tuple):
            return self._said(request, row)
        response = Response(msgspec.json.encode(await self._answer(row)), media_type="application/json")
        response.headers["vary"] = "origin"
        if (origin := request.headers.get("origin", "")) and origin in row.origins:
            response.headers["access-control-allow-origin"] = origin
        return self._sent(response, row)

    async def _link(self, request: Request) -> PortalRow | tuple[int, str, str]:
        """The link that was asked for, or what to say in place of its page: the same for any that is none."""
        token, now_us = str(request.path_params["token"]), self._parts.now_us()
        row = await run_in_threadpool(self._parts.directory.portal_tokens.verify, token, now_us)
        if row is None:
            return _GONE if self._failures.allows(address_of(request)) else _OFTEN
        return row if self._views.allows(row.id) else _OFTEN

    async def _answer(self, row: PortalRow) -> dict[str, Any]:
        is_alone = row.user is not None
        answer = await self._shop.usage(row.tenant, row.user, self._parts.now_us(), is_alone=is_alone)
        return {**answer, "until": iso_us(row.expires_at_us)}

    async def _nothing(self, request: Request, _error: Exception) -> Response:
        return self._said(request, _GONE)

    async def _failed(self, request: Request, error: Exception) -> Response:
        """Whatever went wrong inside is logged, and not a customer's to know."""
        log.error("portal_failed", exc_info=None if isinstance(error, FareboxError) else error)
        return self._said(request, _FAILED)

    def _said(self, request: Request, said: tuple[int, str, str]) -> Response:
        status, title, why = said
        if request.url.path.endswith(".json"):
            body = {"error": {"code": f"http_{status}", "message": f"{title}. {why}", "details": {}}}
            response = Response(msgspec.json.encode(body), status, media_type="application/json")
        else:
            response = self._renderer.bare("portal_said.html", status=status, title=title, why=why)
        if status != _GONE[0]:
            response.headers["retry-after"] = "60"
        return self._sent(response, None)

    def _sent(self, response: Response, row: PortalRow | None) -> Response:
        sites = (row.origins if row else ()) or self._parts.settings.portal.frame_ancestors or ("'none'",)
        response.headers["content-security-policy"] = f"{_POLICY}frame-ancestors {' '.join(sites)}"
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["x-robots-tag"] = "noindex, nofollow"
        return response
