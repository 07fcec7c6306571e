"""Calls that apps send to a provider by themselves: asked for here first, settled by the event that is sent in."""

import asyncio
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.control.access import takes_events
from farebox.control.answers import ApiError, Json
from farebox.control.parts import Parts, parts_of
from farebox.core.asking import nearest
from farebox.core.attribution import NAMES, NO_FIELDS, Attribution, identifier, merge, parse_tags
from farebox.core.events import DIMENSIONS, Tag
from farebox.core.posting import OPERATIONS
from farebox.directory.rows import KeyRow
from farebox.errors import CallRefused, InvalidRequest, KeeperUnavailable, ModelNotAllowed, RouteNotAllowed
from farebox.providers import by_name
from farebox.providers.protocol import Provider
from farebox.providers.worth import bounds

router = APIRouter(prefix="/api/v1", tags=["events"])

WAIT_S: Final = 1.0
"""How long workers are waited for that hold what they do not use."""
AGAIN_S: Final = 0.1
BYTES_PER_TOKEN: Final = 4
PATHS: Final = {
    "chat": "/chat/completions", "responses": "/responses", "messages": "/messages", "completions": "/completions",
    "embeddings": "/embeddings",
}  # fmt: skip
"""Where a `request` of this operation is sent, unless `path` says it."""
COUNT_MAX: Final = 10**12


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: str
    model: str | None = None
    operation: str = "chat"
    tenant: str | None = None
    workspace: str | None = None
    user: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: dict[str, Any] = {}
    units: dict[str, int] = {}
    byok: bool = False
    input_tokens: int | None = None
    input_bytes: int | None = None
    max_tokens: int | None = None
    choices: int = 1
    pieces: int = 1
    input_tokens_max: int | None = None
    output_tokens_min: int = 0
    writes_cache: bool = False
    unbounded: str | None = None
    region: str | None = None
    request: dict[str, Any] | None = None
    path: str | None = None


FIELDS: Final = (*_Asked.__struct_fields__, *NAMES)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "provider, model, operation, whose call it is (as in an event), input_tokens or "
                    "input_bytes, max_tokens, units; or the request's own body as `request`",
                }
            }
        },
    }
}


@router.post("/authorize", dependencies=[takes_events()], openapi_extra=_BODY)
async def authorize(request: Request) -> Response:
    """What would this call get: `verdict` allow, warn, dry_run, downgrade (to `model`) or block (with `refusal`, the
    `farebox` object of a 429). What it may come to is held until the event that names `authorization_id` has been
    counted, at most until `expires_at`. All limits that apply admit it, or nothing is held."""
    parts: Parts = parts_of(request)
    key: KeyRow | None = request.state.key
    try:
        params = _params(_read(await request.body()), key)
    except CallRefused as error:
        raise ApiError(error.status, error.code, str(error)) from None
    return Json(await _asked(parts, params))


async def _asked(parts: Parts, params: dict[str, Any]) -> Any:
    """Ask again for a while where only what others hold stands in the way."""
    waited_s = 0.0
    while True:
        patient = waited_s < WAIT_S
        try:
            answer = await parts.keeper.call("authorize", params)
            busy = answer.get("refusal", {}).get("code") == "limit_busy" and answer.get("retry_after_s", 0) <= 1
            if not (busy and patient):
                return answer
        except KeeperUnavailable:
            if not patient:
                raise
        await asyncio.sleep(AGAIN_S)
        waited_s += AGAIN_S


def _read(body: bytes) -> _Asked:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequest('the body is a JSON object: {"provider": …, "model": …}')
    fields: dict[str, object] = {}
    for name, value in document.items():
        meant = NAMES.get(name, name)
        if meant not in _Asked.__struct_fields__:
            raise InvalidRequest(f"there is no field {name[:80]!r}{nearest(name, FIELDS)}")
        if value is not None and fields.setdefault(meant, value) != value:
            raise InvalidRequest(f"two fields say {meant}, and they differ: send one")
    try:
        asked = msgspec.convert(fields, _Asked)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None
    counts = (asked.input_tokens, asked.input_bytes, asked.max_tokens, asked.choices, asked.pieces,
              asked.input_tokens_max, asked.output_tokens_min, *asked.units.values())  # fmt: skip
    if any(count is not None and not 0 <= count <= COUNT_MAX for count in counts):
        raise InvalidRequest(f"counts are whole numbers from 0 to {COUNT_MAX}")
    if asked.operation not in OPERATIONS:
        raise InvalidRequest(f"operation is {asked.operation[:40]!r}: give one of {', '.join(OPERATIONS)}")
    return asked


