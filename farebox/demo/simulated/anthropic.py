"""Anthropic's messages API, and its OpenAI-compatible one."""

import time
from collections.abc import Iterator

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

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def respond(call: Call) -> Answer:
    """Answer one call as Anthropic would."""
    if "x-api-key" not in call.headers and "authorization" not in call.headers:
        return error(call, 401, "x-api-key header is required")
    if (call.method, call.path) == ("POST", "/v1/chat/completions"):
        return _compatible(call)
    if "anthropic-version" not in call.headers:
        return error(call, 400, "anthropic-version: header is required")
    planned = plan(call.text, as_text(call.fields.get("model")), as_int(call.fields.get("max_tokens")))
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    if call.path == "/v1/messages/count_tokens":
        return Answer(200, headers(JSON_TYPE), encode({"input_tokens": planned.input + planned.cached}), plan=planned)
    if call.path != "/v1/messages" or call.method != "POST":
        return error(call, 404, "Not found")
    if call.streaming:
        return Answer(200, headers(SSE_TYPE), stream=_stream(planned), plan=planned, usage=planned.usage)
    text: Json = {"type": "text", "text": "".join(pieces(planned.chunks))}
    message = _message(planned) | {"content": [text], "stop_reason": "end_turn"}
    if not planned.directive.no_usage:
        message["usage"] = _usage(planned)
    return Answer(200, headers(JSON_TYPE), encode(message), plan=planned, usage=planned.usage)


def _message(planned: Plan) -> Json:
    return {
        "model": planned.model,
        "id": f"msg_01{fresh(22)}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(planned: Plan) -> Json:
    """Exclusive counts: cached tokens stand beside `input_tokens`; thinking is inside `output_tokens`."""
    return _input_side(planned) | _output_side(planned, planned.output + planned.reasoning)


def _input_side(planned: Plan) -> Json:
    order = planned.directive
    return {
        "input_tokens": planned.input,
        "cache_creation_input_tokens": order.cache_write_5m + order.cache_write_1h,
        "cache_read_input_tokens": planned.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": order.cache_write_5m,
            "ephemeral_1h_input_tokens": order.cache_write_1h,
        },
        "service_tier": order.tier or "standard",
        "inference_geo": "global",
    }


def _output_side(planned: Plan, output: int) -> Json:
    usage: Json = {"output_tokens": output}
    if planned.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": planned.reasoning}
    return usage


def _stream(planned: Plan) -> Iterator[bytes]:
    """`message_start` has the input side and a placeholder; `message_delta` the cumulative counts."""
    start = _message(planned) | {"usage": _input_side(planned) | {"output_tokens": min(1, planned.output)}}
    yield sse({"type": "message_start", "message": start}, "message_start")
    block: Json = {"type": "text", "text": ""}
    yield sse({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
    yield sse({"type": "ping"}, "ping")
    for piece in pieces(planned.chunks):
        delta: Json = {"type": "text_delta", "text": piece}
        yield sse({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
    if planned.directive.stream_error:
        failure: Json = {"type": "overloaded_error", "message": "Overloaded"}
        yield sse({"type": "error", "error": failure}, "error")
        return
    yield sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
    usage: Json = {
        "input_tokens": planned.input,
        "cache_creation_input_tokens": planned.directive.cache_write_5m + planned.directive.cache_write_1h,
        "cache_read_input_tokens": planned.cached,
    } | _output_side(planned, planned.output + planned.reasoning)
    last: Json = {"stop_reason": "end_turn", "stop_sequence": None}
    yield sse({"type": "message_delta", "delta": last, "usage": usage}, "message_delta")
    yield sse({"type": "message_stop"}, "message_stop")


def _compatible(call: Call) -> Answer:
    bound = as_int(call.fields.get("max_completion_tokens") or call.fields.get("max_tokens"))
    planned = plan(call.text, as_text(call.fields.get("model")), bound)
    if planned.directive.status >= 400:
        return error(call, planned.directive.status, planned=planned)
    usage = {"input": planned.input + planned.cached, "output": planned.output + planned.reasoning}
    base: Json = {"id": f"msg_01{fresh(22)}", "created": int(time.time()), "model": planned.model}
    if call.streaming:
        return Answer(200, headers(SSE_TYPE), stream=_compatible_stream(call, planned, base), plan=planned, usage=usage)
    message: Json = {"role": "assistant", "content": "".join(pieces(planned.chunks))}
    choice: Json = {"index": 0, "message": message, "finish_reason": "stop"}
    body = base | {"object": "chat.completion", "choices": [choice], "usage": _compatible_usage(planned)}
    return Answer(200, headers(JSON_TYPE), encode(body), plan=planned, usage=usage)


def _compatible_usage(planned: Plan) -> Json:
    """No caching by this way, and thinking is inside the completion."""
    prompt, completion = planned.input + planned.cached, planned.output + planned.reasoning
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _compatible_stream(call: Call, planned: Plan, base: Json) -> Iterator[bytes]:
    chunk = base | {"object": "chat.completion.chunk"}
    for piece in pieces(planned.chunks):
        choice: Json = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
        yield sse(chunk | {"choices": [choice]})
    yield sse(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if as_object(call.fields.get("stream_options")).get("include_usage") is True:
        yield sse(chunk | {"choices": [], "usage": _compatible_usage(planned)})
    yield sse("[DONE]")


def error(call: Call, status: int, message: str = "", planned: Plan | None = None) -> Answer:
    """An error answer in Anthropic's shape."""
    order = None if planned is None else planned.directive
    kind = (order.error if order else None) or _ERRORS.get(status, "api_error")
    request_id = f"req_01{fresh(22)}"
    text = message or f"Simulated error {status} on {call.path}."
    body = encode({"type": "error", "error": {"type": kind, "message": text}, "request_id": request_id})
    extra: Headers = (
        () if order is None or order.retry_after_s is None else (("retry-after", str(order.retry_after_s)),)
    )
    return Answer(status, (JSON_TYPE, ("request-id", request_id), *extra), body, plan=planned)


def headers(kind: tuple[str, str]) -> Headers:
    """The headers of a real answer."""
    return (
        kind,
        ("request-id", f"req_01{fresh(22)}"),
        ("anthropic-organization-id", "00000000-0000-0000-0000-000000000000"),
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z"),
        ("anthropic-ratelimit-tokens-limit", "400000"),
        ("anthropic-ratelimit-tokens-remaining", "399000"),
        ("anthropic-ratelimit-tokens-reset", "2030-01-01T00:00:00Z"),
    )
