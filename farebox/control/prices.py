"""Prices: what ships, what was added, what is missing, and pricing the past anew."""

from typing import Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json, page
from farebox.control.forms import PricesForm, RepriceForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.control.questions import ask
from farebox.core.price_text import shown_row
from farebox.directory.price_rows import listed, new_row
from farebox.errors import QueryError
from farebox.providers.sheets import load_book

router = APIRouter(prefix="/api/v1/prices", tags=["prices"])

REPRICE_TIMEOUT_S: Final = 600
_FILTERS: Final = {
    "provider": "only this provider's",
    "model": "only prices that stand for this model's name",
    "origin": "shipped or added",
}


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_prices(request: Request) -> Response:
    """Dated prices in dollars per million (per hour for seconds): those added here, then those that ship."""
    query = asked(request, _FILTERS)
    if query.get("origin", "added") not in ("shipped", "added"):
        raise QueryError(f"origin is {query['origin'][:80]!r}: give shipped or added")
    rows = listed(load_book(parts_of(request).directory.prices.list()), query)
    return paged(rows, query, lambda pair: pair[1].id, lambda pair: {"origin": pair[0], **shown_row(pair[1])})


@router.post("", dependencies=[needs("admin")], status_code=201)
def add_prices(request: Request, form: PricesForm) -> Response:
    """Add dated rows, all or none: from today on unless said, for ever of a model that had no price. They win over
    what ships from their date on; no row is ever changed."""
    parts = parts_of(request)
    book = load_book(parts.directory.prices.list())
    rows = [new_row(row, book, parts.now_us()) for row in form.rows]
    parts.directory.prices.add([msgspec.to_builtins(row) for row in rows], by=author(request))
    return Json({"data": [{"origin": "added", **shown_row(row)} for row in rows], "next_cursor": None}, 201)


@router.get("/unpriced", dependencies=[needs("analyst")])
async def unpriced(request: Request) -> Response:
    """Models that were called and have no price: their calls cost null, not 0."""
    return page(await ask(parts_of(request), "unpriced", None))


@router.post("/reprice", dependencies=[needs("admin")])
async def reprice(request: Request, form: RepriceForm | None = None) -> Response:
    """Price calls that had none, by correction entries. `dry_run` only says what would change."""
    dry_run = form.dry_run if form else False
    parts = parts_of(request)
    return Json(await parts.keeper.call("reprice", {"dry_run": dry_run}, timeout_s=REPRICE_TIMEOUT_S))