def _params(asked: _Asked, key: KeyRow | None) -> dict[str, Any]:
    """The question as the keeper takes it (`keeper.authorizing.Authorize`)."""
    who = _attribution(asked, key)
    dimensions: dict[str, str] = {name: found for name in DIMENSIONS if (found := getattr(who, name)) is not None}
    trusts = False
    if key is not None:
        dimensions["key"] = key.id
        trusts = "tier" in key.trust or "tier" in key.bind
    tags: dict[str, Tag] = who.tags or {}
    size = _of_request(asked) if asked.request is not None else _of_counts(asked)
    if not size["model"]:
        raise InvalidRequest("model is missing")
    _allowed(key, asked.provider, str(size["model"]))
    return {
        "provider": identifier(asked.provider, "provider"),
        "dimensions": dimensions,
        "tags": tags,
        "trusts_tier": trusts,
        "names_usd": key is None or key.audience != "customer",
        "byok": asked.byok,
        "units": asked.units,
        "region": asked.region,
        **size,
    }


def _attribution(asked: _Asked, key: KeyRow | None) -> Attribution:
    said = {name: identifier(found, name) for name in DIMENSIONS if (found := getattr(asked, name))}
    tags = dict(parse_tags(msgspec.json.encode(asked.tags))) if asked.tags else None
    if key is None:
        return merge({}, said, tags, NO_FIELDS)
    return merge(key.bind, said, tags, NO_FIELDS, frozenset(key.require))


def _allowed(key: KeyRow | None, provider: str, model: str) -> None:
    """What a key may be used for holds here, too."""
    if key is None:
        return
    if key.providers and provider not in key.providers:
        raise RouteNotAllowed(f"this key may call {', '.join(key.providers)}, not {provider}")
    if key.models and not any(fnmatchcase(model, glob) for glob in key.models):
        raise ModelNotAllowed(f"this key may call models that match {', '.join(key.models)}, not {model}")


def _of_counts(asked: _Asked) -> dict[str, Any]:
    tokens = asked.input_tokens
    if tokens is None:
        tokens = (asked.input_bytes or 0) // BYTES_PER_TOKEN + 1
    found: dict[str, Any] = {
        "model": asked.model,
        "operation": asked.operation,
        "input_tokens": tokens,
        "output_max": asked.max_tokens,
        "choices": asked.choices,
        "pieces": asked.pieces,
    }
    if asked.unbounded is not None:
        found["unbounded"] = asked.unbounded[:200]
    elif asked.input_tokens_max is not None:
        found["bounds"] = (asked.input_tokens_max, asked.output_tokens_min, asked.writes_cache)
    return found


def _of_request(asked: _Asked) -> dict[str, Any]:
    """What the request's own body says, as the gateway would read it."""
    provider: Provider | None = by_name(asked.provider)
    path = asked.path or PATHS.get(asked.operation)
    if provider is None or path is None:
        raise InvalidRequest("this request's body cannot be read here: give its path, or input_bytes and max_tokens")
    body = msgspec.json.encode(asked.request)
    endpoint = provider.endpoint("POST", provider.upstream_path(path))
    intent = provider.intent(endpoint, body)
    found = bounds(endpoint, intent, body)
    said: dict[str, Any] = {"unbounded": found} if isinstance(found, str) else {
        "bounds": (found.prompt, found.least, found.writes_cache)
    }  # fmt: skip
    return {
        "model": asked.model or intent.model or endpoint.model,
        "operation": endpoint.operation,
        "input_tokens": (intent.input_bytes or len(body)) // BYTES_PER_TOKEN + 1,
        "output_max": intent.output_max,
        "choices": intent.choices,
        "pieces": intent.pieces,
        **said,
    }
