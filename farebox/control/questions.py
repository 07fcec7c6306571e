"""What the ledger is asked: sums, the call log, one call with its arithmetic, a limit over the past."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import needs
from farebox.control.answers import ApiError, Json, page
from farebox.control.forms import SimulateForm
from farebox.control.listing import asked
from farebox.control.parts import Parts, parts_of
from farebox.control.reporting import facts_of, in_thread
from farebox.core import asking
from farebox.core.backtest import beside
from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit
from farebox.core.money import parse_usd
from farebox.core.price_rows import PriceRow
from farebox.core.queries import DEFAULT_MEASURES, GROUPS, LIMIT_MAX, MEASURES
from farebox.core.tables import csv_text
from farebox.directory.price_rows import new_row
from farebox.directory.rows import checked_limit
from farebox.errors import QueryError
from farebox.providers.sheets import load_book
from farebox.reports import what_if
from farebox.reports.report import Asked
from farebox.reports.what_if import Change

router = APIRouter(prefix="/api/v1", tags=["questions"])

FLUSH_TIMEOUT_S: Final = 60
VERIFY_TIMEOUT_S: Final = 600
SIMULATE_TIMEOUT_S: Final = 3600
SAMPLE, SAMPLE_MAX = 1000, 100_000
ANSWER_MARGIN_S: Final = 5
"""The keeper ends a question that takes too long; only then does the wait for its answer end."""


def _parameter(name: str, text: str, *, many: bool = False) -> dict[str, object]:
    schema: dict[str, object] = {"type": "array", "items": {"type": "string"}} if many else {"type": "string"}
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


_WHEN: Final = (
    _parameter("since", "first moment: 30d, 24h, 90m, 2026-11-21 or RFC 3339"),
    _parameter("until", "end, exclusive; written like since"),
)
_WHERE: Final = (
    *(_parameter(name, f"only this {name}; repeatable, empty for none", many=True) for name in asking.FILTERS),
    _parameter("tag.NAME", "only this value of a tag", many=True),
)
_ZONE: Final = _parameter("time_zone", "IANA name for days and dates; UTC unless said")
_LIMIT: Final = _parameter("limit", f"rows, 1 to {LIMIT_MAX}; 100 unless said")
_USAGE: Final = (
    _parameter("group_by", f"repeatable or comma separated: {', '.join(GROUPS)} or tag.NAME", many=True),
    *_WHEN,
    _parameter("measures", f"of {', '.join(MEASURES)}; {', '.join(DEFAULT_MEASURES)} unless said", many=True),
    _parameter("order", "a measure or group, '-' before it for largest first"),
    _LIMIT,
    _ZONE,
    _parameter("as_of", "only what had been booked by then"),
    _parameter("format", "json or csv"),
    *_WHERE,
)
_SAMPLE: Final = _parameter("sample", f"events to price again, 0 to {SAMPLE_MAX}; {SAMPLE} unless said")
_EVENTS: Final = (*_WHEN, _LIMIT, _parameter("cursor", "next_cursor of the page before"), _ZONE, *_WHERE)


async def ask(parts: Parts, method: str, params: object) -> Any:
    """The keeper's answer (decoded msgpack) within the time that a question may take."""
    return await parts.keeper.call(method, params, timeout_s=parts.settings.ledger.query_timeout_s + ANSWER_MARGIN_S)


@router.get("/flush", dependencies=[needs("analyst")])
async def flush(request: Request) -> Response:
    """Answers once every event settled before this call can be read."""
    answer = await parts_of(request).keeper.call("flush", timeout_s=FLUSH_TIMEOUT_S)
    return Json({"flushed": True, **(answer if isinstance(answer, dict) else {})})


@router.get("/usage", dependencies=[needs("analyst")], openapi_extra={"parameters": _USAGE})
async def usage(request: Request) -> Response:
    """Sums over the ledger by any dimension, tag or period, filtered by dimension name."""
    parts, pairs = parts_of(request), request.query_params.multi_items()
    form = asking.result_format(pairs)
    answer = await ask(parts, "usage", asking.usage_query(pairs, parts.now_us()))
    if form == "csv":
        return _csv("usage.csv", csv_text(answer["columns"], answer["rows"]))
    return page(answer["rows"], meta={"columns": answer["columns"], **answer.get("meta", {})})


@router.get("/events", dependencies=[needs("analyst")], openapi_extra={"parameters": _EVENTS})
async def events(request: Request) -> Response:
    """The call log, newest first; one row an attempt."""
    parts = parts_of(request)
    answer = await ask(parts, "events", asking.events_query(request.query_params.multi_items(), parts.now_us()))
    return page(answer["data"], answer.get("next_cursor"))


