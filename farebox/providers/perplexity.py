"""Perplexity: https://api.perplexity.ai. Every answer says what it cost (`usage.cost.total_cost`), the fee of the
request included, which depends on `search_context_size`. Streams repeat usage, cumulative, in each chunk. Hanging up
does not stop the bill.

Source: https://docs.perplexity.ai and recorded answers. Routes stand at the root, newer ones under `/v1`. Deep research
also bills citation and reasoning tokens, which its totals leave out, and its searches. An asynchronous job is billed
where its result is read, once by its id.
"""

from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.meters import Usage
from farebox.providers.documents import Tree
from farebox.providers.jobs import JobFold
from farebox.providers.openai_routes import INFERENCE, STORED
from farebox.providers.openai_shape import OpenAICompatible, openai_fold
from farebox.providers.openai_usage import COUNT_MAX
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import Fold
from farebox.providers.reported import Amended, pico_of, stated
from farebox.providers.routing import ADMIN

SEARCH_MODEL: Final = "search"
"""Under what name the search API stands in the price book: its calls name no model."""

_SEARCH: Final = Endpoint("other", "search", model=SEARCH_MODEL)
_OWN: Final[dict[tuple[str, ...], Endpoint]] = {
    ("sonar",): INFERENCE["chat", "completions"],
    ("search",): _SEARCH,
    ("contextualizedembeddings",): Endpoint("embeddings", "embeddings"),
}
_JOBS: Final = (("async", "chat", "completions"), ("async", "sonar"))
_JOB_FAMILY: Final = "async.chat.completions"
_MADE: Final = Endpoint("chat", _JOB_FAMILY)
_ADMIN: Final = frozenset({"generate_auth_token", "revoke_auth_token", "keys", "groups"})


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    if rest[:1] == ("v1",):
        rest = rest[1:]
    if rest[:1] and rest[0] in _ADMIN:
        return ADMIN
    for made in _JOBS:
        if rest == made and method == "POST":
            return _MADE
        if rest == made and method == "GET":
            return replace(STORED, action="list")
        if rest[:-1] == made and method == "GET":
            job_id = rest[-1]
            return Endpoint("chat", _JOB_FAMILY, body="none", stored=True, object_id=job_id, root=job_id, action="read")
    if method != "POST":
        return None
    return _OWN.get(rest) or INFERENCE.get(rest)


class Cost(msgspec.Struct, frozen=True):
    """Dollars."""

    total_cost: Decimal | None = None


class ToolCalls(msgspec.Struct, frozen=True):
    invocation: int | None = None


class Tools(msgspec.Struct, frozen=True):
    """Of the agent API, by the tool's name."""

    web_search: ToolCalls | None = None
    fetch_url: ToolCalls | None = None


class PerplexityUsage(msgspec.Struct, frozen=True):
    """What stands in `usage` beside OpenAI's counts."""

    cost: Cost | None = None
    search_context_size: str | None = None
    citation_tokens: int | None = None
    reasoning_tokens: int | None = None
    num_search_queries: int | None = None
    tool_calls_details: Tools | None = None


def _folds(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    if endpoint is _SEARCH:
        return SearchFold()
    fold: Fold = Amended(openai_fold(endpoint, intent, is_stream), _amended)
    return JobFold(fold, endpoint.object_id) if endpoint.family == _JOB_FAMILY else fold


def _amended(metered: Metered) -> Metered:
    """What an answer says it cost, and what it used beside its totals."""
    said = stated(metered, PerplexityUsage)
    tools = said.tool_calls_details or Tools()
    searches = said.num_search_queries or (tools.web_search or ToolCalls()).invocation
    extra: Usage = {
        "citation": _count(said.citation_tokens),
        "reasoning": _count(said.reasoning_tokens),
        "web_search": _count(searches),
        "web_fetch": _count((tools.fetch_url or ToolCalls()).invocation),
    }
    if metered.quality == "missing":  # tokens beside totals that nobody can read are no usage
        extra = {meter: count for meter, count in extra.items() if meter not in ("citation", "reasoning")}
    return replace(
        metered,
        usage={**metered.usage, **{meter: count for meter, count in extra.items() if count}},
        variant=said.search_context_size or metered.variant,
        reported_cost=pico_of(said.cost.total_cost) if said.cost else None,
    )


def _count(count: int | None) -> int:
    return min(max(count or 0, 0), COUNT_MAX)


class SearchFold:
    """The search API gives results without any usage: each call is billed."""

    running = (0, 0)

    def __init__(self) -> None:
        self._seen = False

    @property
    def tree(self) -> Tree:
        return {b"id": None}

    def take(self, document: bytes, whole: bool) -> None:
        self._seen = True

    def metered(self, ended: bool) -> Metered:
        return Metered(usage={"request": 1}, quality="exact", model=SEARCH_MODEL, complete=ended and self._seen)


PERPLEXITY: Final = OpenAICompatible(
    "perplexity",
    "https://api.perplexity.ai",
    version_prefix="",
    credential_env=("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
    drains=True,
    asks_for_usage=False,
    routes=_routes,
    folds=_folds,
)
