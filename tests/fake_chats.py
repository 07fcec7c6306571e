"""Chats as Mistral and Cohere answer them, for `fake_http.FakeProvider`: each says hello and counts the same tokens."""

from fake_http import Asked, Reply, events, plain


def mistral_chat(asked: Asked) -> Reply:
    usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
    head = {"id": "c1", "created": 1, "model": "mistral-small-latest"}
    if asked.json.get("stream"):
        delta = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
        last = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
        chunk = {**head, "object": "chat.completion.chunk"}
        return events({**chunk, "choices": [delta]}, {**chunk, "choices": [last], "usage": usage}, done=True)
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    return plain({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def cohere_chat(asked: Asked) -> Reply:
    usage = {"billed_units": {"input_tokens": 10, "output_tokens": 104}, "tokens": {"input_tokens": 505}}
    if not asked.json.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
        return plain({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": usage})
    start = {"id": "1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}}
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}
    return events(start, end, named=True)
