"""Liveness and readiness of the control plane, on the port of its own (`server.control_listen`)."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import public
from farebox.control.answers import Json
from farebox.control.parts import Parts, parts_of
from farebox.errors import FareboxError

router = APIRouter(tags=["health"])

PING_TIMEOUT_S: Final = 2
_READ_BY_MACHINES: Final = public("load balancers ask without a token, and the answer says nothing of the content")


@router.head("/healthz", dependencies=[_READ_BY_MACHINES], include_in_schema=False)
@router.get("/healthz", dependencies=[_READ_BY_MACHINES])
async def healthz() -> Response:
    """The process answers."""
    return Json({"status": "ok"})


@router.head("/readyz", dependencies=[_READ_BY_MACHINES], include_in_schema=False)
@router.get("/readyz", dependencies=[_READ_BY_MACHINES])
async def readyz(request: Request) -> Response:
    """Whether questions can be answered: the keeper is reachable and the directory can be read. 503 where not."""
    parts = parts_of(request)
    checks = {"keeper": await _keeper(parts), "directory": await run_in_threadpool(_directory, parts)}
    ready = all(text == "ok" for text in checks.values())
    body = {"status": "ready" if ready else "not_ready", "checks": checks}
    return Json(body, status_code=200 if ready else 503, headers=None if ready else {"retry-after": "1"})


async def _keeper(parts: Parts) -> str:
    try:
        await parts.keeper.call("ping", timeout_s=PING_TIMEOUT_S)
    except FareboxError:
        return "the keeper does not answer"
    return "ok"


def _directory(parts: Parts) -> str:
    try:
        _ = parts.directory.revision
    except FareboxError:
        return "the directory cannot be read"
    return "ok"
