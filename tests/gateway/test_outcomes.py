"""The outcome stands on the event of each call, by the gateway as by the SDK."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from running_worker import ANSWER, CHAT, Running, Upstream, response
from scripted import ask, call, get, play, reset

from farebox.client.calls import Service, begin
from farebox.client.context import NOBODY
from farebox.providers import by_name

Start = Callable[..., tuple[Running, Upstream]]
JSON_MODE = CHAT[:-1] + b',"response_format":{"type":"json_object"}}'


def answering(content: str | None, finish: str = "stop") -> bytes:
    found: dict[str, Any] = json.loads(ANSWER)
    found["choices"][0] |= {"message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return json.dumps(found).encode()


CASES = {
    "an answer": (CHAT, ANSWER, b"200 OK", "success"),
    "half of one": (CHAT, answering("hel", "length"), b"200 OK", "truncated"),
    "none": (CHAT, answering(None), b"200 OK", "empty"),
    "what was filtered": (CHAT, answering("", "content_filter"), b"200 OK", "filtered"),
    "JSON that was asked for": (JSON_MODE, answering('{"a":1}'), b"200 OK", "success"),
    "text where JSON was asked for": (JSON_MODE, answering("Here you are: {}"), b"200 OK", "invalid"),
    "an error": (CHAT, b'{"error":{"code":"server_error"}}', b"500 Oops", "failed"),
    "a prompt that the provider filters": (CHAT, b'{"error":{"code":"content_filter"}}', b"400 No", "filtered"),
}


@pytest.mark.parametrize("what", CASES)
def test_the_outcome_stands_on_the_record(gateway: Start, what: str) -> None:
    asked, answer, status, expected = CASES[what]
    worker, _ = gateway(play(response(answer, status=status)))
    ask(worker, call(worker, asked))
    [(_, tail)] = worker.finished()
    assert tail.outcome == expected


@pytest.mark.parametrize("what", CASES)
def test_the_sdk_sends_the_same(what: str) -> None:
    asked, answer, status, expected = CASES[what]
    provider = by_name("openai")
    assert provider is not None
    headers = {"content-type": "application/json"}
    metered = begin(Service(provider, "/v1"), "POST", "/v1/chat/completions", "api.openai.com", asked, NOBODY)
    assert metered is not None
    metered.answered(int(status[:3]), headers)
    metered.take(answer)
    assert metered.finish("done")
    assert metered.event()["outcome"] == expected


def test_a_call_that_the_provider_cut_has_failed(gateway: Start) -> None:
    worker, _ = gateway(play(reset))
    assert ask(worker, call(worker, CHAT)).status == 502
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.outcome) == ("upstream_error", "failed")


def test_a_route_that_nobody_bills_has_no_outcome(gateway: Start) -> None:
    worker, _ = gateway(play(response(b'{"data":[]}')))
    ask(worker, get(worker))
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.outcome) == ("done", None)
