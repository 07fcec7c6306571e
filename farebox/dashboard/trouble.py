"""Errors as pages that say what is wrong and what to do, and as JSON for programs."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from farebox import errors
from farebox.dashboard.entrance import Entrance, NotLoggedIn, NotOurForm
from farebox.dashboard.paywall import NotPaid
from farebox.dashboard.rendering import Renderer

log: Final = logging.getLogger("farebox.dashboard")

STATUS_OF: Final[tuple[tuple[type[errors.FareboxError], int], ...]] = (
    (errors.NotFound, 404),
    (errors.AlreadyExists, 409),
    (errors.KeeperUnavailable, 503),
    (errors.LedgerError, 503),
    (errors.AlertsError, 503),
    (errors.QueryError, 400),
    (errors.FareboxError, 400),
)
"""First match wins, so that a subclass stands above its parent."""
TITLES: Final = {
    400: "This cannot be asked",
    401: "Log in first",
    402: "Buy access first",
    403: "Not for your role",
    404: "Nothing is here",
    405: "Not that way",
    409: "There is one already",
    413: "Too much at once",
    429: "Wait a moment",
    500: "Farebox failed to answer",
    503: "The ledger is not answering",
}
NOT_OUR_FORM: Final = "Send this form again"
WHAT_TO_DO: Final = {
    404: "Check the address, or begin with one of these pages.",
    500: "Its log says why: look at the output of `farebox serve`. Calls to providers are not affected.",
    503: "It may be restarting: calls still flow and are recorded. Try again in a moment; `farebox doctor` checks it.",
}


class Trouble:
    def __init__(self, renderer: Renderer, entrance: Entrance) -> None:
        self._renderer = renderer
        self._entrance = entrance

    def handlers(self) -> Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]:
        return {
            NotLoggedIn: self._log_in,
            NotPaid: self._buy,
            errors.FareboxError: self._farebox,
            HTTPException: self._http,
            Exception: self._unexpected,
        }

    async def _log_in(self, request: Request, error: Exception) -> Response:
        if _is_file(request) or request.method != "GET" or request.headers.get("x-live"):
            return await self._page(request, 401, "You are not logged in, or your session has ended: log in again.")
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(self._entrance.login_path(asked), 303)

    async def _buy(self, request: Request, error: Exception) -> Response:
        if _is_file(request) or request.method != "GET" or request.headers.get("x-live"):
            return await self._page(request, 402, "Access to this installation is sold, and nobody pays for it now.")
        return RedirectResponse("/pricing", 303)

    async def _farebox(self, request: Request, error: Exception) -> Response:
        status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), 400)
        return await self._page(request, status, str(error))

    async def _http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        plain = error.detail if error.status_code not in (404, 405) else f"There is no page {request.url.path}."
        title = NOT_OUR_FORM if isinstance(error, NotOurForm) else ""
        return await self._page(request, error.status_code, plain, title)

    async def _unexpected(self, request: Request, error: Exception) -> Response:
        """The outermost loop of a page: log it, tell the browser nothing of the inside."""
        log.error("request_failed path=%s", request.url.path, exc_info=error)
        return await self._page(request, 500, "An unexpected error stopped this page.")

    async def _page(self, request: Request, status: int, why: str, title: str = "") -> Response:
        if _is_file(request):
            body = msgspec.json.encode({"error": {"code": f"http_{status}", "message": why, "details": {}}})
            return Response(body, status, media_type="application/json")
        return self._renderer.bare(
            "error.html",
            status=status,
            theme=self._entrance.cookies.theme_of(request),
            title=title or TITLES.get(status, "This did not work"),
            code=status,
            why=why,
            what_to_do=WHAT_TO_DO.get(status, ""),
        )


def _is_file(request: Request) -> bool:
    return request.url.path.endswith((".json", ".csv"))
