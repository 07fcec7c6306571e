"""Google's Gemini API: generateContent in both framings, embeddings, token counting, and the OpenAI-compatible door."""

import time
from collections.abc import Iterator

import msgspec

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
from farebox.demo.simulated.openai import vector
from farebox.demo.simulated.plan import Plan, pieces, plan, written

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
DIMENSIONS = 768


def respond(call: Call) -> Answer:
    """Answer one call as Google would."""
    if not _has_credential(call):
        return error(403, "Method doesn't allow unregistered callers. Please use API Key.")
    if call.path == "/v1beta/openai/chat/completions":
        return _compatible(call)
    _, _, rest = call.path.partition("/models/")
    model, _, verb = rest.partition(":")
    handler = _VERBS.get(verb)
    if handler is None:
        return error(404, f"{call.path} is not found.")
    planned = plan(call.text, model, _output_max(call))
    if planned.directive.status >= 400:
        return error(planned.directive.status, planned=planned)
    return handler(call, planned)


def _has_credential(call: Call) -> bool:
    return "x-goog-api-key" in call.headers or "authorization" in call.headers or "key=" in call.query


def _output_max(call: Call) -> int | None:
    config = as_object(call.fields.get("generationConfig") or call.fields.get("generation_config"))
    return as_int(config.get("maxOutputTokens"))


def _generate(_: Call, planned: Plan) -> Answer:
    body = _chunk(planned, "".join(pieces(planned.chunks)), planned.chunks, f"{fresh(22)}")
    return Answer(200, headers(), _pretty(body), plan=planned, usage=_billed(planned))


def _billed(planned: Plan) -> dict[str, int]:
    return {meter: count for meter, count in planned.usage.items() if not meter.startswith("cache_write")}


def _chunk(planned: Plan, text: str, sent: int, response_id: str) -> Json:
    """One answer object; in a stream each carries the counts so far, and the last one's are the bill."""
    last = sent >= planned.chunks
    candidate: Json = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    body: Json = {"candidates": [candidate], "modelVersion": planned.model, "responseId": response_id}
    if not planned.directive.no_usage:
        body["usageMetadata"] = _usage(planned, planned.output if last else written(planned, sent))
    return body


def _usage(planned: Plan, output: int) -> Json:
    """The prompt's count includes what was cached; thoughts stand beside the candidates' count; zeros are absent."""
    prompt = planned.input + planned.cached
    usage: Json = {"promptTokenCount": prompt}
    if output:
        usage["candidatesTokenCount"] = output
    usage["totalTokenCount"] = prompt + output + planned.reasoning
    if planned.cached:
        usage["cachedContentTokenCount"] = planned.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": planned.cached}]
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
    if planned.reasoning:
        usage["thoughtsTokenCount"] = planned.reasoning
    return usage


def _stream_generate(call: Call, planned: Plan) -> Answer:
    usage = _billed(planned)
    if "alt=sse" in call.query:
        return Answer(
            200, headers(("content-type", "text/event-stream")), stream=_events(planned), plan=planned, usage=usage
        )
    return Answer(200, headers(), stream=_array(planned), plan=planned, usage=usage)


def _events(planned: Plan) -> Iterator[bytes]:
    """Server-sent events with CRLF and without an end mark."""
    response_id = fresh(22)
    for sent, piece in enumerate(pieces(planned.chunks), 1):
        yield b"data: " + encode(_chunk(planned, piece, sent, response_id)) + b"\r\n\r\n"


def _array(planned: Plan) -> Iterator[bytes]:
    """One JSON array, an element at a time."""
    response_id = fresh(22)
    for sent, piece in enumerate(pieces(planned.chunks), 1):
        opening = b"[" if sent == 1 else b",\r\n"
        yield opening + _pretty(_chunk(planned, piece, sent, response_id))
    yield b"]\n"


def _embed(_: Call, planned: Plan) -> Answer:
    body: Json = {"embedding": {"values": vector(DIMENSIONS)[0]}, "usageMetadata": _embed_usage(planned)}
    return Answer(200, headers(), _pretty(body), plan=planned, usage={"input": planned.input + planned.cached})


