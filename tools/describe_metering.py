"""docs/reference/metering.md, made from the code: what is metered how, provider by provider, route by route.

python -m tools.describe_metering > docs/reference/metering.md
"""

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from farebox.providers import PROVIDERS, by_name
from farebox.providers.charging import REPORTS_COST
from farebox.providers.protocol import Endpoint, Provider

_INTRO: Final = """# Metering

What each route of each provider is metered by, how it is billed, and what happens when the caller hangs up. It is
written by `python -m tools.describe_metering`; the meters are those of [Costs](../explanation/costs.md).

* **Exact** is what the provider said. What it does not say is an estimate, marked as such, or unpriced, never 0.
* Every route that is not named here passes too: a `POST` that nobody told Farebox of is billed by the `usage` of its
  answer, if it has one, and is unpriced if not. Keys bound to a tenant may not take it.
* Stored objects are billed once, to who made them: see [How to work with stored objects](../how-to/stored-objects.md).
"""
_HANG_UPS: Final = """\
`upstream.client_gone` overrides the rule. Background work is read on for everywhere. Reading on is bounded by
`upstream.drain_s_max`, `upstream.drain_calls_max` and `upstream.drain_bytes_max`. An estimate takes the input from what
the provider has said so far (Anthropic: exact) or from the request, and counts the output that came."""
ROUTES: Final = (
    "POST chat/completions", "POST responses", "GET responses/{id}", "POST responses/{id}/cancel",
    "POST responses/compact", "POST responses/input_tokens", "POST completions", "POST embeddings", "POST rerank",
    "POST moderations", "POST images/generations", "POST images/edits", "POST images/variations", "POST images",
    "POST audio/speech", "POST audio/transcriptions", "POST audio/translations", "POST decisions", "GET realtime",
    "POST batches", "GET batches/{id}", "GET files/{id}/content", "POST threads/{id}/runs",
    "GET threads/{id}/runs/{run}", "POST messages", "POST messages/count_tokens", "POST messages/batches",
    "GET messages/batches/{id}/results", "POST complete", "POST models/{model}:generateContent",
    "POST models/{model}:streamGenerateContent", "POST models/{model}:embedContent",
    "POST models/{model}:batchEmbedContents", "POST models/{model}:countTokens", "POST models/{model}:predict",
    "POST models/{model}:batchGenerateContent", "GET files/{id}:download", "POST interactions", "GET interactions/{id}",
    "POST cachedContents", "POST ocr", "POST fim/completions", "POST v1/agents/completions", "POST conversations",
    "POST conversations/{id}", "POST classifications", "GET batch/jobs/{id}", "POST v1/chat", "POST v2/chat",
    "POST v1/embed", "POST v2/embed", "POST v2/rerank", "POST v1/classify", "POST v1/generate", "POST v1/summarize",
    "POST v2/parse", "POST search", "POST contextualizedembeddings", "POST multimodalembeddings",
    "POST async/chat/completions", "GET async/chat/completions/{id}", "POST tts", "POST stt", "POST videos/generations",
    "GET videos/{id}", "GET chat/deferred-completion/{id}", "POST model/{model}/converse",
    "POST model/{model}/converse-stream", "POST model/{model}/invoke",
    "POST model/{model}/invoke-with-response-stream", "POST model/{model}/count-tokens",
    "POST guardrail/{id}/version/{version}/apply",
    "POST {place}/publishers/google/models/{model=gemini-2.5-flash}:generateContent",
    "POST {place}/publishers/google/models/{embedding=text-embedding-005}:predict",
    "POST {place}/publishers/google/models/{image=imagen-4}:predict",
    "POST {place}/publishers/anthropic/models/{model=claude-haiku-4-5}:rawPredict",
    "POST {place}/publishers/anthropic/models/{model=claude-haiku-4-5}:streamRawPredict",
    "POST {place}/cachedContents", "POST openai/deployments/{deployment}/chat/completions",
    "POST models/chat/completions", "POST anthropic/v1/messages",
)  # fmt: skip
"""Routes that are asked of every provider; those that it does not know are left out. `{name=example}` stands for a name
that the provider tells routes apart by."""
PLACE: Final = "v1/projects/p/locations/l"
TOKENS: Final = "tokens by kind, as the answer's usage says"
COUNTED: Final[dict[str, str]] = {
    "chat.completions": TOKENS + "; streams are asked for it; searches of search models, by their citations",
    "responses": TOKENS
    + "; web and file searches, code sessions; the image tool's and an SVG's tokens at their models",
    "responses.get": "the same, of the stored response",
    "responses.compact": TOKENS,
    "completions": TOKENS,
    "embeddings": TOKENS,
    "rerank": "searches or tokens, whichever the answer says",
    "images.generations": "text and image tokens, an SVG's at its model; pieces by size and quality if none are told",
    "images.edits": "as images/generations",
    "images.variations": "pieces by size",
    "audio.speech": "characters (tts-1); tokens as events say them, else estimated from the text",
    "audio.transcriptions": "tokens or seconds as the answer says; text, srt, vtt by the upload's headers, estimated",
    "audio.translations": "as audio/transcriptions",
    "decisions": TOKENS,
    "realtime": "tokens of each answer by kind, transcriptions at their own model",
    "files.content": "each line's usage and fees, at batch prices",
    "threads.runs": "tokens of the run, once it is over",
    "messages": TOKENS + "; compaction, advisor and fallback passes each at its model; web searches and fetches",
    "messages.batches.results": "each line's usage, at batch prices",
    "legacy.complete": "estimated from the text: the answer has no usage",
    "gemini.generateContent": TOKENS + "; grounding by prompt (to 2.5) or by query (from 3)",
    "gemini.streamGenerateContent": "as generateContent: the last count of the stream",
    "gemini.embedContent": "tokens by kind; estimated where the answer is an old one without",
    "gemini.batchEmbedContents": "as embedContent",
    "gemini.predict": "pieces, tokens or characters, as the model bills",
    "gemini.interactions": TOKENS + "; grounding",
    "gemini.batches": "each answer inside, at batch prices",
    "gemini.download": "each line's usage, at batch prices",
    "ocr": "pages",
    "fim.completions": TOKENS,
    "agents.completions": TOKENS,
    "conversations": TOKENS + "; connectors by the call",
    "conversations.append": TOKENS + "; connectors by the call",
    "classifications": TOKENS,
    "batch.job": "each answer inside, at batch prices",
    "v1.chat": "billed units",
    "v2.chat": "billed units",
    "v1.embed": "billed units: tokens, images",
    "v2.embed": "billed units: tokens, images",
    "legacy.generate": "billed units",
    "summarize": "billed units",
    "classify": "classifications",
    "parse": "pages",
    "search": "each request",
    "contextualizedembeddings": TOKENS,
    "multimodalembeddings": TOKENS,
    "async.chat.completions": "tokens and the stated cost, once the job is over",
    "chat.deferred": "tokens and the stated cost, once it is there",
    "videos": "the stated cost, once it is there",
    "images.workflow": "pieces",
    "converse": TOKENS + "; guardrails by their units",
    "invoke": "the vendor's own usage in the body, else the counts in the headers or the stream's last event",
    "gemini.cachedContents.billed": "tokens written; storage by the hour shows on no answer",
    "guardrail": "guardrail units",
}
"""What is counted, by a route's family."""


