"""The pages that anyone may read: where the API is, and what it can do."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from farebox import __version__
from farebox.control.access import public
from farebox.control.answers import Json
from farebox.control.handbook import POLICY, handbook

router = APIRouter(tags=["entrance"], include_in_schema=False)


@router.get("/", dependencies=[public("says only where the API is")])
async def entrance() -> Response:
    return Json({"name": "farebox", "version": __version__, "docs": "/api/v1/docs", "openapi": "/api/v1/openapi.json"})


@router.get("/api/v1/openapi.json", dependencies=[public("describes the API, as its source does; holds no data")])
async def openapi(request: Request) -> Response:
    return Json(request.app.openapi())


@router.get("/api/v1/docs", dependencies=[public("the same description, for people")])
async def docs(request: Request) -> Response:
    return HTMLResponse(handbook(request.app.openapi()), headers={"content-security-policy": POLICY})
