"""xAI: https://api.x.ai/v1. Nearly every answer says what it cost, and that is the bill, tools included:
`usage.cost_in_usd_ticks`, ten thousand million to the dollar.

Source: https://docs.x.ai (cost tracking, regions, deferred completions, batches) and recorded answers. Chat counts
reasoning beside the completion, the Responses API inside the output. Deferred completions and videos are tickets,
billed where the result is read. `https://us.api.x.ai` keeps calls in the United States, at 1.1 times the token rates.
The official SDK speaks gRPC, which this does not see.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.meters import Usage
from farebox.providers.counts import Number, milliseconds
from farebox.providers.documents import read
from farebox.providers.jobs import JobFold
from farebox.providers.openai_realtime import RealtimeFold, measured
from farebox.providers.openai_routes import BATCHES, MESSAGES
from farebox.providers.openai_shape import OpenAICompatible, openai_fold
from farebox.providers.openai_usage import COUNT_MAX, Split
from farebox.providers.protocol import Endpoint, Intent, Metered, Reader
from farebox.providers.readers import Fold
from farebox.providers.realtime import SessionReader
from farebox.providers.reported import Amended, marked, stated
from farebox.providers.routing import ADMIN, placed
from farebox.providers.xai_answers import VideoFold, page_reader, pico_of_ticks

_OWN: Final[dict[tuple[str, ...], Endpoint]] = {
    ("messages",): MESSAGES,
    ("complete",): Endpoint("completions", "completions"),
    ("images", "edits"): Endpoint("image", "images.edits"),
    ("tts",): Endpoint("audio", "audio.speech", model="tts"),
    ("stt",): Endpoint("audio", "audio.transcriptions", body="multipart", model="stt"),
    ("videos", "generations"): Endpoint("other", "videos"),
    ("videos", "edits"): Endpoint("other", "videos"),
    ("videos", "extensions"): Endpoint("other", "videos"),
    ("tokenize-text",): Endpoint("other", "tokenize", billed=False),
}
_MODEL_LISTS: Final = frozenset(
    {"language-models", "embedding-models", "image-generation-models", "video-generation-models"}
)
_DEFERRED: Final = "chat.deferred"
_RESULTS: Final = "batches.results"


_COLLECTIONS: Final = (("chat", "deferred-completion"), ("videos",), ("batches",))


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    found = _own_route(method, rest)
    return placed(found, _COLLECTIONS, method, rest) if found is not None and found.stored else found


def _own_route(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    head = rest[0] if rest else ""
    if head in ("api-key", "management"):
        return ADMIN
    if method == "POST":
        return BATCHES if head == "batches" else _OWN.get(rest)
    if method != "GET":
        return None
    if head in _MODEL_LISTS or rest == ("tts", "voices"):
        return Endpoint("other", "models", body="none", billed=False)
    if rest[:2] == ("chat", "deferred-completion") and len(rest) == 3:
        return Endpoint("chat", _DEFERRED, body="none", stored=True, object_id=rest[2])
    if head == "videos" and len(rest) == 2:
        return Endpoint("other", "videos", body="none", stored=True, object_id=rest[1])
    if head == "batches" and rest[2:] == ("results",):
        return Endpoint("batch", _RESULTS, body="none", stored=True, object_id=rest[1])
    return None


def _folds(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    family = endpoint.family
    if family == "videos":
        return JobFold(VideoFold(), endpoint.object_id)
    fold: Fold = Amended(openai_fold(endpoint, intent, is_stream), _amended)
    if family == _DEFERRED or (family == "chat.completions" and not is_stream):
        return JobFold(fold, endpoint.object_id)
    return fold


def _page(endpoint: Endpoint) -> Reader | None:
    return page_reader(endpoint.object_id) if endpoint.family == _RESULTS and endpoint.object_id else None


class ToolUsage(msgspec.Struct, frozen=True):
    """How often each tool ran. Calls of MCP servers are free."""

    web_search_calls: int | None = None
    x_search_calls: int | None = None
    code_interpreter_calls: int | None = None
    file_search_calls: int | None = None
    document_search_calls: int | None = None
    image_generation_calls: int | None = None


class XaiUsage(msgspec.Struct, frozen=True):
    """What stands in `usage` beside OpenAI's counts."""

    cost_in_usd_ticks: int | None = None
    num_sources_used: int | None = None
    num_server_side_tools_used: int | None = None
    server_side_tool_usage_details: ToolUsage | None = None


def _amended(metered: Metered) -> Metered:
    """What an answer says it cost, and which tools ran for it."""
    said = stated(metered, XaiUsage)
    metered = replace(metered, reported_cost=pico_of_ticks(said.cost_in_usd_ticks))
    details = said.server_side_tool_usage_details
    if details is not None:
        metered = replace(metered, usage={**metered.usage, **_fees(details)})
        if details.image_generation_calls:
            metered = marked(metered, "image_tool_unmetered")
    elif (said.num_server_side_tools_used or 0) > sum(metered.usage.get(meter, 0) for meter in _TOOLS):
        metered = marked(metered, "tools_unmetered")
    return marked(metered, "sources_unmetered") if said.num_sources_used else metered


_TOOLS: Final = ("web_search", "file_search", "code_session", "tool_call")


def _fees(ran: ToolUsage) -> Usage:
    """Searches of X cost what searches of the web do; `tool_call` is a search in an attached document."""
    counts = {
        "web_search": (ran.web_search_calls or 0) + (ran.x_search_calls or 0),
        "file_search": ran.file_search_calls or 0,
        "code_session": ran.code_interpreter_calls or 0,
        "tool_call": ran.document_search_calls or 0,
    }
    return {meter: min(count, COUNT_MAX) for meter, count in counts.items() if count > 0}


class VoiceUsage(msgspec.Struct, frozen=True, gc=False):
    billable_audio_seconds: Number = None


def _measured(usage_raw: bytes) -> Split:
    """A voice answer: billed by its seconds, not by its tokens. Tokens alone are marked."""
    counted = measured(usage_raw)
    seconds = read(usage_raw, VoiceUsage).billable_audio_seconds
    if seconds is None:
        return Split(counted.usage, (*counted.marks, "seconds_untold"))
    audio_ms = milliseconds(seconds)
    return Split({**counted.usage, "seconds": audio_ms}, counted.marks) if audio_ms else counted


def _session(endpoint: Endpoint, model: str | None) -> SessionReader | None:
    """Transcripts of the caller come with the voice."""
    if not endpoint.websocket:
        return None
    return SessionReader(RealtimeFold(endpoint.family, model, measure=_measured, bills_transcripts=False))


XAI: Final = OpenAICompatible(
    "xai",
    "https://api.x.ai",
    credential_env=("XAI_API_KEY",),
    credential_headers=("authorization", "x-api-key"),
    residency_host="api.x.ai",
    routes=_routes,
    folds=_folds,
    own_reader=_page,
    sessions=_session,
)
