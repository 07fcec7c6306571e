"""OpenAI's API, and Groq's, which has the same shape and a few fields of its own."""

import base64
import time
from collections.abc import Iterator
from functools import lru_cache
from struct import pack

from farebox.demo.simulated import openai_responses
from farebox.demo.simulated.answer import (
    JSON_TYPE,
    SSE_TYPE,
    Answer,
    Call,
    Headers,
    Json,
    as_int,
    as_object,
    as_text,
    encode,
    fresh,
    sse,
)
from farebox.demo.simulated.plan import Plan, pieces, plan

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE_TOKENS = 272
"""Output tokens of one small image at low quality."""
AUDIO_BYTES_PER_SECOND = 32_000
"""Sixteen-bit mono at 16 kHz: how the duration of an upload is told from its size."""
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def respond(call: Call) -> Answer:
    """Answer one call as OpenAI (or Groq) would."""
    if not call.headers.get("authorization", "").startswith("Bearer "):
        return error(call, 401, "You didn't provide an API key.")
    handler = _ROUTES.get((call.method, call.path.removeprefix("/v1")))
    if handler is None:
        return _other(call)
    return handler(call)


def settled(call: Call) -> Plan:
    """The plan for this call's prompt, bounded by whichever field this API bounds answers with."""
    fields = call.fields
    bounds = (as_int(fields.get(name)) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"))
    bound = next((value for value in bounds if value is not None), None)
    return plan(call.text, as_text(fields.get("model"), "gpt-4.1-mini"), bound)


def chat(call: Call) -> Answer:
    planned = settled(call)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    usage = billed(planned)
    if call.streaming:
        return Answer(200, headers(call, SSE_TYPE), stream=_chat_stream(call, planned), plan=planned, usage=usage)
    body: Json = {
        "id": f"chatcmpl-{fresh(29)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": planned.model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "".join(pieces(planned.chunks)),
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
    }
    if not planned.directive.no_usage:
        body["usage"] = chat_usage(call, planned)
    body |= _fingerprint(call, planned)
    return Answer(200, headers(call, JSON_TYPE), encode(body), plan=planned, usage=usage)


def _fingerprint(call: Call, planned: Plan) -> Json:
    if call.provider == "groq":
        return {"system_fingerprint": "fp_a97cfe35ae", "x_groq": {"id": f"req_{fresh(26)}"}}
    return {"service_tier": planned.directive.tier or "default", "system_fingerprint": "fp_7c233bf9d1"}


def billed(planned: Plan) -> dict[str, int]:
    """What this provider family bills for: it has no cache-write meters of these lifetimes."""
    return {meter: count for meter, count in planned.usage.items() if not meter.startswith("cache_write")}


def chat_usage(call: Call, planned: Plan) -> Json:
    """Inclusive totals: cached tokens inside the prompt, reasoning inside the completion."""
    prompt, completion = planned.input + planned.cached, planned.output + planned.reasoning
    usage: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": planned.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": planned.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    if call.provider == "groq":
        usage["prompt_tokens_details"] = {"cached_tokens": planned.cached}
        usage["completion_tokens_details"] = {"reasoning_tokens": planned.reasoning}
        usage |= {"queue_time": 0.018, "prompt_time": 0.0012, "completion_time": 0.031, "total_time": 0.0322}
    return usage


def _chat_stream(call: Call, planned: Plan) -> Iterator[bytes]:
    groq = call.provider == "groq"
    wanted = (
        as_object(call.fields.get("stream_options")).get("include_usage") is True and not planned.directive.no_usage
    )
    base: Json = {
        "id": f"chatcmpl-{fresh(29)}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": planned.model,
        "system_fingerprint": "fp_7c233bf9d1",
    }
    if not groq:
        base["service_tier"] = planned.directive.tier or "default"
    rest: Json = {"usage": None} if wanted and not groq else {}
    first: Json = {"x_groq": {"id": f"req_{fresh(26)}"}} if groq else {}
    yield sse(base | {"choices": [_choice({"role": "assistant", "content": "", "refusal": None})]} | rest | first)
    for piece in pieces(planned.chunks):
        yield sse(base | {"choices": [_choice({"content": piece})]} | rest)
    if planned.directive.stream_error:
        yield sse({"error": {"message": "The server had an error.", "type": "server_error", "code": None}}, "error")
        return
    usage = chat_usage(call, planned)
    last: Json = (
        {"x_groq": {"id": f"req_{fresh(26)}", "usage": usage}} if groq and not planned.directive.no_usage else {}
    )
    yield sse(base | {"choices": [_choice({}, "stop")]} | rest | last)
    if wanted:
        yield sse(base | {"choices": [], "usage": usage})
    yield sse("[DONE]")


def _choice(delta: Json, finish: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _completions(call: Call) -> Answer:
    planned = settled(call)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    base: Json = {
        "id": f"cmpl-{fresh(29)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": planned.model,
    }
    usage = billed(planned)
    if call.streaming:
        return Answer(
            200, headers(call, SSE_TYPE), stream=_completion_stream(call, planned, base), plan=planned, usage=usage
        )
    text = "".join(pieces(planned.chunks))
    body = base | {"choices": [_text_choice(text, "stop")], "usage": chat_usage(call, planned)}
    return Answer(200, headers(call, JSON_TYPE), encode(body), plan=planned, usage=usage)


def _completion_stream(call: Call, planned: Plan, base: Json) -> Iterator[bytes]:
    for piece in pieces(planned.chunks):
        yield sse(base | {"choices": [_text_choice(piece, None)]})
    yield sse(base | {"choices": [_text_choice("", "stop")]})
    if as_object(call.fields.get("stream_options")).get("include_usage") is True:
        yield sse(base | {"choices": [], "usage": chat_usage(call, planned)})
    yield sse("[DONE]")


def _text_choice(text: str, finish: str | None) -> Json:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}


def _embeddings(call: Call) -> Answer:
    planned = plan(call.text, as_text(call.fields.get("model")), None)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    inputs = call.fields.get("input")
    count = len(inputs) if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int) else 1
    dimensions = as_int(call.fields.get("dimensions")) or 1536
    floats, packed = vector(dimensions)
    value: object = packed if call.fields.get("encoding_format") == "base64" else floats
    tokens = planned.input + planned.cached
    body: Json = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": value} for i in range(count)],
        "model": planned.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Answer(200, headers(call, JSON_TYPE), encode(body), plan=planned, usage={"input": tokens})


