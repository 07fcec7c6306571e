"""Prices: what ships, what was added, which models have none, and pricing the past anew."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from farebox.core import figures
from farebox.core.meters import BY_NAME
from farebox.core.price_text import shown_row
from farebox.core.pricing import PriceRow
from farebox.dashboard import sums
from farebox.dashboard.forms import Field, Form, as_typed, pairs
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.price_rows import listed, new_row
from farebox.errors import PriceSheetError
from farebox.providers.sheets import load_book
from farebox.reports.report import Answer, Column, Section

REPRICE_TIMEOUT_S: Final = 600
RATES: Final = ("input", "output", "cache_read", "cache_write")
COLUMNS: Final = (
    Column("model", "Model", door="/prices?model={model}"),
    Column("provider", "Provider", door="/prices?provider={provider}"),
    Column("input", "Input", "usd", "Dollars for a million tokens."),
    Column("output", "Output", "usd", "Dollars for a million tokens."),
    Column("cache_read", "Cache read", "usd", "Dollars for a million tokens."),
    Column("cache_write", "Cache write", "usd", "Dollars for a million tokens."),
    Column("applies", "For", hint="Which calls it is for, where it is not for all; what else is other."),
    Column("further", "Further", hint="Meters that cost something else than these; the API has every rate."),
    Column("valid_from", "From", "day"),
    Column("valid_to", "Until", "day"),
    Column("origin", "From where", "flag"),
)
UNPRICED: Final = (
    Column("provider", "Provider"),
    Column("model", "Model", door="model"),
    Column("calls", "Calls", "count"),
    Column("first_at", "First", "moment"),
    Column("last_at", "Last", "moment"),
)


async def show(visit: Visit) -> View:
    wanted = {name: text for name in ("provider", "model") if (text := _asked(visit, name))}
    if origin := visit.filters.query.get("origin"):
        wanted["origin"] = origin
    found = await visit.run(_found, visit, wanted)
    missing = await visit.ask("unpriced")
    section = Section(
        title="Without a price",
        sentence="Calls of these models are in no sum: give them a price, then price the past anew.",
        columns=UNPRICED,
        rows=[dict(row) for row in missing],
    )
    rows = [_row(origin, row) for origin, row in found]
    answer = Answer(
        sentence=_sentence(rows, missing), columns=COLUMNS, rows=rows, sections=(section,) if missing else ()
    )
    forms = [_form(wanted, missing)]
    if missing:
        forms.append(Form("/prices/reprice", "", "Price the past anew"))
    search = [Field(name, name.capitalize(), wanted.get(name, "")) for name in ("provider", "model", "origin")]
    more = {"managed": as_typed(visit, forms), "up": False, "search": search}
    return View("Prices", answer, template="manage.html", more=more, caption="Prices",
                empty="No price matches: take a filter away.")  # fmt: skip


async def add(visit: Visit) -> Done:
    row = await visit.run(_add, visit)
    since = f"from {row.valid_from} on" if row.valid_from else "for all time"
    return Done(
        "/prices", f"{row.model} of {row.provider} has its price {since}. Calls that had none: price the past anew."
    )


async def reprice(visit: Visit) -> Done:
    done = await visit.parts.keeper.call("reprice", {"dry_run": False}, timeout_s=REPRICE_TIMEOUT_S)
    return Done("/prices", _repriced(done))


def _add(visit: Visit) -> PriceRow:
    prices, form = visit.parts.directory.prices, visit.form
    rates = {name: form[name].strip() for name in RATES if form.get(name, "").strip()}
    further = pairs(form.get("further", ""))
    if unknown := [name for name in further if name not in BY_NAME]:
        raise PriceSheetError(f"further rates: {unknown[0][:40]!r} is no meter; use one of {', '.join(BY_NAME)}")
    written = {
        "provider": form.get("provider", "").strip(),
        "model": form.get("model", "").strip(),
        "rates": {**rates, **further},
        **({"valid_from": form["valid_from"].strip()} if form.get("valid_from", "").strip() else {}),
    }
    if not written["provider"] or not written["model"]:
        raise PriceSheetError("a price needs a provider and a model")
    row = new_row(written, load_book(prices.list()), visit.now_us)
    prices.add([msgspec.to_builtins(row)], by=visit.by)
    return row


def _asked(visit: Visit, name: str) -> str:
    return visit.filters.where.get(name, ("",))[0]


def _found(visit: Visit, wanted: Mapping[str, str]) -> list[tuple[str, PriceRow]]:
    return listed(load_book(visit.parts.directory.prices.list()), wanted)


def _row(origin: str, row: PriceRow) -> dict[str, Any]:
    shown = shown_row(row)
    rates: dict[str, str] = shown["rates"]  # type: ignore[assignment]
    told = {name: rate for name in RATES if (rate := rates.get(name, rates.get(f"{name}_5m"))) is not None}
    return {
        "model": row.model,
        "provider": row.provider,
        **{name: sums.usd(told.get(name)) for name in RATES},
        "applies": _applies(row) or None,
        "further": {name: rate for name, rate in rates.items() if name not in RATES and rate != told.get(_alike(name))}
        or None,
        "valid_from": row.valid_from or None,
        "valid_to": row.valid_to or None,
        "origin": origin,
    }


def _alike(meter: str) -> str:
    """The rate that a meter mostly shares, '' for none."""
    for name in ("cache_read", "cache_write"):
        if name in meter:
            return name
    if meter.endswith("output") or meter == "reasoning":
        return "output"
    return "input" if meter.endswith("_input") else ""


def _applies(row: PriceRow) -> list[str]:
    told = [*(["batches"] if row.batch else []), *filter(None, (row.service_tier, row.speed, row.variant))]
    told += [f"other above {figures.count(band.above)} tokens" for band in row.bands]
    return [*told, "certain hours"] if row.windows else told


def _sentence(rows: list[dict[str, Any]], missing: list[Mapping[str, Any]]) -> str:
    added = sum(row["origin"] == "added" for row in rows)
    text = f"{figures.count(len(rows))} prices, {added} of them added here."
    return f"{len(missing)} models that were called have no price. {text}" if missing else text


def _repriced(done: Mapping[str, Any]) -> str:
    return f"Priced anew: {done['repriced']} calls that had no price, {figures.money(sums.usd(done['amount_usd']))}."


def _form(wanted: Mapping[str, str], missing: list[Mapping[str, Any]]) -> Form:
    first = missing[0] if missing else {}
    fields = (
        Field("provider", "Provider", str(wanted.get("provider") or first.get("provider") or ""), is_required=True),
        Field("model", "Model", str(wanted.get("model") or first.get("model") or ""), "as calls name it",
              is_required=True),
        Field("input", "Input", "", "dollars for a million tokens", "number"),
        Field("output", "Output", "", "dollars for a million tokens", "number"),
        Field("cache_read", "Cache read", "", "dollars for a million tokens", "number"),
        Field("cache_write", "Cache write", "", "dollars for a million tokens", "number"),
        Field("further", "Further rates", "", "other meters: reasoning=4.00", words=("meter",)),
        Field("valid_from", "From", "", "empty: today, or for ever of a model without a price", "date",
              words=("date", "valid from")),
    )  # fmt: skip
    about = "A price is never changed: this one wins from its day on over what ships and what was added before."
    return Form("/prices/add", "Set a price", "Set price", fields, about=about)


PRICES: Final = Page(
    "/prices", "analyst", "Prices", show, group="Setup",
    actions=(Action("/prices/add", "admin", add), Action("/prices/reprice", "admin", reprice)),
)  # fmt: skip
