"""The one load that every contender is measured with: small chat calls, and streams of small chunks."""

import json
from decimal import Decimal

MODEL = "gpt-4.1-mini"
MODEL_SERVED = "gpt-4.1-mini-2025-04-14"
CALL_PATH = "/v1/chat/completions"
CALL_USD = Decimal("0.0000688")
"""68 input tokens at $0.40 a million and 26 output tokens at $1.60: what every one of these calls costs."""
CALLERS = 256
"""Different callers in a run, so that no contender is measured on one request repeated byte for byte."""

_SYSTEM = (
    "You are the support assistant of a bookshop. Answer in two short sentences, name the title that was asked "
    "about, and say whether it can be sent today."
)
_ANSWER = "Yes, we have that title on the shelf. Orders that arrive before 16:00 leave the house the same day."


def call_body(caller: int, *, stream: bool = False) -> bytes:
    """A chat call of about 400 bytes, the same length for each `caller` below 1,000."""
    question = f"This is customer {caller:03d}. Do you have the second volume of the almanac, and when would it arrive?"
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}]
    body: dict[str, object] = {"model": MODEL, "messages": messages, "max_tokens": 64}
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body, separators=(",", ":")).encode()


def attribution(caller: int) -> dict[str, str]:
    """Who is calling: tenant, user, tier, feature and two tags, in the headers that Farebox reads."""
    return {
        "x-tenant-id": f"tenant-{caller % 20:02d}",
        "x-user-id": f"user-{caller:03d}",
        "x-tier": ("free", "pro", "team")[caller % 3],
        "x-feature": ("summarize", "answer", "extract", "draft")[caller % 4],
        "x-metering-tags": json.dumps({"region": "eu", "build": f"r{caller % 8}"}, separators=(",", ":")),
    }


def _usage() -> dict[str, object]:
    return {
        "prompt_tokens": 68,
        "completion_tokens": 26,
        "total_tokens": 94,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def answer() -> bytes:
    """The upstream's answer to every call that does not stream: about 700 bytes."""
    message: dict[str, object] = {"role": "assistant", "content": _ANSWER, "refusal": None, "annotations": []}
    body = {
        "id": "chatcmpl-Bq3fWv8sLz0mXkT5aYh2nRd7cUe1J",
        "object": "chat.completion",
        "created": 1767225600,
        "model": MODEL_SERVED,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(),
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
    return json.dumps(body, separators=(",", ":")).encode()


def stream_events(chunks: int) -> list[bytes]:
    """Server-sent events of one streamed answer: `chunks` of text, the finish, the usage, [DONE]."""
    words = ({"content": f" word{i % 1000}"} for i in range(chunks))
    events = [_event([{"index": 0, "delta": word, "finish_reason": None}]) for word in words]
    events.append(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    events.append(_event([], usage=_usage() | {"completion_tokens": chunks, "total_tokens": 68 + chunks}))
    events.append(b"data: [DONE]\n\n")
    return events


def _event(choices: list[dict[str, object]], usage: dict[str, object] | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-Bq3fWv8sLz0mXkT5aYh2nRd7cUe1J",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": MODEL_SERVED,
        "service_tier": "default",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
