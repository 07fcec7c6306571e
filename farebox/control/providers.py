"""Providers as they are in force: where calls go, and whose credential they carry. Never the credential itself."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json
from farebox.control.forms import ProviderForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import Parts, parts_of
from farebox.directory.showing import provider_shown
from farebox.directory.views import configured
from farebox.errors import NotFound
from farebox.providers import PROVIDERS

router = APIRouter(prefix="/api/v1/providers", tags=["providers"])


def _all(parts: Parts) -> list[dict[str, object]]:
    rows = {row.name: row for row in parts.directory.providers.list()}
    found = configured(parts.settings, PROVIDERS, rows.values(), parts.env)
    return [provider_shown(entry, rows.get(name)) for name, entry in sorted(found.items())]


def _one(parts: Parts, name: str) -> Response:
    for row in _all(parts):
        if row["name"] == name:
            return Json(row)
    raise NotFound(f"there is no provider {name!r}: GET /api/v1/providers lists them, PUT adds one")


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters({}))
def list_providers(request: Request) -> Response:
    """Every provider that calls can go to: built in, from the settings, and stored here."""
    return paged(_all(parts_of(request)), asked(request), lambda row: str(row["name"]), lambda row: row)


@router.get("/{name}", dependencies=[needs("analyst")])
def get_provider(request: Request, name: str) -> Response:
    """One provider."""
    return _one(parts_of(request), name)


def _set(request: Request, name: str, form: ProviderForm) -> Response:
    parts = parts_of(request)
    cleared = {field for field in form.model_fields_set if getattr(form, field) is None}
    parts.directory.providers.set(
        name,
        base_url="" if "base_url" in cleared else form.base_url,
        credential="" if "credential" in cleared else form.credential,
        wire="" if "wire" in cleared else form.wire,
        headers={} if "headers" in cleared else form.headers,
        ca_file="" if "ca_file" in cleared else form.ca_file,
        tls_verify=form.tls_verify,
        deployments={} if "deployments" in cleared else form.deployments,
        region="" if "region" in cleared else form.region,
        region_class="" if "region_class" in cleared else form.region_class,
        by=author(request),
    )
    return _one(parts, name)


@router.put("/{name}", dependencies=[needs("admin")])
def set_provider(request: Request, name: str, form: ProviderForm) -> Response:
    """Store a provider's address or credential; what is left out stays as it is."""
    return _set(request, name, form)


@router.patch("/{name}", dependencies=[needs("admin")])
def change_provider(request: Request, name: str, form: ProviderForm) -> Response:
    """The same as PUT."""
    return _set(request, name, form)


@router.delete("/{name}", dependencies=[needs("admin")], status_code=204)
def forget_provider(request: Request, name: str) -> Response:
    """Forget what is stored of a provider, its credential too; built-in ones go back to their defaults."""
    parts_of(request).directory.providers.remove(name, by=author(request))
    return Response(status_code=204)
