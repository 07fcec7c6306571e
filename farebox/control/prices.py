"""Prices: what ships, what was added, what is missing, and pricing the past anew."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import Json, page
from farebox.control.forms import PricesForm, RepriceForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import Parts, parts_of
from farebox.control.questions import ask
from farebox.core.price_text import read_row, shown_row
from farebox.core.pricing import PriceBook, PriceRow
from farebox.directory.vault import new_id
from farebox.providers.sheets import checked, load_book

router = APIRouter(prefix="/api/v1/prices", tags=["prices"])

REPRICE_TIMEOUT_S: Final = 600
_FILTERS: Final = {
    "provider": "only this provider's",
    "model": "only prices that stand for this model's name",
    "origin": "shipped or added",
}


def _listed(parts: Parts, query: dict[str, str]) -> list[tuple[str, PriceRow]]:
    """(origin, row) of what was added here, newest first, then of what ships."""
    book = load_book(parts.directory.prices.list())
    rows = [("added", row) for row in reversed(book.overrides)]
    if "model" in query:
        shipped = [row for name in _sellers(query, book.sheet.rows) for row in book.entry(name, query["model"])]
        rows += [("shipped", row) for row in {row.id: row for row in shipped}.values()]
        rows = [pair for pair in rows if pair[0] == "shipped" or pair[1].model == query["model"]]
    else:
        rows += [("shipped", row) for row in book.sheet.rows]
    if "provider" in query:
        rows = [pair for pair in rows if pair[1].provider == book.provider(query["provider"])]
    return [pair for pair in rows if query.get("origin") in (None, pair[0])]


def _sellers(query: dict[str, str], rows: tuple[PriceRow, ...]) -> list[str]:
    return [query["provider"]] if "provider" in query else list(dict.fromkeys(row.provider for row in rows))


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_FILTERS))
def list_prices(request: Request) -> Response:
    """Dated prices in dollars per million (per hour for seconds): those added here, then those that ship."""
    query = asked(request, _FILTERS)
    rows = _listed(parts_of(request), query)
    return paged(rows, query, lambda pair: pair[1].id, lambda pair: {"origin": pair[0], **shown_row(pair[1])})


@router.post("", dependencies=[needs("admin")], status_code=201)
def add_prices(request: Request, form: PricesForm) -> Response:
    """Add dated rows, all or none: from today on unless said, for ever of a model that had no price. They win over
    what ships from their date on; no row is ever changed."""
    parts = parts_of(request)
    book = load_book(parts.directory.prices.list())
    rows = [_new(row, book, parts.now_us()) for row in form.rows]
    parts.directory.prices.add([msgspec.to_builtins(row) for row in rows], by=author(request))
    return Json({"data": [{"origin": "added", **shown_row(row)} for row in rows], "next_cursor": None}, 201)


def _new(written: dict[str, Any], book: PriceBook, now_us: int) -> PriceRow:
    """A row to add; where it names no date, from today on, or for ever of a model that had no price."""
    row = checked(read_row({"id": new_id("price_"), **written}))
    known = book.quote(row.provider, row.model, now_us).row is not None
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC).date().isoformat()
    provider = book.provider(row.provider)
    return msgspec.structs.replace(row, provider=provider, valid_from=row.valid_from or (today if known else ""))


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
