"""A strict limit ends a stream: in order for the client, as `client_gone` says for the provider, and in the books."""

import gzip
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from limits_scene import ACME, Scene
from running_worker import Answer, Peer, read_answer
from scripted import (
    GEMINI_BODY,
    GEMINI_PATH,
    STREAM,
    Step,
    ask,
    call,
    chunked,
    delta,
    gemini_event,
    hung_up,
    once,
    play,
    sse_head,
    until,
    wait_for_end,
)

from farebox.core.events import Tail

PICTURE = json.dumps(
    {
        "model": "gpt-4.1-mini",
        "stream": True,
        "max_tokens": 50,
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}
        ],
    }
).encode()
"""A call whose cost has no bound."""
WORD = "four " * 4
"""Five tokens, by their characters."""


def flood(piece: bytes, head: bytes = b"", *, pause_s: float = 0.002) -> Step:
    """Sends `piece` again and again until the other side hangs up, or has had two thousand of them."""

    def step(peer: Peer) -> None:
        peer.send(head)
        try:
            for _ in range(2000):
                peer.send(piece)
                time.sleep(pause_s)
        except OSError:
            hung_up(peer.upstream).set()

    return step


def chat_flood() -> Step:
    return flood(chunked(delta(WORD), end=False), sse_head())


def payloads(answer: Answer) -> list[Any]:
    blocks = [block for block in answer.body.replace(b"\r\n", b"\n").split(b"\n\n") if block]
    found = [block.split(b"data: ", 1)[1] for block in blocks]
    return [payload if payload == b"[DONE]" else json.loads(payload) for payload in found]


def text_of(chunks: list[Any]) -> str:
    choices = [chunk["choices"][0] for chunk in chunks if chunk != b"[DONE]"]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def ended(scene: Scene, limit: str) -> Tail:
    """The end of the only call, which `limit` ended."""
    [(_, tail)] = scene.worker.finished()
    assert (tail.error, tail.limits.ended_by, tail.status) == ("limit_ended", limit, 200)
    return tail


