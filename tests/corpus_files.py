"""Recorded exchanges with expectations worked out by hand, where they lie beside the project; and how our meters
answer those expectations."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websocket_frames import BINARY, TEXT, frame

from farebox.providers import by_name, compatible
from farebox.providers.bedrock_models import model_name
from farebox.providers.bedrock_usage import GUARDRAIL_METERS
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Reader, Realtime
from farebox.providers.readers import sum_usage
from farebox.providers.websocket import close_frame

CORPUS = Path(__file__).resolve().parents[1].parent / "shared" / "corpus"
PROVIDER_OF = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "xai",
    "openrouter": "openrouter",
    "together": "together",
    "perplexity": "perplexity",
    "mistral": "mistral",
    "cohere": "cohere",
    "voyage": "voyage",
    "azure": "azure",
    "bedrock": "bedrock",
    "vertex": "vertex",
}
COMPATIBLE = {
    "cerebras": ("https://api.cerebras.ai/v1",),
    "huggingface": (
        "https://router.huggingface.co/nebius/v1",
        "https://router.huggingface.co/novita/v3/openai",
        "https://router.huggingface.co/together/v1",
    ),
    "moonshot": ("https://api.moonshot.ai/v1",),
    "ollama": ("http://localhost:11434/v1", "http://localhost:11434"),
    "replicate": ("https://api.replicate.com/v1",),
    "writer": ("https://api.writer.com/v1",),
    "zai": ("https://api.z.ai/api/paas/v4",),
}
"""Services without a file of their own that speak OpenAI's format, by the base URLs that were recorded. Ollama's own
`/api/…` and what Replicate has (predictions: no usage, billed by seconds of hardware) are other formats, of which only
records that cost nothing have an expectation."""


@dataclass(frozen=True)
class Recorded:
    """One exchange, ready to be read."""

    id: str
    provider: Provider
    endpoint: Endpoint
    intent: Intent
    status: int
    headers: dict[str, str]
    body: bytes
    streaming: bool
    family: str
    expected: dict[str, Any] | None
    is_request_elided: bool

    is_session: bool = False
    """A websocket session: `body` are the frames received, `asked` the frames sent."""
    asked: bytes = b""

    def reader(self, *, strip_usage: bool = False) -> Reader:
        return self.provider.reader(self.endpoint, self.intent, self.status, self.headers, strip_usage=strip_usage)

    def metered(self, pieces: list[bytes] | None = None) -> Metered:
        if self.is_session:
            assert isinstance(self.provider, Realtime)
            session = self.provider.session(self.endpoint, self.intent.model)
            assert session is not None
            session.client(self.asked)
            for piece in pieces if pieces is not None else [self.body]:
                session.upstream(piece)
            return session.metered()
        reader = self.reader()
        for piece in pieces if pieces is not None else [self.body]:
            reader.feed(piece)
        reader.end()
        return reader.metered()


@cache
def expectations() -> dict[str, dict[str, Any]]:
    lines = (CORPUS / "expected.jsonl").read_text().splitlines()
    return {found["id"]: found for found in map(json.loads, lines)}


def records(name: str) -> Iterator[Recorded]:
    """The HTTP exchanges of one file ('openai', 'core' …) with providers that are known here."""
    for raw, provider, path in _exchanges(name, "http"):
        yield _recorded(raw, provider, path)


def sessions(name: str) -> Iterator[Recorded]:
    """The websocket sessions of one file: each recorded line as a frame, then a close frame from the provider."""
    for raw, provider, path in _exchanges(name, "websocket"):
        yield _session(raw, provider, path)


def _exchanges(name: str, transport: str) -> Iterator[tuple[dict[str, Any], Provider, str]]:
    with (CORPUS / f"{name}.jsonl").open() as lines:
        for line in lines:
            raw = json.loads(line)
            found = _serving(raw) if raw["transport"] == transport else None
            if found is not None:
                yield (raw, *found)


def _session(raw: dict[str, Any], provider: Provider, path: str) -> Recorded:
    endpoint = provider.endpoint("GET", provider.upstream_path(path))
    heard, asked = (_bytes(raw, f"{side}_body").splitlines() for side in ("response", "request"))
    kind = BINARY if provider.name in ("gemini", "vertex") else TEXT
    return Recorded(
        id=raw["id"],
        provider=provider,
        endpoint=endpoint,
        intent=Intent(),
        status=raw["status"],
        headers={},
        body=b"".join(frame(line, kind) for line in heard) + close_frame(1000),
        streaming=True,
        family=raw["endpoint"],
        expected=expectations().get(raw["id"]),
        is_request_elided=False,
        is_session=True,
        asked=b"".join(frame(line, mask=b"\x1f\x2e\x3d\x4c") for line in asked),
    )


def _serving(raw: dict[str, Any]) -> tuple[Provider, str] | None:
    """The provider that is meant, and the path below its base URL; None where it is none of ours."""
    path = (raw["endpoint_path"] or "").partition("?")[0]
    if raw["provider"] in PROVIDER_OF:
        provider = by_name(PROVIDER_OF[raw["provider"]])
        assert provider is not None
        return provider, path
    for base_url in COMPATIBLE.get(raw["provider"], ()):
        root = urlsplit(base_url).path
        if path.startswith(root + "/"):
            return compatible(raw["provider"], base_url), path.removeprefix(root)
    return None


def _recorded(raw: dict[str, Any], provider: Provider, path: str) -> Recorded:
    endpoint = provider.endpoint(raw["method"], provider.upstream_path(path))
    return Recorded(
        id=raw["id"],
        provider=provider,
        endpoint=endpoint,
        intent=provider.intent(endpoint, _bytes(raw, "request_body")),
        status=raw["status"],
        headers=raw["response_headers"],
        body=_bytes(raw, "response_body"),
        streaming=raw["streaming"],
        family=raw["endpoint"],
        expected=expectations().get(raw["id"]),
        is_request_elided="ELIDED" in (raw["request_body"] or ""),
    )


def _bytes(raw: dict[str, Any], name: str) -> bytes:
    text = raw[name] or ""
    return base64.b64decode(text) if raw[f"{name}_encoding"] == "base64" else text.encode()


def told(recorded: Recorded, metered: Metered) -> dict[str, Any]:
    """Our answer in the words of the expectations, with what it bills apart."""
    metered = _with_apart(metered)
    usage = dict(metered.usage)
    if metered.quality != "exact":
        usage = {}

    def of(*names: str) -> int:
        return sum(usage.get(name, 0) for name in names)

    modal = ("audio_input", "image_input", "video_input")
    found: dict[str, Any] = {
        "usage_present": bool(metered.usage_raw) or of("seconds", "image", "characters") > 0,
        "input_tokens_uncached": of("input", *modal),
        "cache_read_tokens": of("cache_read", "audio_cache_read", "image_cache_read"),
        "cache_write_5m_tokens": of("cache_write_5m"),
        "cache_write_1h_tokens": of("cache_write_1h"),
        "cache_write_other_tokens": of("cache_write_30m", "cache_write_12h"),
        "output_tokens": of("output", "reasoning", "audio_output", "image_output"),
        "reasoning_tokens": of("reasoning"),
        "audio_input_tokens": of("audio_input", "audio_cache_read"),
        "audio_output_tokens": of("audio_output"),
        "image_input_tokens": of("image_input", "image_cache_read"),
        "image_output_tokens": of("image_output"),
        "model": metered.model or recorded.intent.model or recorded.endpoint.model,
        "service_tier": metered.service_tier,
        "inference_geo": metered.region,
        "processing": "batch" if metered.batch else None,
        "billable": _is_billable(recorded, metered),
        "parts": sorted((part.model, sum(part.usage.values())) for part in metered.parts),
    }
    found["other_billable"] = _fees(recorded, usage)
    if recorded.endpoint.operation == "rerank" and recorded.provider.name == "openrouter":
        # A reranker's tokens have a name of their own there.
        found["other_billable"]["rerank_total_tokens"] = found["input_tokens_uncached"]
        found["input_tokens_uncached"] = 0
    if recorded.is_session:
        found["other_billable"] |= _transcribed(metered)
        found["parts"] = []  # expectations have transcripts among the fees
    return found


def _with_apart(metered: Metered) -> Metered:
    """The answer with the bills that stand beside it: results of a batch, all of one model here."""
    if not metered.apart:
        return metered
    usage = dict(metered.usage)
    for part in metered.apart:
        usage = sum_usage(usage, part.usage)
    first = metered.apart[0]
    assert {part.model for part in metered.apart} == {first.model}
    return msgspec.structs.replace(
        metered, usage=usage, model=first.model, batch=first.batch, usage_raw=first.usage_raw
    )  # fmt: skip


def _transcribed(metered: Metered) -> dict[str, int]:
    """What transcribing the caller used, as expectations name it."""
    counts: dict[str, int] = {}
    for part in metered.parts:
        names = {
            "seconds": part.usage.get("seconds", 0),
            "transcription_input_tokens": part.usage.get("input", 0) + part.usage.get("audio_input", 0),
            "transcription_output_tokens": part.usage.get("output", 0),
        }
        counts |= {name: counts.get(name, 0) + count for name, count in names.items() if count}
    return counts


def _is_billable(recorded: Recorded, metered: Metered) -> bool:
    """What may hold a batch's results is billed only if it does."""
    if recorded.endpoint.operation == "batch" and not metered.usage:
        return False
    return recorded.endpoint.billed and recorded.status < 300  # a session's is 101


