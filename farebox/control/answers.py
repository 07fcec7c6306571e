"""How the API answers: one shape for lists, one for errors."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from farebox import errors

log = logging.getLogger("farebox.control")
_encoder = msgspec.json.Encoder()

LIST_MAX: Final = 1000
STATUS_OF: Final[tuple[tuple[type[errors.FareboxError], int, str], ...]] = (
    (errors.NotFound, 404, "not_found"),
    (errors.AlreadyExists, 409, "already_exists"),
    (errors.KeeperUnavailable, 503, "keeper_unavailable"),
    (errors.QueryError, 400, "invalid_query"),
    (errors.InvalidEvent, 400, "invalid_event"),
    (errors.InvalidSpans, 400, "invalid_spans"),
    (errors.InvalidMoney, 400, "invalid_money"),
    (errors.PriceSheetError, 400, "invalid_price"),
    (errors.InvalidLimit, 400, "invalid_limit"),
    (errors.InvalidRoute, 400, "invalid_route"),
    (errors.InvalidAlert, 400, "invalid_alert"),
    (errors.InvalidBooks, 400, "invalid_books"),
    (errors.AlertsError, 503, "alerts_unavailable"),
    (errors.SettingsError, 400, "invalid_setting"),
    (errors.DirectoryError, 400, "invalid_request"),
    (errors.LedgerError, 503, "ledger_unavailable"),
)
"""First match wins, so that a subclass stands above its parent."""
UNREADABLE: Final = (
    "the body cannot be read: send JSON in UTF-8, nested a few levels, with numbers of a few digits (an amount as text)"
)
_CODES: Final = {
    400: "invalid_request",
    401: "invalid_token",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


class ApiError(Exception):
    """An answer other than 2xx. `details` are for programs, `message` is for a person."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = dict(details or {}), dict(headers or {})


class Json(Response):
    """JSON by msgspec: structs, Decimals (as strings) and datetimes as they are."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return _encoder.encode(content)


def page(rows: Sequence[object], next_cursor: str | None = None, meta: Mapping[str, object] | None = None) -> Json:
    """A list as every list route answers it."""
    body: dict[str, object] = {"data": rows, "next_cursor": next_cursor}
    if meta is not None:
        body["meta"] = meta
    return Json(body)


def problem(error: ApiError) -> Json:
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    return Json(body, status_code=error.status, headers=error.headers)


def of_farebox(error: errors.FareboxError) -> ApiError:
    """The answer to an error that a lower floor raised."""
    for kind, status, code in STATUS_OF:
        if isinstance(error, kind):
            return ApiError(status, code, str(error), headers={"retry-after": "1"} if status == 503 else None)
    return ApiError(500, "internal_error", str(error))


def of_http(error: HTTPException) -> ApiError:
    """Errors that the routing itself raises: no such path, no such method."""
    if error.status_code == 400 and error.__cause__ is not None:  # raised from what reading the body raised
        return ApiError(400, "invalid_request", UNREADABLE)
    code = _CODES.get(error.status_code, "http_error")
    hint = "; /api/v1/docs lists what there is" if error.status_code in (404, 405) else ""
    return ApiError(error.status_code, code, f"{error.detail}{hint}", headers=error.headers)


def of_validation(error: RequestValidationError) -> ApiError:
    """A body or parameter of the wrong shape. Values are left out of the answer: one could be a secret."""
    problems = error.errors()
    found = [{"where": ".".join(str(step) for step in item["loc"]), "problem": str(item["msg"])} for item in problems]
    return ApiError(422, "invalid_request", first_problem(problems), {"problems": found})


def first_problem(problems: Sequence[Mapping[str, Any]]) -> str:  # Any: as pydantic tells them
    """What is wrong first, without the value that is."""
    if not problems:
        return UNREADABLE
    first = problems[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    steps = [str(step) for step in first["loc"]]
    named = steps[1:] if steps[:1] == ["body"] and len(steps) > 1 else steps
    return f"{'.'.join(named) or 'the line'}: {first['msg']}"


def handle_errors(app: FastAPI) -> None:
    """Every error leaves in the one error shape."""

    def handler(of: Callable[..., ApiError]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(_request: Request, error: Exception) -> Response:
            return problem(of(error))

        return answer

    app.add_exception_handler(ApiError, handler(lambda error: error))
    app.add_exception_handler(errors.FareboxError, handler(of_farebox))
    app.add_exception_handler(HTTPException, handler(of_http))
    app.add_exception_handler(RequestValidationError, handler(of_validation))
    app.add_exception_handler(Exception, _unexpected)


async def _unexpected(request: Request, error: Exception) -> Response:
    """The outermost loop of this process: log it, tell the caller nothing of the inside."""
    log.error("request_failed path=%s", request.url.path, exc_info=error)
    return problem(ApiError(500, "internal_error", "Farebox failed to answer; its log says why"))