def test_a_call_without_a_bound_is_ended_where_the_limit_is(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    limit = found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    answer = ask(found.worker, call(found.worker, PICTURE, *ACME))
    chunks = payloads(answer)
    assert chunks[-1] == b"[DONE]"
    assert chunks[-2]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    assert chunks[-2]["id"] == "chatcmpl-1"
    assert hung_up(found.upstream).wait(5), "the provider was told to stop"
    tail = ended(found, limit)
    assert (tail.state, tail.cost_source) == ("done", "estimated")
    assert 250 <= sum(tail.usage.values()) <= 330
    assert len(text_of(chunks)) // 4 <= tail.usage["output"]
    assert found.used(limit) == sum(tail.usage.values())
    assert ask(found.worker, call(found.worker, PICTURE, *ACME)).status == 429


def test_the_connection_goes_on_with_the_next_call(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    with found.worker.connect() as sock:
        rest = bytearray()
        for status in (200, 429):
            sock.sendall(call(found.worker, PICTURE, *ACME))
            assert read_answer(sock, rest).status == status
    assert not rest


def test_a_provider_that_overruns_its_own_bound_is_stopped(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    limit = found.limit("tenant", "200 tokens", strict=True)
    answer = ask(found.worker, call(found.worker, STREAM, *ACME))
    bound = int(answer.headers["x-farebox-max-tokens"])
    assert payloads(answer)[-2]["choices"][0]["finish_reason"] == "length"
    tail = ended(found, limit)
    assert bound < tail.usage["output"] <= 2 * 200 + 50, "an estimate is believed at twice what was held, not before"


def test_text_with_long_tokens_does_not_end_a_bounded_call(scene: Callable[..., Scene]) -> None:
    found = scene(play(sse_head() + chunked(*[delta("x" * 6) for _ in range(100)], b"data: [DONE]\n\n")))
    found.limit("tenant", "200 tokens", strict=True)
    answer = ask(found.worker, call(found.worker, STREAM, *ACME))
    assert int(answer.headers["x-farebox-max-tokens"]) < 150 == 100 * 6 // 4
    assert len(text_of(payloads(answer))) == 600
    [(_, tail)] = found.worker.finished()
    assert (tail.error, tail.limits.ended_by) == (None, None)


def test_a_call_that_keeps_to_its_bound_is_not_touched(scene: Callable[..., Scene]) -> None:
    stream = sse_head() + chunked(delta("one"), delta("two"), b"data: [DONE]\n\n")
    found = scene(play(stream))
    found.limit("tenant", "200 tokens", strict=True)
    answer = ask(found.worker, call(found.worker, STREAM, *ACME))
    assert answer.body == delta("one") + delta("two") + b"data: [DONE]\n\n"


def test_an_answer_that_is_over_anyhow_passes_whole(scene: Callable[..., Scene]) -> None:
    end = delta("").replace(b'"finish_reason":null', b'"finish_reason":"stop"') + b"data: [DONE]\n\n"
    found = scene(play(sse_head() + chunked(delta("four " * 400) + end)))
    found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    answer = ask(found.worker, call(found.worker, PICTURE, *ACME))
    assert answer.body.endswith(end)
    [(_, tail)] = found.worker.finished()
    assert (tail.state, tail.error, tail.limits.ended_by) == ("done", None, None)


def test_dollars_end_a_stream_too_and_no_others_are_hindered(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    # gpt-4.1-mini costs $1.60 for a million tokens of answer: room for about 300.
    limit = found.limit("user", "0.0005 usd", strict=True, allow_unbounded=True)
    assert payloads(ask(found.worker, call(found.worker, PICTURE, *ACME)))[-1] == b"[DONE]"
    tail = ended(found, limit)
    assert tail.cost is not None and 400_000_000 <= tail.cost <= 550_000_000


def test_a_limit_that_is_lowered_ends_what_runs(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    limit = found.limit("tenant", "100000 tokens", strict=True, allow_unbounded=True)
    with found.worker.connect() as sock:
        sock.sendall(call(found.worker, PICTURE, *ACME))
        assert sock.recv(65536)
        assert found.limit("tenant", "90 tokens", strict=True, allow_unbounded=True) == limit
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += sock.recv(65536)
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert ended(found, limit).state == "done"


def test_a_limit_that_is_not_strict_ends_nothing(scene: Callable[..., Scene]) -> None:
    found = scene(play(sse_head() + chunked(*[delta(WORD)] * 200, b"data: [DONE]\n\n")))
    found.limit("tenant", "300 tokens")
    assert len(payloads(ask(found.worker, call(found.worker, PICTURE, *ACME)))) == 201


def test_room_that_the_authority_has_is_used_before_a_stream_is_ended(scene: Callable[..., Scene]) -> None:
    pieces = [chunked(delta(WORD), end=False)] * 300
    steps = [step for piece in pieces for step in (piece, 0.002)]
    found = scene(play(sse_head(), *steps, chunked(b"data: [DONE]\n\n")))
    found.limit("tenant", "100000 tokens", strict=True, allow_unbounded=True)
    answer = ask(found.worker, call(found.worker, PICTURE, *ACME))
    assert len(payloads(answer)) == 301
    [(_, tail)] = found.worker.finished()
    assert (tail.error, tail.limits.ended_by) == (None, None)


@pytest.mark.parametrize("cut", [1, 7, 40, 90])
def test_an_event_that_has_begun_is_completed(scene: Callable[..., Scene], cut: int) -> None:
    # Each read ends inside an event: the end of one, and the beginning of the next.
    event = delta(WORD)
    found = scene(
        once(sse_head() + chunked(event[:cut], end=False), flood(chunked(event[cut:] + event[:cut], end=False)))
    )
    limit = found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    chunks = payloads(ask(found.worker, call(found.worker, PICTURE, *ACME)))
    assert chunks[-1] == b"[DONE]"
    assert all(chunk["choices"][0]["delta"].get("content", WORD) == WORD for chunk in chunks[:-1])
    ended(found, limit)


# providers that bill on when they are hung up on


def gemini_limit(found: Scene) -> str:
    return found.limit("tenant", "200 tokens", strict=True)


def test_a_provider_that_bills_on_is_read_to_its_end_for_the_exact_cost(scene: Callable[..., Scene]) -> None:
    may_end = threading.Event()
    running = [chunked(gemini_event("word ", 20 * number), end=False) for number in range(1, 30)]
    last = gemini_event("end", 777).replace(b'"role":"model"}', b'"role":"model"},"finishReason":"STOP"')
    found = scene(play(sse_head() + b"".join(running), lambda peer: may_end.wait(5), chunked(last)))
    limit = gemini_limit(found)
    answer = ask(found.worker, call(found.worker, GEMINI_BODY, *ACME, path=GEMINI_PATH))
    events = payloads(answer)
    assert events[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert events[-1]["usageMetadata"] == events[-2]["usageMetadata"], "as the provider stated it last"
    assert found.worker.worker.exchanges, "it is still read"
    may_end.set()
    tail = ended(found, limit)
    assert (tail.state, tail.cost_source) == ("done", "computed")
    assert tail.usage == {"input": 10, "output": 777}


def test_an_answer_in_an_array_is_closed_as_one(scene: Callable[..., Scene]) -> None:
    elements = [gemini_event("a ] }", 20 * number)[6:-4] for number in range(1, 30)]
    steps: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"]
    for number, element in enumerate(elements):
        steps += [chunked((b",\r\n" if number else b"[") + element, end=False), 0.002]
    found = scene(once(*steps, wait_for_end), upstream__client_gone="cancel")
    limit = gemini_limit(found)
    path = GEMINI_PATH.removesuffix("?alt=sse")
    answer = ask(found.worker, call(found.worker, GEMINI_BODY, *ACME, path=path))
    events = json.loads(answer.body)
    assert events[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert 2 < len(events) < 30
    ended(found, limit)


# what cannot be ended in order


def test_a_compressed_stream_is_asked_not_to_be(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    ask(found.worker, call(found.worker, PICTURE, "Accept-Encoding: gzip, br", *ACME))
    sent = found.upstream.requests[0].lower()
    assert b"accept-encoding: identity\r\n" in sent
    assert b"gzip" not in sent


def raw_answer(found: Scene, body: bytes = PICTURE) -> bytes:
    """All that the client of a call gets, until its connection ends."""
    got = b""
    with found.worker.connect() as sock:
        sock.sendall(call(found.worker, body, *ACME))
        while piece := sock.recv(65536):
            got += piece
    return got


def test_a_stream_that_comes_compressed_all_the_same_is_cut_off(scene: Callable[..., Scene]) -> None:
    def pieces(peer: Peer) -> None:
        packer = gzip.compress  # members follow each other
        flood(chunked(packer(delta(WORD)), end=False), sse_head(b"Content-Encoding: gzip"))(peer)  # type: ignore[operator]

    found = scene(once(pieces))
    limit = found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    got = raw_answer(found)
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert not got.endswith(b"0\r\n\r\n"), "that there should be more shows"
    assert ended(found, limit).state == "interrupted"
    assert hung_up(found.upstream).wait(5)


def test_an_answer_that_has_said_its_length_is_cut_off(scene: Callable[..., Scene]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000\r\n\r\n"
    found = scene(once(flood(delta(WORD), head)))
    limit = found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    # Who asks for usage itself gets every byte, so the length stands.
    got = raw_answer(
        found, PICTURE.replace(b'"stream": true', b'"stream": true, "stream_options": {"include_usage": true}')
    )
    assert got.split(b"\r\n\r\n", 1)[1].endswith(b"\n\n")
    assert b"[DONE]" not in got
    assert ended(found, limit).state == "interrupted"


def test_a_client_of_http_1_0_gets_the_end_mark_and_the_end_of_the_connection(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    limit = found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    with found.worker.connect() as sock:
        sock.sendall(call(found.worker, PICTURE, *ACME).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        got = b""
        while piece := sock.recv(65536):
            got += piece
    assert got.endswith(b"data: [DONE]\n\n")
    assert ended(found, limit).state == "done"


def test_without_the_authority_a_stream_goes_as_far_as_what_it_holds(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    limit = found.limit("tenant", "1500 tokens", strict=True, allow_unbounded=True)
    worker = found.worker

    def stopped(peer: Peer) -> None:
        found.keeper.stop()
        flood(chunked(delta(WORD), end=False), sse_head())(peer)  # type: ignore[operator]

    found.upstream.handler = once(stopped)
    assert payloads(ask(worker, call(worker, PICTURE, *ACME)))[-1] == b"[DONE]"
    assert ended(found, limit).state == "done"


def test_metrics_count_what_was_ended(scene: Callable[..., Scene]) -> None:
    found = scene(once(chat_flood()))
    found.limit("tenant", "300 tokens", strict=True, allow_unbounded=True)
    ask(found.worker, call(found.worker, PICTURE, *ACME))
    assert until(lambda: found.worker.worker.counters.get("limit_ended") == 1)
