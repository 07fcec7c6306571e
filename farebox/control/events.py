"""What was metered elsewhere, and how tasks ended: sent in by SDKs, exporters and apps."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import takes_events
from farebox.control.answers import ApiError, Json
from farebox.control.parts import Parts, parts_of
from farebox.core.attribution import NAMES, NO_FIELDS, identifier, merge
from farebox.core.events import Outcome
from farebox.core.money import parse_usd
from farebox.core.posting import EVENTS_MAX, Posted, read_event
from farebox.directory.rows import KeyRow
from farebox.errors import CallRefused, FareboxError, InvalidEvent
from farebox.ledger.correcting import new_id

router = APIRouter(prefix="/api/v1", tags=["events"])

TIMEOUT_S: Final = 30
DAY_US: Final = 86_400_000_000
_EVENT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": 'as `GET /events/{id}` shows one; or a list of up to 1,000, or {"events": […]}',
                }
            }
        },
    }
}


@router.post("/events", status_code=202, dependencies=[takes_events()], openapi_extra=_EVENT_BODY)
async def post_events(request: Request) -> Response:
    """Book calls that were metered elsewhere: one, or up to 1,000. `id` is the idempotency key. 202 once all that is
    accepted is on the disk, with a verdict for each event: accepted, duplicate (it was there already), conflict (the
    id is taken by an event that says something else) or invalid, with what is wrong. Costs are ours, by the event's own
    model and date, unless `cost_usd` is given; such events are marked `cost_given`."""
    documents = _documents(await _json(request), "events")
    verdicts = await book(parts_of(request), request.state.key, documents)
    return Json({"data": verdicts, **_counts(verdicts)}, status_code=202)


@router.post("/outcomes", status_code=202, dependencies=[takes_events()])
async def post_outcomes(request: Request) -> Response:
    """Say how tasks ended: {"task", "outcome": "success" | "failure" | …, "value_usd"?, "tenant"?}; one, a list, or
    {"outcomes": […]}. What is said last of a task counts. `id`, where it is given, is the idempotency key."""
    parts, documents = parts_of(request), _documents(await _json(request), "outcomes")
    key: KeyRow | None = request.state.key
    verdicts: list[dict[str, Any]] = [{} for _ in documents]
    read: list[tuple[int, Outcome]] = []
    for number, document in enumerate(documents):
        try:
            read.append((number, _outcome(document, key, parts.now_us())))
        except (InvalidEvent, CallRefused, FareboxError) as error:
            verdicts[number] = _invalid(document, error)
    if read:
        asked = {"outcomes": [outcome for _, outcome in read]}
        found = await parts.keeper.call("post_outcomes", msgspec.to_builtins(asked), timeout_s=TIMEOUT_S)
        for (number, _), verdict in zip(read, found, strict=True):
            verdicts[number] = verdict
    return Json({"data": verdicts, **_counts(verdicts)}, status_code=202)


async def book(parts: Parts, key: KeyRow | None, documents: Sequence[object]) -> list[dict[str, Any]]:
    """A verdict for each of at most EVENTS_MAX events, in their order, once what is accepted is on the disk. Raises
    KeeperUnavailable, with nothing booked."""
    verdicts: list[dict[str, Any]] = [{} for _ in documents]
    read: list[tuple[int, Posted]] = []
    for number, document in enumerate(documents):
        try:
            read.append((number, _read(parts, key, document)))
        except (InvalidEvent, CallRefused) as error:
            verdicts[number] = _invalid(document, error)
    if read:
        settling = {posted.head.id: posted.authorization_id for _, posted in read if posted.authorization_id}
        asked = {"events": [(posted.head, posted.tail) for _, posted in read], "authorizations": settling}
        found = await parts.keeper.call("post", msgspec.to_builtins(asked, builtin_types=(bytes,)), timeout_s=TIMEOUT_S)
        for (number, _), verdict in zip(read, found, strict=True):
            verdicts[number] = verdict
    return verdicts


def _read(parts: Parts, key: KeyRow | None, document: object) -> Posted:
    kept_days, now_us = parts.settings.ledger.events_keep_days, parts.now_us()
    earliest_us = now_us - kept_days * DAY_US if kept_days else 0
    if key is None:
        return read_event(document, now_us, earliest_us=earliest_us)
    require = frozenset(key.require)
    return read_event(document, now_us, bind=key.bind, require=require, key_id=key.id, earliest_us=earliest_us)


def _outcome(document: object, key: KeyRow | None, now_us: int) -> Outcome:
    if not isinstance(document, dict):
        raise InvalidEvent('an outcome is a JSON object: {"task": …, "outcome": …}')
    said: dict[str, Any] = {
        NAMES.get(str(name), str(name)): value for name, value in document.items() if value is not None
    }
    if unknown := sorted(said.keys() - {"id", "task", "outcome", "value_usd", "tenant"}):
        raise InvalidEvent(f"there is no field {unknown[0][:80]!r}: give task, outcome, value_usd, tenant, id")
    for name in ("task", "outcome"):
        if not isinstance(said.get(name), str) or not said[name]:
            raise InvalidEvent(f"{name} is missing")
    for name in ("id", "tenant"):
        if name in said and not isinstance(said[name], str):
            raise InvalidEvent(f"{name} must be a string")
    tenant = {"tenant": said["tenant"]} if said.get("tenant") else {}
    who = merge({} if key is None else key.bind, tenant, None, NO_FIELDS)
    value = said.get("value_usd")
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise InvalidEvent('value_usd must be decimal text, such as "1.50"')
    return Outcome(
        identifier(said.get("id") or new_id(now_us), "id"), now_us, who.tenant, identifier(said["task"], "task"),
        identifier(said["outcome"], "outcome"), None if value is None else parse_usd(value),
    )  # fmt: skip


async def _json(request: Request) -> object:
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "invalid_request", f"the body is no JSON: {error}") from None


def _documents(body: object, name: str) -> list[object]:
    """One, a list, or the list under its name."""
    if isinstance(body, dict) and body.keys() == {name}:
        body = body[name]
    found = body if isinstance(body, list) else [body]
    if not 1 <= len(found) <= EVENTS_MAX:
        raise ApiError(400, "invalid_request", f"{len(found)} {name}: send 1 to {EVENTS_MAX} at once")
    return found


def _invalid(document: object, error: FareboxError) -> dict[str, Any]:
    named = document.get("id") if isinstance(document, dict) else None
    code = error.code if isinstance(error, CallRefused) else "invalid_event"
    return {
        "id": named if isinstance(named, str) else None,
        "verdict": "invalid",
        "error": {"code": code, "message": str(error)},
    }


def _counts(verdicts: list[dict[str, Any]]) -> dict[str, int]:
    said = [verdict["verdict"] for verdict in verdicts]
    return {name: said.count(name) for name in ("accepted", "duplicate", "conflict", "invalid")}
