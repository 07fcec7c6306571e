"""What a customer may be shown of its own usage, and the links by which it sees it."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import needs, shows_usage
from farebox.control.answers import ApiError, Json
from farebox.control.forms import PortalForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import Parts, parts_of
from farebox.core import asking
from farebox.core.attribution import VALUE_CHARS_MAX
from farebox.directory.rows import PortalRow
from farebox.directory.showing import portal_shown
from farebox.errors import FareboxError, QueryError
from farebox.portal.usage import Shop

router = APIRouter(prefix="/api/v1/customers", tags=["customers"])

_USER: Final = {
    "name": "user", "in": "query", "required": False, "schema": {"type": "string"},
    "description": "one of the customer's users: its limits and its own usage, too",
}  # fmt: skip


@router.get("/{tenant:path}/usage", dependencies=[shows_usage()], openapi_extra={"parameters": (_USER,)})
async def customer_usage(request: Request, tenant: str) -> Response:
    """What a customer has used of what its plan includes, and its limits, in its current billing month and the months
    before: in units, calls, tokens and percent, never in money. By a token with role analyst, or by a token of
    `portal-tokens`."""
    parts, portal = parts_of(request), request.state.portal
    user = _user(request, portal)
    shop = Shop(parts.keeper, parts.directory, parts.settings)
    try:
        answer = await shop.usage(tenant, user, parts.now_us(), is_alone=portal is not None and portal.user is not None)
    except FareboxError as error:
        if portal is None:
            raise
        # what went wrong inside is not a customer's to know
        raise ApiError(503, "unavailable", "usage cannot be shown now: try again in a moment") from error
    return Json(answer)


def _user(request: Request, portal: PortalRow | None) -> str | None:
    """Raises QueryError, and 403 where a link for one user asks for another."""
    if unknown := [name for name in request.query_params if name != "user"]:
        raise QueryError(f"there is no parameter {unknown[0][:80]!r}: give user, or none")
    user = request.query_params.get("user")
    if user is not None and not 1 <= len(user) <= VALUE_CHARS_MAX:
        raise QueryError(f"user has 1 to {VALUE_CHARS_MAX} characters")
    if portal is None or portal.user is None:
        return user
    if user not in (None, portal.user):
        raise ApiError(403, "forbidden", "this link is for another user")
    return portal.user


@router.post("/{tenant:path}/portal-tokens", dependencies=[needs("admin")], status_code=201)
async def create_portal_token(request: Request, tenant: str, form: PortalForm | None = None) -> Response:
    """Make a link by which a customer sees its own usage, for an hour unless said. `token` in the answer is never shown
    again; whoever has it can look."""
    parts, said = parts_of(request), form or PortalForm()
    expires_at_us = asking.deadline(said.expires_in, parts.now_us())
    row, token = await run_in_threadpool(
        parts.directory.portal_tokens.create, tenant, expires_at_us, said.user, said.origins, author(request)
    )
    url = f"{_address(parts, request)}/portal/{token}"
    return Json({"url": url, "token": token, **portal_shown(row, parts.now_us())}, status_code=201)


@router.get("/{tenant:path}/portal-tokens", dependencies=[needs("admin")], openapi_extra=parameters({}))
def list_portal_tokens(request: Request, tenant: str) -> Response:
    """A customer's links, revoked and expired ones too, oldest first."""
    parts, query = parts_of(request), asked(request)
    now_us = parts.now_us()
    rows = parts.directory.portal_tokens.list(tenant)
    return paged(rows, query, lambda row: row.id, lambda row: portal_shown(row, now_us))


@router.delete("/{tenant:path}/portal-tokens/{token_id}", dependencies=[needs("admin")])
def revoke_portal_token(request: Request, tenant: str, token_id: str) -> Response:
    """End a link at once."""
    parts = parts_of(request)
    row = parts.directory.portal_tokens.revoke(tenant, token_id, by=author(request))
    return Json(portal_shown(row, parts.now_us()))


def _address(parts: Parts, request: Request) -> str:
    """Where browsers reach this server, as far as it is known."""
    settings = parts.settings
    if said := settings.alerts.dashboard_url.rstrip("/"):
        return said
    scheme = "https" if settings.server.tls_cert else "http"
    return f"{scheme}://{request.headers.get('host', 'localhost')}"
