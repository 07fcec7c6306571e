"""OpenAI's responses API: the whole object, and its event stream."""

import time
from collections.abc import Iterator

from farebox.demo.simulated.answer import Call, Json, encode, fresh, sse
from farebox.demo.simulated.plan import Plan, pieces


def whole(call: Call, planned: Plan) -> bytes:
    """The finished response object."""
    return encode(_finished(_shell(call, planned), planned, f"msg_{fresh(48)}"))


def stream(call: Call, planned: Plan) -> Iterator[bytes]:
    """Events as recorded: usage only on the terminal one, no `[DONE]`."""
    shell, item_id, sequence = _shell(call, planned), f"msg_{fresh(48)}", 0

    def event(kind: str, **fields: object) -> bytes:
        nonlocal sequence
        data = {"type": kind, "sequence_number": sequence, **fields}
        sequence += 1
        return sse(data, kind)

    where = {"item_id": item_id, "output_index": 0, "content_index": 0}
    yield event("response.created", response=shell)
    yield event("response.in_progress", response=shell)
    item: Json = {"id": item_id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    yield event("response.output_item.added", output_index=0, item=item)
    yield event("response.content_part.added", **where, part=_part(""))
    for piece in pieces(planned.chunks):
        yield event("response.output_text.delta", **where, delta=piece, logprobs=[])
    if planned.directive.stream_error:
        failed = shell | {"status": "failed", "error": {"code": "server_error", "message": "The model failed."}}
        yield event("response.failed", response=failed)
        return
    finished = _finished(shell, planned, item_id)
    text = "".join(pieces(planned.chunks))
    yield event("response.output_text.done", **where, text=text, logprobs=[])
    yield event("response.content_part.done", **where, part=_part(text))
    yield event("response.output_item.done", output_index=0, item=_message(item_id, text))
    yield event("response.completed", response=finished)


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(item_id: str, text: str) -> Json:
    return {"id": item_id, "type": "message", "status": "completed", "content": [_part(text)], "role": "assistant"}


def _finished(shell: Json, planned: Plan, item_id: str) -> Json:
    prompt, answer = planned.input + planned.cached, planned.output + planned.reasoning
    usage: Json = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": planned.cached},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": planned.reasoning},
        "total_tokens": prompt + answer,
    }
    return shell | {
        "status": "completed",
        "completed_at": int(time.time()),
        "service_tier": planned.directive.tier or "default",
        "output": [_message(item_id, "".join(pieces(planned.chunks)))],
        "usage": None if planned.directive.no_usage else usage,
    }


def _shell(call: Call, planned: Plan) -> Json:
    return {
        "id": f"resp_{fresh(48)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": call.fields.get("instructions"),
        "max_output_tokens": call.fields.get("max_output_tokens"),
        "model": planned.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }
