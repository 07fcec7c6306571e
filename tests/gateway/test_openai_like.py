"""Services that speak OpenAI's format, through a running worker: paths, keep-alives, prices that the answer says."""

import json
from collections.abc import Callable

import pytest
from running_worker import Running, Upstream, response
from scripted import ask, call, chunked, get, play, sse_head

Start = Callable[..., tuple[Running, Upstream]]
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def completion(usage: object, model: str = "openai/gpt-4o-mini") -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]
    return json.dumps({"id": "gen-1", "model": model, "choices": choices, "usage": usage}).encode()


def body(model: str, **more: object) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def test_the_price_that_an_answer_says_is_booked_beside_our_sum(gateway: Start) -> None:
    answered = completion({**USAGE, "cost": 0.0000061, "is_byok": False})
    worker, upstream = gateway(play(response(answered)))
    path = "/proxy/openrouter/api/v1/chat/completions"
    assert ask(worker, call(worker, body("openai/gpt-4o-mini"), path=path)).body == answered
    [(head, tail)] = worker.finished()
    assert (head.provider, head.operation) == ("openrouter", "chat")
    assert (tail.cost, tail.cost_source, tail.reported_cost) == (6_100_000, "provider", 6_100_000)
    assert sum(tail.cost_by_meter.values()) == 20 * 150_000 + 5 * 600_000
    assert upstream.requests[0].startswith(b"POST /api/v1/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("path", "upstream_path"),
    [
        ("/proxy/deepseek/chat/completions", b"/v1/chat/completions"),
        ("/proxy/deepseek/v1/chat/completions", b"/v1/chat/completions"),
        ("/proxy/deepseek/beta/chat/completions", b"/beta/chat/completions"),
        ("/proxy/xai/chat/completions", b"/v1/chat/completions"),
        ("/proxy/openrouter/chat/completions", b"/api/v1/chat/completions"),
        ("/proxy/fireworks/chat/completions", b"/inference/v1/chat/completions"),
        ("/proxy/fireworks/inference/v1/chat/completions", b"/inference/v1/chat/completions"),
        ("/proxy/perplexity/chat/completions", b"/chat/completions"),
        ("/api/proxy/perplexity/v1/chat/completions", b"/v1/chat/completions"),
    ],
)
def test_paths(gateway: Start, path: str, upstream_path: bytes) -> None:
    worker, upstream = gateway(play(response(completion(USAGE, "m"))))
    assert ask(worker, call(worker, body("m"), path=path)).status == 200
    assert upstream.requests[0].split(b" ")[1] == upstream_path


def test_keep_alives_pass_and_mean_nothing(gateway: Start) -> None:
    answered = completion({**USAGE, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 12}, "deepseek-v4-pro")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    worker, _ = gateway(play(head, chunked(b"\n", end=False), 0.05, chunked(b"\n", answered)))
    path = "/proxy/deepseek/chat/completions"
    assert ask(worker, call(worker, body("deepseek-v4-pro"), path=path)).body == b"\n\n" + answered
    [(_, tail)] = worker.finished()
    assert tail.usage == {"cache_read": 8, "input": 12, "output": 5}


def test_comments_of_a_stream_pass_and_usage_that_came_unasked_stays(gateway: Start) -> None:
    comment = b": OPENROUTER PROCESSING\n\n"
    chunk = b'data: {"id":"g","model":"openai/gpt-4o-mini","choices":[{"delta":{"content":"Hi"}}]}\n\n'
    last = b'data: {"id":"g","choices":[],"usage":' + json.dumps({**USAGE, "cost": 0.5}).encode() + b"}\n\n"
    pieces = (comment, chunk, comment, last, b"data: [DONE]\n\n")
    worker, upstream = gateway(play(sse_head(), chunked(*pieces)))
    asked = body("openai/gpt-4o-mini", stream=True)
    answer = ask(worker, call(worker, asked, path="/proxy/openrouter/api/v1/chat/completions"))
    assert answer.body == b"".join(pieces)
    assert upstream.requests[0].endswith(asked)
    [(_, tail)] = worker.finished()
    assert (tail.cost, tail.state) == (500_000_000_000, "done")


def test_a_ticket_costs_nothing_and_its_result_is_billed_where_it_is_read(gateway: Start) -> None:
    ticket = b'{"id":"j-1","model":"sonar-pro","status":"CREATED","response":null}'
    usage = {**USAGE, "search_context_size": "low", "cost": {"total_cost": 0.0061}}
    done = b'{"id":"j-1","status":"COMPLETED","response":' + completion(usage, "sonar-pro") + b"}"
    answers = iter([ticket, done])
    worker, _ = gateway(play(lambda peer: peer.send(response(next(answers)))))
    path = "/proxy/perplexity/async/chat/completions"
    assert ask(worker, call(worker, b'{"request":{"model":"sonar-pro"}}', path=path)).body == ticket
    assert ask(worker, get(worker, f"{path}/j-1")).body == done
    (_, made), (_, read) = worker.finished(2)
    assert (made.cost, made.marks) == (0, ("pending",))
    assert (read.cost, read.object_id, read.cost_source) == (6_100_000_000, "j-1", "provider")


@pytest.mark.parametrize("path", ["openrouter/api/v1/keys", "xai/v1/api-key", "fireworks/v1/accounts/a/deployments"])
def test_the_account_of_a_provider_is_never_reached_with_a_stored_credential(gateway: Start, path: str) -> None:
    worker, upstream = gateway()
    answer = ask(worker, get(worker, f"/proxy/{path}"))
    assert answer.status == 403
    assert upstream.connections == 0


def test_messages_of_anthropics_format_are_read_wherever_they_stand(gateway: Start) -> None:
    answered = b'{"id":"m","type":"message","model":"deepseek-v4-pro","content":[],"usage":{"input_tokens":7,'
    answered += b'"cache_read_input_tokens":3,"output_tokens":2}}'
    worker, upstream = gateway(play(response(answered)))
    path = "/proxy/deepseek/anthropic/v1/messages"
    asked = call(worker, body("deepseek-v4-pro", max_tokens=9), path=path)
    assert ask(worker, asked.replace(b"Authorization: Bearer ", b"x-api-key: ")).body == answered
    [(head, tail)] = worker.finished()
    assert (head.operation, tail.usage) == ("messages", {"input": 7, "cache_read": 3, "output": 2})
    assert b"sk-stored" in upstream.requests[0]
    assert worker.key.encode() not in upstream.requests[0]
