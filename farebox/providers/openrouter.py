"""OpenRouter: https://openrouter.ai/api/v1. Every answer says what it cost, and that is the bill: `usage.cost`, with
the fees of searches, images and other models that the tokens do not show.

Source: https://openrouter.ai/docs and recorded answers. Usage comes unasked, in the finish chunk or after it. With a
key of one's own at the upstream ('is_byok') `cost` is the fee only; the money is in `upstream_inference_cost`. An
answer without output that ended in nothing or in an error is free ("zero completion insurance"). Whether hanging up
stops the bill depends on who serves the model; what a cut call really cost can be asked for at `/generation?id=`.
The fee on buying credits is outside of every call.
"""

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.meters import output_tokens
from farebox.providers.openai_routes import INFERENCE, MESSAGES, MODELS, RERANK
from farebox.providers.openai_shape import KNOWN_FIELDS, OpenAICompatible, openai_fold
from farebox.providers.openai_usage import COUNT_MAX
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import Fold
from farebox.providers.reported import Amended, as_ranked, marked, pico_of, stated
from farebox.providers.routing import ADMIN


class CostDetails(msgspec.Struct, frozen=True):
    upstream_inference_cost: Decimal | None = None


class ServerTools(msgspec.Struct, frozen=True):
    web_search_requests: int | None = None


class OpenRouterUsage(msgspec.Struct, frozen=True):
    """What stands in `usage` beside OpenAI's counts. Dollars."""

    cost: Decimal | None = None
    is_byok: bool | None = None
    cost_details: CostDetails | None = None
    server_tool_use_details: ServerTools | None = None
    server_tool_use: ServerTools | None = None


_ADMIN: Final = frozenset(
    {"keys", "key", "credits", "auth", "activity", "guardrails", "workspaces", "members", "analytics", "observability"}
)
_OWN: Final[dict[tuple[str, ...], Endpoint]] = {
    ("images",): Endpoint("image", "images.generations"),
    ("messages",): MESSAGES,
    ("rerank",): RERANK,
}
_LISTS: Final = frozenset({"providers", "endpoints", "parameters", "rankings"})


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    if rest[:2] in (("api", "alpha"), ("api", "beta")):
        rest = rest[2:]
        if method == "POST" and rest in INFERENCE:
            return INFERENCE[rest]
    head = rest[0] if rest else ""
    if head in _ADMIN:
        return ADMIN
    if head in _LISTS and method == "GET":
        return MODELS
    if method != "POST":
        return None
    return _OWN.get(rest)


def _folds(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    fold = openai_fold(endpoint, intent, is_stream)
    if endpoint is RERANK:
        fold = Amended(fold, as_ranked)
    generates = endpoint.operation in ("chat", "completions")
    return Amended(fold, lambda metered: _amended(metered, generates))


def _amended(metered: Metered, generates: bool) -> Metered:
    """What an answer says it cost, and the searches that were run for it."""
    said = stated(metered, OpenRouterUsage)
    tools = said.server_tool_use_details or said.server_tool_use or ServerTools()
    searches = min(tools.web_search_requests or 0, COUNT_MAX)
    if searches > 0 and "web_search" not in metered.usage:
        metered = replace(metered, usage={**metered.usage, "web_search": searches})
    cost = pico_of(said.cost)
    if said.is_byok:
        upstream = pico_of((said.cost_details or CostDetails()).upstream_inference_cost)
        cost = None if upstream is None else upstream + (cost or 0)
        metered = marked(metered, "upstream_byok")
    if cost is None and generates and _is_insured(metered):
        return marked(replace(metered, reported_cost=0), "zero_completion")
    return replace(metered, reported_cost=cost)


def _is_insured(metered: Metered) -> bool:
    """Free by the terms: an error as the finish, or no output and no finish at all. A stream that was cut may go on."""
    if metered.finish_reason == "error":
        return True
    ended = metered.complete or metered.error is not None
    return ended and metered.finish_reason is None and not output_tokens(metered.usage) and bool(metered.usage_raw)


OPENROUTER: Final = OpenAICompatible(
    "openrouter",
    "https://openrouter.ai",
    version_prefix="/api/v1",
    credential_env=("OPENROUTER_API_KEY",),
    credential_headers=("authorization", "x-api-key"),
    known_fields=KNOWN_FIELDS | {"session_id"},
    asks_for_usage=False,
    beside=("/api/alpha", "/api/beta"),
    routes=_routes,
    folds=_folds,
)