def _fees(recorded: Recorded, usage: dict[str, int]) -> dict[str, int]:
    fees = {name: usage.get(name, 0) for name in ("web_search", "web_fetch", "file_search", "code_session", "image")}
    fees |= {name: usage.get(name, 0) for name in ("grounded_prompt", "grounding_query", "characters", "seconds")}
    fees |= {name: usage.get(name, 0) for name in ("search_unit", "page", "classification")}
    if any(name.startswith("guardrail_") for name in (recorded.expected or {}).get("other_billable", ())):
        fees |= {name: usage.get(name, 0) for name in GUARDRAIL_METERS.values()}  # told for Converse only
    return {name: count for name, count in fees.items() if count}


_SAME = {
    "web_searches": "web_search",
    "web_search_calls": "web_search",
    "web_fetches_free": "web_fetch",
    "file_search_calls": "file_search",
    "code_interpreter_containers": "code_session",
    "images": "image",
    "input_characters": "characters",
    "search_units": "search_unit",
    "pages": "page",
    "classifications": "classification",
    **{f"guardrail_{name}": meter for name, meter in GUARDRAIL_METERS.items()},
}
_BY_TOKEN = "gemini-embedding"
"""Embeddings whose characters are told, but not billed."""


def wanted(recorded: Recorded) -> dict[str, Any]:
    """The expectation in the shape of `told`; absent counts are zero."""
    expected = recorded.expected
    assert expected is not None
    counts = [name for name in expectations_counts() if name != "total_input_tokens"]
    found: dict[str, Any] = {name: expected.get(name, 0) for name in counts}
    found["usage_present"] = expected["usage_present"]
    found["billable"] = expected["billable"]
    found["processing"] = expected.get("processing")
    found["parts"] = sorted(
        (
            part["model"],
            sum(value for name, value in part.items() if name.endswith("_tokens_uncached") or name in counts),
        )
        for part in expected.get("extra_models", ())
    )
    for optional in ("service_tier", "inference_geo", "model"):
        found[optional] = expected.get(optional)
    if found["service_tier"] == 1:
        found["service_tier"] = "ON_DEMAND"  # of a client that asked for integer enums
    found["other_billable"] = _wanted_fees(recorded, expected["other_billable"])
    return found


