"""Voyage AI: https://api.voyageai.com/v1. Embeddings and rerankers bill `usage.total_tokens`, multimodal embeddings the
tokens of the text and the pixels of images and video. Files and batches are as OpenAI's."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from farebox.providers.batch_results import Answered, BatchFold, Lines
from farebox.providers.counts import Number, whole
from farebox.providers.documents import Tree, read, salvage, tree_of
from farebox.providers.openai_chat import NULL, ErrorFold, is_given
from farebox.providers.openai_requests import read_intent
from farebox.providers.openai_routes import classify
from farebox.providers.openai_usage import Meters, Split
from farebox.providers.protocol import Endpoint, Intent, Metered, Reader
from farebox.providers.readers import BodyReader, FixedReader, StreamReader
from farebox.providers.routing import segments, with_prefix

PREFIX: Final = "/v1"

_INFERENCE: Final[dict[tuple[str, ...], Endpoint]] = {
    ("v1", "embeddings"): Endpoint("embeddings", "embeddings"),
    ("v1", "multimodalembeddings"): Endpoint("embeddings", "multimodalembeddings"),
    ("v1", "contextualizedembeddings"): Endpoint("embeddings", "contextualizedembeddings"),
    ("v1", "rerank"): Endpoint("rerank", "rerank"),
}


class VoyageUsage(msgspec.Struct, frozen=True, gc=False):
    """In multimodal answers the total holds a token for every 560 pixels, which are billed as pixels."""

    total_tokens: Number = None
    text_tokens: Number = None
    image_pixels: Number = None
    video_pixels: Number = None


class VoyageDocument(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: msgspec.Raw = NULL


def split_usage(reported: VoyageUsage) -> Split | None:
    """Disjoint meters; None where nothing is counted."""
    if reported.total_tokens is None and reported.text_tokens is None:
        return None
    meters = Meters()
    is_split = reported.text_tokens is not None
    meters.put("input", whole(reported.text_tokens if is_split else reported.total_tokens))
    if is_split:
        meters.put("pixels", whole(reported.image_pixels) + whole(reported.video_pixels))
    return Split(meters.usage, meters.marks)


class VoyageFold:
    """What an answer means: all are plain documents that only read."""

    tree: Tree = tree_of(VoyageDocument)
    running = (0, 0)

    def __init__(self) -> None:
        self._found = VoyageDocument()
        self._is_cut = False

    def take(self, document: bytes, whole: bool) -> None:
        try:
            self._found = read(document, VoyageDocument)
        except ValueError:
            self._is_cut = True
            self._found = salvage(document, VoyageDocument)

    def metered(self, ended: bool) -> Metered:
        found = self._found
        counted = _counted(found.usage)
        return Metered(
            usage=counted.usage if counted else {},
            quality="exact" if counted else "missing",
            usage_raw=bytes(found.usage) if counted else b"",
            model=found.model,
            complete=ended and not self._is_cut,
            marks=(*(("cut",) if self._is_cut else ()), *(counted.marks if counted else ())),
        )


def _counted(raw: msgspec.Raw) -> Split | None:
    try:
        return split_usage(read(raw, VoyageUsage)) if is_given(raw) else None
    except ValueError:
        return None


class _Response(msgspec.Struct, frozen=True):
    body: VoyageDocument | None = None


class _Line(msgspec.Struct, frozen=True):
    custom_id: str | None = None
    response: _Response | None = None


def _read_line(line: bytes) -> tuple[Answered, ...]:
    try:
        found = read(line, _Line)
    except ValueError:
        return ()
    if found.custom_id is None or found.response is None or found.response.body is None:
        return ()
    body = found.response.body
    counted = _counted(body.usage)
    return (Answered(body.model or "", counted.usage, counted.marks),) if counted else ()


@dataclass(frozen=True, slots=True)
class Voyage:
    """Answers are short and come whole: calls are read to their end, for the exact count."""

    name: str = "voyage"
    base_url: str = "https://api.voyageai.com"
    version_prefix: str = PREFIX
    credential_env: tuple[str, ...] = ("VOYAGE_API_KEY",)
    credential_headers: tuple[str, ...] = ("authorization",)
    drains: bool = True
    known_fields: frozenset[str] = frozenset({"metadata"})
    prices_as: str = "voyageai"
    openai_prefix: str | None = PREFIX

    def upstream_path(self, path: str) -> str:
        return with_prefix(self.version_prefix, path)

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        return read_intent(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return None  # nothing streams

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def region(self, host: str) -> str | None:
        return None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if status >= 400:
            return BodyReader(lambda: ErrorFold(status))
        if not endpoint.billed or status < 200 or status == 204:
            return FixedReader()
        if endpoint.family == "files.content":
            results = BatchFold(endpoint.object_id, tree_of(_Line), _read_line)
            return StreamReader(results, Lines(results.tree))
        return BodyReader(VoyageFold)

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        return msgspec.json.encode({"detail": message, "farebox": {"code": code, **(extra or {})}})


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if method == "POST" and found in _INFERENCE:
        return _INFERENCE[found]
    return classify(PREFIX, method, path)


VOYAGE: Final = Voyage()