GOES_ON: Final = frozenset({"conversations.append"})
"""Families that name a stored object and answer anew each time."""


def as_markdown() -> str:
    """The page."""
    return "\n".join([_INTRO, "## Providers", "", *_providers(), *_tables()]) + "\n"


def _providers() -> Iterator[str]:
    yield "| provider | a caller that hangs up | stated cost |"
    yield "|---|---|---|"
    for provider in PROVIDERS:
        rule = (
            "is read on for: hanging up does not stop the bill"
            if provider.drains
            else "ends the call: an estimate is booked"
        )
        stated = "is the bill" if provider.prices_as in REPORTS_COST else "none"
        yield f"| {provider.name} | {rule} | {stated} |"
    yield ""
    yield from _HANG_UPS.splitlines()
    yield ""


def _tables() -> Iterator[str]:
    common = by_name("openai")
    assert common is not None
    shared = dict(_rows(common))
    yield "## Routes in OpenAI's format"
    yield ""
    yield "OpenAI, and every service that speaks its format, as far as it has the route."
    yield ""
    yield from _table(shared.values())
    for provider in PROVIDERS:
        own = [row for key, row in _rows(provider) if key not in shared]
        if own:
            yield f"## {provider.name}: routes of its own"
            yield ""
            yield from _table(own)


def _table(rows: Iterable[str]) -> Iterator[str]:
    yield "| route | what is counted | billed |"
    yield "|---|---|---|"
    yield from rows
    yield ""


def _rows(provider: Provider) -> Iterator[tuple[tuple[str, str], str]]:
    """((route, family), its line) of what a provider knows."""
    for route in ROUTES:
        method, _, path = route.partition(" ")
        endpoint = provider.endpoint(method, provider.upstream_path("/" + _example(path)))
        if not _is_known(endpoint):
            continue
        yield (route, endpoint.family), f"| `{_shown(route)}` | {counted(endpoint)} | {billed(endpoint)} |"


def _is_known(endpoint: Endpoint) -> bool:
    if endpoint.admin or endpoint.family.endswith(("unknown", "untold", "stored", "free", "models")):
        return False
    return endpoint.billed or not endpoint.stored or endpoint.operation == "batch"


def _example(path: str) -> str:
    path = path.replace("{place}", PLACE)
    return re.sub(r"\{\w+(?:=([^}]+))?\}", lambda found: found[1] or "x1", path)


def _shown(route: str) -> str:
    method, _, path = route.partition(" ")
    return (
        f"{method} /{re.sub(r'=[^}]+', '', path).replace('{place}', PLACE.replace('/p/', '/…/').replace('/l', '/…'))}"
    )


def counted(endpoint: Endpoint) -> str:
    """What a route is metered by. KeyError for a family that nobody has described."""
    if not endpoint.billed:
        return "nothing"
    return COUNTED[endpoint.family]


def billed(endpoint: Endpoint) -> str:
    """When a route costs something."""
    if not endpoint.billed:
        return "where its results are read" if endpoint.operation == "batch" else "free"
    if endpoint.object_id is not None and endpoint.family not in GOES_ON:
        return "once for each object, however often it is read"
    return "by the answer"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
