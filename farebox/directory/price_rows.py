"""Price rows as they are listed and added, by whichever door."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from farebox.core.price_text import read_row
from farebox.core.pricing import PriceBook, PriceRow
from farebox.directory.vault import new_id
from farebox.providers.sheets import checked


def listed(book: PriceBook, wanted: Mapping[str, str]) -> list[tuple[str, PriceRow]]:
    """(origin, row) of what was added here, newest first, then of what ships; `wanted` may name a provider, a model (a
    price that stands for its name) and an origin."""
    rows = [("added", row) for row in reversed(book.overrides)]
    if "model" in wanted:
        shipped = [row for name in _sellers(wanted, book.sheet.rows) for row in book.entry(name, wanted["model"])]
        rows += [("shipped", row) for row in {row.id: row for row in shipped}.values()]
        rows = [pair for pair in rows if pair[0] == "shipped" or pair[1].model == wanted["model"]]
    else:
        rows += [("shipped", row) for row in book.sheet.rows]
    if "provider" in wanted:
        rows = [pair for pair in rows if pair[1].provider == book.provider(wanted["provider"])]
    return [pair for pair in rows if wanted.get("origin") in (None, pair[0])]


def new_row(written: Mapping[str, Any], book: PriceBook, now_us: int) -> PriceRow:  # Any: decoded JSON
    """A row to add; where it names no date, from today on, or for ever of a model that had no price. Raises
    PriceSheetError, InvalidMoney."""
    row = checked(read_row({"id": new_id("price_"), **written}))
    known = book.quote(row.provider, row.model, now_us).row is not None
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC).date().isoformat()
    provider = book.provider(row.provider)
    return msgspec.structs.replace(row, provider=provider, valid_from=row.valid_from or (today if known else ""))


def _sellers(wanted: Mapping[str, str], rows: tuple[PriceRow, ...]) -> list[str]:
    return [wanted["provider"]] if "provider" in wanted else list(dict.fromkeys(row.provider for row in rows))