def _wanted_fees(recorded: Recorded, other: dict[str, int]) -> dict[str, int]:
    fees = {_SAME[name]: count for name, count in other.items() if name in _SAME}
    if "rerank_total_tokens" in other:
        fees["rerank_total_tokens"] = other["rerank_total_tokens"]
    if recorded.provider.name == "xai" and "code_interpreter_calls" in other:
        fees["code_session"] = other["code_interpreter_calls"]  # each is billed there, not the container
    if recorded.expected and recorded.expected.get("output_tokens"):
        fees.pop("image", None)  # images billed by tokens are not billed by the piece
    for name in ("transcription_input_tokens", "transcription_output_tokens"):
        if recorded.is_session and name in other:
            fees[name] = other[name]
    for name in ("audio_input_seconds", "transcription_seconds", "billable_audio_seconds"):
        if name in other:
            fees["seconds"] = other[name] * 1000
    if "billable_characters" in other and _BY_TOKEN not in (recorded.endpoint.model or ""):
        fees["characters"] = other["billable_characters"]
    generation = re.search(r"gemini-(\d+)", recorded.endpoint.model or "")
    if generation and int(generation[1]) >= 3:
        if "grounding_search_queries" in other:
            fees["grounding_query"] = other["grounding_search_queries"]
    elif "grounded_prompts" in other:
        fees["grounded_prompt"] = other["grounded_prompts"]
    return fees


def expectations_counts() -> tuple[str, ...]:
    return (
        "input_tokens_uncached",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "cache_write_other_tokens",
        "output_tokens",
        "reasoning_tokens",
        "audio_input_tokens",
        "audio_output_tokens",
        "image_input_tokens",
        "image_output_tokens",
    )


def is_same_model(ours: str | None, theirs: str) -> bool:
    """Whether both name one model: an ARN means the id inside it, an undated name the dated one that served."""
    name = model_name(theirs.removeprefix("models/"))
    return ours is not None and _DATED.sub("", ours) == _DATED.sub("", name) and ours.startswith(name)


_DATED = re.compile(r"-20\d\d-\d\d-\d\d$")


def differences(recorded: Recorded, metered: Metered) -> list[str]:
    """What differs from the expectation, in words; empty where nothing does."""
    ours, theirs = told(recorded, metered), wanted(recorded)
    found = []
    for name, value in theirs.items():
        if name in ("model", "service_tier", "inference_geo") and value is None:
            continue  # nothing is expected
        if name == "model":
            if not theirs["billable"] or recorded.is_request_elided:
                continue  # answers that cost nothing are not looked into; of elided requests nobody knows
            if is_same_model(ours[name], str(value)):
                continue
        if ours[name] != value:
            found.append(f"{name}: {ours[name]!r}, expected {value!r}")
    return found
