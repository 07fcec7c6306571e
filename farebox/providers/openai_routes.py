"""The routes of OpenAI's API, as far as they differ for metering and for who may call them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from farebox.providers.protocol import Endpoint
from farebox.providers.routing import ADMIN, ESCAPED, placed, segments

INFERENCE: Final[dict[tuple[str, ...], Endpoint]] = {
    ("chat", "completions"): Endpoint("chat", "chat.completions"),
    ("responses",): Endpoint("responses", "responses"),
    ("responses", "compact"): Endpoint("responses", "responses.compact"),
    ("responses", "input_tokens"): Endpoint("other", "responses.input_tokens", billed=False),
    ("decisions",): Endpoint("other", "decisions"),
    ("completions",): Endpoint("completions", "completions"),
    ("embeddings",): Endpoint("embeddings", "embeddings"),
    ("moderations",): Endpoint("moderation", "moderations", billed=False),
    ("images", "generations"): Endpoint("image", "images.generations"),
    ("images", "edits"): Endpoint("image", "images.edits", body="multipart"),
    ("images", "variations"): Endpoint("image", "images.variations", body="multipart"),
    ("audio", "speech"): Endpoint("audio", "audio.speech"),
    ("audio", "transcriptions"): Endpoint("audio", "audio.transcriptions", body="multipart"),
    ("audio", "translations"): Endpoint("audio", "audio.translations", body="multipart"),
    ("realtime", "sessions"): Endpoint("realtime", "realtime.sessions", billed=False),
    ("realtime", "transcription_sessions"): Endpoint("realtime", "realtime.sessions", billed=False),
    ("realtime", "client_secrets"): Endpoint("realtime", "realtime.sessions", billed=False),
    ("realtime", "calls"): Endpoint("realtime", "realtime.calls", body="opaque"),
    ("live", "sessions"): Endpoint("realtime", "live.sessions", body="opaque"),
}
"""What POST to these means."""

MESSAGES: Final = Endpoint("messages", "messages")
"""Anthropic's messages, where a service has them beside OpenAI's routes."""
RERANK: Final = Endpoint("rerank", "rerank")
"""Not OpenAI's, but much alike wherever it is."""

REALTIME: Final = Endpoint("realtime", "realtime", body="none", websocket=True)
TRANSLATIONS: Final = Endpoint("realtime", "realtime.translations", body="none", websocket=True)
LIVE: Final = Endpoint("realtime", "live", body="none", websocket=True)

ADMIN_WORDS: Final = frozenset(
    {"organization", "organizations", "admin", "dashboard", "billing", "api_keys", "projects"}
)

MODELS: Final = Endpoint("other", "models", body="none", billed=False)
STORED: Final = Endpoint("other", "stored", body="opaque", billed=False, stored=True)
"""Reads, lists, changes or deletes what is stored; costs nothing by the call."""
STORED_FILES: Final = Endpoint("other", "files", body="multipart", billed=False, stored=True, action="make")
BATCHES: Final = Endpoint("batch", "batches", billed=False, stored=True)
"""A batch object repeats the sum of what its result file says line by line: the file is billed, this is not."""
UNKNOWN: Final = Endpoint("other", "unknown", stored=True)
"""A POST that nobody told us about: it may cost and it may touch stored objects."""

_COLLECTIONS: Final = (
    ("files",), ("batches",), ("responses",), ("chat", "completions"), ("conversations",), ("threads",),
    ("assistants",), ("vector_stores",), ("fine_tuning", "jobs"), ("uploads",), ("containers",), ("skills",),
    ("evals",), ("models",), ("realtime", "calls"),
)  # fmt: skip
"""What is stored stands below these as `/{id}`, and what belongs to it below that."""
_STORES: Final = frozenset(
    {"assistants", "conversations", "vector_stores", "fine_tuning", "fine-tunes", "uploads", "skills", "containers"}
    | {"evals"}
)
_FREE_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


OwnRoutes = Callable[[str, tuple[str, ...]], Endpoint | None]
"""(method, decoded segments below the version prefix) -> the endpoint of a route that a service has beside OpenAI's,
None for all others. A path that does not begin with the version prefix comes whole."""


@lru_cache(maxsize=2048)
def classify(prefix: str, method: str, path: str, own: OwnRoutes | None = None) -> Endpoint:
    """The endpoint of a path that begins with `prefix` ('/v1')."""
    found = segments(path)
    if found is None:
        return ESCAPED
    if any(segment.lower().strip() in ADMIN_WORDS for segment in found):
        return ADMIN
    rest = below(prefix, found)
    if own is not None and (endpoint := own(method, rest)) is not None:
        return endpoint
    if method == "POST" and rest in INFERENCE:
        return INFERENCE[rest]
    endpoint = _stored_or_unknown(method, rest)
    return placed(endpoint, _COLLECTIONS, method, rest) if endpoint.stored else endpoint


def below(prefix: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """The segments after those of `prefix`; all of them where it is not there."""
    wanted = tuple(segment for segment in prefix.split("/") if segment)
    return found[len(wanted) :] if found[: len(wanted)] == wanted else found


def _stored_or_unknown(method: str, rest: tuple[str, ...]) -> Endpoint:
    head = rest[0] if rest else ""
    if head == "models":
        return MODELS if method in ("GET", "HEAD") else STORED
    if head == "responses":
        return _response(method, rest)
    if head == "files":
        if method == "GET" and len(rest) == 3 and rest[2] == "content":
            return Endpoint("batch", "files.content", body="none", stored=True, object_id=rest[1])
        return STORED_FILES if method == "POST" and len(rest) == 1 else STORED
    if head == "batches":
        return BATCHES
    if head == "threads":
        return _thread(method, rest)
    if rest[:2] == ("realtime", "calls") and len(rest) > 2:
        return STORED  # to accept, refer or end a call costs nothing; its sessions do
    if method == "GET" and head in ("realtime", "live") and (found := _session(rest)) is not None:
        return found
    if head in _STORES or method in _FREE_READS or rest[:2] == ("chat", "completions"):
        return STORED
    return UNKNOWN


def _session(rest: tuple[str, ...]) -> Endpoint | None:
    """Sessions over websockets. One that joins or forks another that is under way names that one."""
    if rest in (("realtime",), ("realtime", "translations")):
        return REALTIME if len(rest) == 1 else TRANSLATIONS
    if rest in (("live",), ("live", "sessions")):
        return LIVE
    if rest[:2] == ("live", "sessions") and rest[3:] in (("attach",), ("fork",)):
        session_id = rest[2] if rest[3] == "attach" else None
        return Endpoint("realtime", "live", body="none", stored=True, object_id=session_id, websocket=True)
    return None


def _response(method: str, rest: tuple[str, ...]) -> Endpoint:
    """A stored response: reading it repeats its usage, which is billed once by its id (background responses)."""
    reads = method == "GET" and len(rest) == 2
    cancels = method == "POST" and len(rest) == 3 and rest[2] == "cancel"
    if reads or cancels:
        return Endpoint("responses", "responses.get", body="none", stored=True, object_id=rest[1])
    return STORED


def _thread(method: str, rest: tuple[str, ...]) -> Endpoint:
    """Assistants: the usage of a run comes with its terminal state, in a stream or when it is read."""
    if "runs" not in rest or "steps" in rest or (method == "GET" and rest[-1] == "runs"):
        return STORED
    position = rest.index("runs")
    run_id = rest[position + 1] if len(rest) > position + 1 else None
    return Endpoint("responses", "threads.runs", stored=True, object_id=run_id)