def _batch_embed(call: Call, planned: Plan) -> Answer:
    requests = call.fields.get("requests")
    count = len(requests) if isinstance(requests, list) else 1
    values: Json = {"values": vector(DIMENSIONS)[0]}
    body: Json = {"embeddings": [values] * count, "usageMetadata": _embed_usage(planned)}
    return Answer(200, headers(), _pretty(body), plan=planned, usage={"input": planned.input + planned.cached})


def _embed_usage(planned: Plan) -> Json:
    """`promptTokenDetails` without an s is what this route really sends."""
    tokens = planned.input + planned.cached
    return {"promptTokenCount": tokens, "promptTokenDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def _count(_: Call, planned: Plan) -> Answer:
    tokens = planned.input + planned.cached
    body: Json = {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}
    return Answer(200, headers(), _pretty(body), plan=planned)


def _compatible(call: Call) -> Answer:
    bound = as_int(call.fields.get("max_completion_tokens") or call.fields.get("max_tokens"))
    planned = plan(call.text, as_text(call.fields.get("model")), bound)
    if planned.directive.status >= 400:
        return error(planned.directive.status, planned=planned)
    base: Json = {"id": fresh(22), "created": int(time.time()), "model": planned.model}
    usage = _billed(planned)
    if call.streaming:
        return Answer(200, headers(SSE_TYPE), stream=_compatible_stream(call, planned, base), plan=planned, usage=usage)
    message: Json = {"role": "assistant", "content": "".join(pieces(planned.chunks))}
    choice: Json = {"finish_reason": "stop", "index": 0, "message": message}
    body = base | {"object": "chat.completion", "choices": [choice], "usage": _compatible_usage(planned)}
    return Answer(200, headers(), encode(body), plan=planned, usage=usage)


def _compatible_usage(planned: Plan) -> Json:
    """Thoughts are in the total only: total > prompt + completion."""
    prompt = planned.input + planned.cached
    usage: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": planned.output,
        "total_tokens": prompt + planned.output + planned.reasoning,
    }
    if planned.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": planned.cached}
    return usage


def _compatible_stream(call: Call, planned: Plan, base: Json) -> Iterator[bytes]:
    wanted = as_object(call.fields.get("stream_options")).get("include_usage") is True
    for piece in pieces(planned.chunks):
        choice: Json = {"delta": {"role": "assistant", "content": piece}, "index": 0}
        yield sse(base | {"object": "chat.completion.chunk", "choices": [choice]})
    last: Json = {"delta": {"role": "assistant", "content": ""}, "index": 0, "finish_reason": "stop"}
    usage: Json = {"usage": _compatible_usage(planned)} if wanted else {}
    yield sse(base | {"object": "chat.completion.chunk", "choices": [last]} | usage)
    yield sse("[DONE]")


def error(status: int, message: str = "", planned: Plan | None = None) -> Answer:
    """An error answer in Google's shape; how long to wait stands in its details, never in a header."""
    order = None if planned is None else planned.directive
    name = (order.error if order else None) or _STATUS_NAMES.get(status, "UNKNOWN")
    details: list[Json] = []
    if order is not None and order.retry_after_s is not None:
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{order.retry_after_s}s"}]
    text = message or f"Simulated error {status}."
    body: Json = {"error": {"code": status, "message": text, "status": name, "details": details}}
    return Answer(status, headers(), _pretty(body), plan=planned)


def _pretty(body: Json) -> bytes:
    return msgspec.json.format(encode(body), indent=2)


def headers(kind: tuple[str, str] = (JSON_TYPE[0], "application/json; charset=UTF-8")) -> Headers:
    """The headers of a real answer."""
    return (
        kind,
        ("vary", "Origin, X-Origin, Referer"),
        ("server", "scaffolding on HTTPServer2"),
        ("server-timing", "gfet4t7; dur=12"),
    )


_VERBS = {
    "generateContent": _generate,
    "streamGenerateContent": _stream_generate,
    "embedContent": _embed,
    "batchEmbedContents": _batch_embed,
    "countTokens": _count,
}