@router.get("/events/{event_id}", dependencies=[needs("analyst")])
async def event(request: Request, event_id: str) -> Response:
    """Evidence: the event, every attempt of its call, the arithmetic of its cost, its corrections."""
    if len(event_id) > 64:
        raise ApiError(404, "not_found", "no event has an id that long")
    answer = await ask(parts_of(request), "event", {"id": event_id})
    rest = {name: value for name, value in answer.items() if name != "event"}
    return Json({**answer["event"], **rest})


@router.get("/verify", dependencies=[needs("analyst")], openapi_extra={"parameters": (_SAMPLE,)})
async def verify(request: Request) -> Response:
    """Whether the ledger's invariants hold, and a sample of events priced again costs what it did."""
    query = asked(request, ("sample",))
    sample = asking.whole(query.get("sample", str(SAMPLE)), "sample", 0, SAMPLE_MAX)
    return Json(await parts_of(request).keeper.call("verify", {"sample": sample}, timeout_s=VERIFY_TIMEOUT_S))


@router.post("/simulate", dependencies=[needs("analyst")])
async def simulate(request: Request, form: SimulateForm) -> Response:
    """What a change would have made of the past. Of a limit: whom it would have stopped in a period, how many calls and
    how much money, beside the limits that are in force, but in place of one that counts the same. Of models, their
    prices or those of plans: margin before and after, by tier and customer, of whole months. Nothing is set."""
    parts = parts_of(request)
    if form.limit is None:
        return Json(await _what_if(parts, form))
    limit, living, days = await run_in_threadpool(_limits, parts, form)
    since_us = None if form.since is None else asking.instant(form.since, parts.now_us(), limit.time_zone)
    until_us = parts.now_us() if form.until is None else asking.instant(form.until, parts.now_us(), limit.time_zone)
    question = {
        "limit": limit,
        "others": beside(limit, living),
        "since_us": since_us,
        "until_us": until_us,
        "rows": form.rows,
        "anchor_days": days,
    }
    return Json(await parts.keeper.call("simulate", question, timeout_s=SIMULATE_TIMEOUT_S))


async def _what_if(parts: Parts, form: SimulateForm) -> dict[str, Any]:
    if form.since is None:
        raise QueryError("margins are told by months: say since when, such as 90d")
    now = parts.now_us()
    since_us = asking.instant(form.since, now, form.time_zone)
    until_us = now if form.until is None else asking.instant(form.until, now, form.time_zone)
    if since_us >= until_us:
        raise QueryError("since is not before until: nothing can lie between them")
    rows = await run_in_threadpool(_price_rows, parts, form)
    change = Change(
        [(swap.feature, swap.model) for swap in form.models],
        {name: _price(name, price) for name, price in form.plan_prices.items()},
        _counted(len(rows)),
    )
    asked = Asked(since_us=since_us, until_us=until_us, now_us=now, time_zone=form.time_zone, top=form.rows)
    question = what_if.question(asked, change, rows)
    found = what_if.NOTHING_MOVED
    if question is not None:
        found = await parts.keeper.call("what_if", question, timeout_s=SIMULATE_TIMEOUT_S)
    loop = asyncio.get_running_loop()
    told: dict[str, Any] = await in_thread(lambda: what_if.what_if(asked, facts_of(parts, loop), change, found))
    return told


def _counted(prices: int) -> str:
    return "" if not prices else "1 price of models" if prices == 1 else f"{prices} prices of models"


def _price_rows(parts: Parts, form: SimulateForm) -> list[PriceRow]:
    if not form.prices:
        return []
    book = load_book(parts.directory.prices.list())
    return [new_row(row, book, parts.now_us()) for row in form.prices]


def _price(name: str, price: str | float) -> int:
    found = parse_usd(str(price))
    if found < 0:
        raise QueryError(f"the price of {name} is {price}: give it from 0 up")
    return found


def _limits(parts: Parts, form: SimulateForm) -> tuple[Limit, list[Limit], dict[str, int]]:
    """(the limit that is meant, all that are in force, customers' billing days where it goes by them)."""
    limits = parts.directory.limits
    assert form.limit is not None
    if isinstance(form.limit, str):
        limit = limits.get(form.limit).limit
    else:
        limit = checked_limit(read_limit(form.limit.model_dump(exclude_unset=True)))
    days = parts.directory.customers.anchor_days() if limit.window == "billing" else {}
    return limit, [row.limit for row in limits.list()], days


def _csv(filename: str, text: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{filename}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
