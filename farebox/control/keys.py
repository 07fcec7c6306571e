"""Farebox keys: who may call, as whom. A secret is answered once, when it is made."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.forms import KeyChange, KeyForm, RotateForm
from farebox.control.listing import asked, author, iso, paged, parameters
from farebox.control.parts import parts_of
from farebox.core import asking
from farebox.directory.rows import KeyRow, KeySpec
from farebox.directory.showing import key_shown
from farebox.errors import QueryError

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

_FILTERS = {"name": "only keys of this name", "active": "true: only those that work now; false: only the others"}


def _spec(form: KeyForm, now_us: int) -> KeySpec:
    return KeySpec(
        name=form.name,
        bind=dict(form.bind),
        providers=tuple(form.providers),
        models=tuple(form.models),
        routes=tuple(form.routes),
        require=tuple(form.require),
        trust=tuple(form.trust),
        audience=form.audience,
        allow_objects=form.allow_objects,
        expires_at_us=asking.deadline(form.expires, now_us) if form.expires else None,
    )


def _changed(row: KeyRow, change: KeyChange, now_us: int) -> KeySpec:
    """What the key shall be: the fields that were sent over those it has."""
    had = KeyForm(
        name=row.name,
        bind=row.bind,
        providers=list(row.providers),
        models=list(row.models),
        routes=list(row.routes),
        require=list(row.require),
        trust=list(row.trust),
        audience="customer" if row.audience == "customer" else "team",
        allow_objects=row.allow_objects,
        expires=iso(row.expires_at_us),
    )
    return _spec(had.model_copy(update=change.model_dump(exclude_unset=True)), now_us)


@router.post("", dependencies=[needs("admin")], status_code=201)
def create_key(request: Request, form: KeyForm) -> Response:
    """Make a key. `key` in the answer is its secret: it is never shown again."""
    parts = parts_of(request)
    row, secret = parts.directory.keys.create(_spec(form, parts.now_us()), by=author(request))
    return Json({"id": row.id, "key": secret, **key_shown(row, parts.now_us())}, status_code=201)


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_keys(request: Request) -> Response:
    """All keys, revoked ones too, oldest first."""
    parts, query = parts_of(request), asked(request, _FILTERS)
    if query.get("active", "true") not in ("true", "false"):
        raise QueryError(f"active is {query['active'][:80]!r}: give true or false")
    now_us = parts.now_us()
    rows = [
        row
        for row in parts.directory.keys.list()
        if query.get("name") in (None, row.name) and query.get("active") in (None, str(row.is_active(now_us)).lower())
    ]
    return paged(rows, query, lambda row: row.id, lambda row: key_shown(row, now_us))


@router.get("/{key}", dependencies=[needs("analyst")])
def get_key(request: Request, key: str) -> Response:
    """One key, by id or by a name that only one active key has."""
    parts = parts_of(request)
    return Json(key_shown(parts.directory.keys.get(key), parts.now_us()))


@router.patch("/{key}", dependencies=[needs("admin")])
def change_key(request: Request, key: str, change: KeyChange) -> Response:
    """Change what a key may do; what is left out stays, and so does its secret."""
    parts = parts_of(request)
    spec = _changed(parts.directory.keys.get(key), change, parts.now_us())
    return Json(key_shown(parts.directory.keys.update(key, spec, by=author(request)), parts.now_us()))


@router.post("/{key}/rotate", dependencies=[needs("admin")])
def rotate_key(request: Request, key: str, form: RotateForm | None = None) -> Response:
    """A new secret for the same key; the old one goes on for `overlap`."""
    parts = parts_of(request)
    overlap_s = asking.span_s(form.overlap) if form else 0
    row, secret = parts.directory.keys.rotate(key, overlap_s, by=author(request))
    return Json({"id": row.id, "key": secret, **key_shown(row, parts.now_us())})


@router.delete("/{key}", dependencies=[needs("admin")])
def revoke_key(request: Request, key: str) -> Response:
    """End a key for good, in force within a second."""
    parts = parts_of(request)
    return Json(key_shown(parts.directory.keys.revoke(key, by=author(request)), parts.now_us()))
