"""Admin tokens: who may use this API, and as what."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.forms import TokenForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.core import asking
from farebox.directory.showing import token_shown

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])


@router.post("", dependencies=[needs("admin")], status_code=201)
def create_token(request: Request, form: TokenForm) -> Response:
    """Make a token. `token` in the answer is its secret: it is never shown again."""
    parts = parts_of(request)
    expires_at_us = asking.deadline(form.expires, parts.now_us()) if form.expires else None
    row, secret = parts.directory.tokens.create(form.name, form.role, expires_at_us, by=author(request))
    return Json({"id": row.id, "token": secret, **token_shown(row, parts.now_us())}, status_code=201)


@router.get("", dependencies=[needs("admin")], openapi_extra=parameters({}))
def list_tokens(request: Request) -> Response:
    """All tokens, revoked ones too, oldest first."""
    parts, query = parts_of(request), asked(request)
    now_us = parts.now_us()
    return paged(parts.directory.tokens.list(), query, lambda row: row.id, lambda row: token_shown(row, now_us))


@router.delete("/{token_id}", dependencies=[needs("admin")])
def revoke_token(request: Request, token_id: str) -> Response:
    """End a token at once."""
    parts = parts_of(request)
    return Json(token_shown(parts.directory.tokens.revoke(token_id, by=author(request)), parts.now_us()))