@lru_cache(maxsize=32)
def vector(dimensions: int) -> tuple[list[float], str]:
    """A unit vector, as numbers and as base64 of little-endian float32."""
    value = round(dimensions**-0.5, 8)
    floats = [value] * dimensions
    return floats, base64.b64encode(pack(f"<{dimensions}f", *floats)).decode()


def _moderations(call: Call) -> Answer:
    names = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
    result: Json = {
        "flagged": False,
        "categories": dict.fromkeys(names, False),
        "category_scores": dict.fromkeys(names, 0.00012),
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    body: Json = {"id": f"modr-{fresh(4)}", "model": "omni-moderation-latest", "results": [result]}
    return Answer(200, headers(call, JSON_TYPE), encode(body))


def _transcription(call: Call) -> Answer:
    planned = plan(call.text, as_text(call.fields.get("model"), "whisper-1"), None)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    text = "".join(pieces(planned.chunks)).strip()
    if planned.model.startswith("whisper"):
        seconds = max(1, -(-call.body_bytes // AUDIO_BYTES_PER_SECOND))
        usage: Json = {"type": "duration", "seconds": seconds}
        meters = {"seconds": seconds * 1000}
    else:
        meters = {"audio_input": planned.input, "output": planned.output}
        usage = {
            "type": "tokens",
            "total_tokens": planned.input + planned.output,
            "input_tokens": planned.input,
            "input_token_details": {"text_tokens": 0, "audio_tokens": planned.input},
            "output_tokens": planned.output,
        }
    return Answer(200, headers(call, JSON_TYPE), encode({"text": text, "usage": usage}), plan=planned, usage=meters)


def _images(call: Call) -> Answer:
    planned = plan(call.text, as_text(call.fields.get("model"), "gpt-image-1"), None)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    count = as_int(call.fields.get("n")) or 1
    body: Json = {"created": int(time.time()), "data": [{"b64_json": PIXEL} for _ in range(count)]}
    meters = {"image": count}
    if planned.model.startswith("gpt-image"):
        tokens = IMAGE_TOKENS * count
        meters = {"input": planned.input, "image_output": tokens}
        body["usage"] = {
            "total_tokens": planned.input + tokens,
            "input_tokens": planned.input,
            "output_tokens": tokens,
            "input_tokens_details": {"text_tokens": planned.input, "image_tokens": 0},
            "output_tokens_details": {"text_tokens": 0, "image_tokens": tokens},
        }
    return Answer(200, headers(call, JSON_TYPE), encode(body), plan=planned, usage=meters)


def _models(call: Call) -> Answer:
    names = ("gpt-4.1-mini", "gpt-4.1", "text-embedding-3-small")
    data = [{"id": name, "object": "model", "created": 1744316542, "owned_by": "system"} for name in names]
    return Answer(200, headers(call, JSON_TYPE), encode({"object": "list", "data": data}))


def _other(call: Call) -> Answer:
    if call.method in ("GET", "HEAD", "DELETE"):
        body: Json = {"id": call.path.rsplit("/", 1)[-1], "object": "deleted" if call.method == "DELETE" else "object"}
        return Answer(200, headers(call, JSON_TYPE), encode(body))
    return error(call, 404, f"Invalid URL ({call.method} {call.path})")


def _responses(call: Call) -> Answer:
    planned = settled(call)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    usage = billed(planned)
    if call.streaming:
        stream = openai_responses.stream(call, planned)
        return Answer(200, headers(call, SSE_TYPE), stream=stream, plan=planned, usage=usage)
    return Answer(200, headers(call, JSON_TYPE), openai_responses.whole(call, planned), plan=planned, usage=usage)


def error(call: Call, status: int, message: str = "", planned: Plan | None = None) -> Answer:
    """An error answer in this API's shape; 5xx may have any body, ours has the documented one."""
    kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    order = None if planned is None else planned.directive
    if order is not None and order.error:
        kind, code = order.error, order.error
    text = message or f"Simulated error {status}."
    body = encode({"error": {"message": text, "type": kind, "param": None, "code": code}})
    extra: Headers = ()
    if order is not None and order.retry_after_s is not None:
        extra = (("retry-after", str(order.retry_after_s)), ("retry-after-ms", str(order.retry_after_s * 1000)))
    return Answer(status, headers(call, JSON_TYPE) + extra, body, plan=planned)


def headers(call: Call, kind: tuple[str, str]) -> Headers:
    """The headers of a real answer that SDKs and readers look at."""
    if call.provider == "groq":
        return (
            kind,
            ("x-request-id", f"req_{fresh(26)}"),
            ("x-ratelimit-remaining-requests", "14399"),
            ("via", "1.1 google"),
        )
    return (
        kind,
        ("openai-organization", "simulated"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "10000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "9999985"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "0s"),
        ("x-request-id", f"req_{fresh(32)}"),
    )


_ROUTES = {
    ("POST", "/chat/completions"): chat,
    ("POST", "/responses"): _responses,
    ("POST", "/completions"): _completions,
    ("POST", "/embeddings"): _embeddings,
    ("POST", "/moderations"): _moderations,
    ("POST", "/audio/transcriptions"): _transcription,
    ("POST", "/images/generations"): _images,
    ("POST", "/images/edits"): _images,
    ("GET", "/models"): _models,
}
