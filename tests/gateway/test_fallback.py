"""Routes at the gateway: the next target is tried where one fails, and every attempt is in the books."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from route_scene import GROQ_ANSWER, SMART, SMART_STREAM, STREAMED, TARGETS, Scene, Script, error
from running_keeper import Keeper
from running_worker import ANSWER, CHAT_COST, Peer, Upstream, response
from scripted import (
    DONE,
    ask,
    chunked,
    crowded,
    delta,
    once,
    play,
    reset,
    sse_head,
    unbalanced,
    until,
    wait_for_end,
)  # fmt: skip

from farebox.core.limit_text import read_limit
from farebox.core.routes import read_route


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def start(scripts: dict[str, Script | str], **route: object) -> Scene:
        made.append(Scene(tmp_path / f"data-{len(made)}", scripts, **route))
        return made[-1]

    yield start
    for found in made:
        found.worker.stop()
        assert found.worker.defective or unbalanced(found.worker) == []
        for upstream in found.upstreams.values():
            upstream.close()


def nobody() -> str:
    """An address that refuses connections."""
    closed = Upstream(lambda peer: None)
    closed.close()
    return closed.url


def test_the_first_target_answers_and_the_answer_says_so(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    answer = found.post()
    assert (answer.status, answer.body) == (200, ANSWER)
    told = {
        name: value for name, value in answer.headers.items() if name.startswith("x-farebox-") and "event" not in name
    }
    assert told == {
        "x-farebox-route": "smart", "x-farebox-target": "openai/gpt-4.1-mini", "x-farebox-attempts": "1",
    }  # fmt: skip
    assert b'"model":"gpt-4.1-mini"' in found.asked("openai")[0]
    assert found.asked("groq") == []
    ((head, tail),) = found.worker.finished()
    assert (head.route, head.attempt, head.fallback_from, head.call_id) == ("smart", 1, None, head.id)
    assert (head.model_requested, tail.cost) == ("gpt-4.1-mini", CHAT_COST)


FAULTS: dict[str, tuple[object, tuple[int | None, str, str | None]]] = {
    "refused": (nobody, (None, "upstream_error", "upstream_unreachable")),
    "reset": (once(reset), (None, "upstream_error", "upstream_closed")),
    "closed": (once(), (None, "upstream_error", "upstream_closed")),
    "408": (play(error(b"408 Request Timeout")), (408, "upstream_error", "server_error")),
    "409": (play(error(b"409 Conflict")), (409, "upstream_error", "server_error")),
    "429": (
        play(error(b"429 Too Many Requests", b"Retry-After: 7", code=b"rate_limit_exceeded")),
        (429, "upstream_error", "rate_limit_exceeded"),
    ),
    "500": (play(error(b"500 Internal Server Error")), (500, "upstream_error", "server_error")),
    "529": (play(error(b"529 Overloaded", code=b"overloaded_error")), (529, "upstream_error", "overloaded_error")),
    "503 whose body never ends": (
        once(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n{", wait_for_end),
        (503, "upstream_error", "http_503"),
    ),
    "no first byte": (once(wait_for_end), (None, "timeout", "upstream_timeout")),
    "a head and nothing behind it": (once(sse_head(), wait_for_end), (200, "timeout", "upstream_timeout")),
    "a head and the end": (once(sse_head()), (200, "upstream_error", "upstream_closed")),
    "an error in the stream's first event": (
        play(sse_head() + chunked(b'data: {"error":{"message":"no","type":"overloaded","code":"overloaded"}}\n\n')),
        (200, "upstream_error", "overloaded"),
    ),
    "an error at the end of the stream's first event": (
        play(
            sse_head()
            + chunked(
                b'data: {"id":"gen-1","object":"chat.completion.chunk","provider":"' + b"p" * 300 + b'","choices":[],'
                b'"error":{"message":"no","type":"overloaded","code":"overloaded"}}\n\n'
            )
        ),
        (200, "upstream_error", "overloaded"),
    ),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_target_that_fails_is_followed_by_the_next(scene: Callable[..., Scene], fault: str, streams: bool) -> None:
    script, (status, state, said) = FAULTS[fault]
    if fault.startswith("an error") and not streams:
        pytest.skip("a whole answer has its status")
    good = STREAMED if streams else response(GROQ_ANSWER)
    found = scene({"openai": script() if fault == "refused" else script, "groq": play(good)}, timeout="600ms")  # type: ignore[operator]
    began = time.monotonic()
    answer = found.post("x-task-id: t-1", body=SMART_STREAM if streams else SMART)
    assert answer.status == 200
    assert answer.headers["x-farebox-target"] == "groq/llama-3.3-70b-versatile"
    assert answer.headers["x-farebox-attempts"] == "2"
    assert time.monotonic() - began < 5
    if streams:
        assert answer.body == delta("he") + delta("llo") + DONE  # the usage chunk was ours
    else:
        assert answer.body == GROQ_ANSWER
    (first, failed), (second, done) = found.worker.finished(2)
    assert (first.attempt, first.fallback_from, first.route) == (1, None, "smart")
    assert (second.attempt, second.fallback_from, second.route) == (2, "openai/gpt-4.1-mini", "smart")
    assert first.call_id == second.call_id == first.id != second.id
    assert {first.task, second.task} == {"t-1"}
    assert (first.provider, second.provider) == ("openai", "groq")
    assert (failed.status, failed.state, failed.error) == (status, state, said)
    assert failed.cost is not None
    assert (done.state, done.status) == ("done", 200)
    assert done.cost is not None and done.cost > 0
    assert answer.headers["x-farebox-event-id"] == second.id
    assert len(found.asked("groq")) == 1


def test_a_connection_that_nobody_takes_is_given_up_in_the_routes_time(scene: Callable[..., Scene]) -> None:
    with crowded() as url:
        found = scene({"openai": url, "groq": play(response(GROQ_ANSWER))}, timeout="500ms")
        assert found.post().body == GROQ_ANSWER
        (_, failed), _ = found.worker.finished(2)
        assert (failed.state, failed.error, failed.cost) == ("timeout", "upstream_timeout", 0)


def test_no_byte_is_passed_on_twice_where_a_stream_is_cut(scene: Callable[..., Scene]) -> None:
    cut = once(sse_head() + chunked(delta("he"), end=False), reset)
    found = scene({"openai": cut, "groq": play(STREAMED)})
    out = found.worker.raw(
        found.worker.head("/v1/chat/completions") + b"Content-Length: %d\r\n\r\n" % len(SMART_STREAM) + SMART_STREAM
    )
    assert out.count(delta("he")) == 1 and delta("llo") not in out
    assert not out.endswith(b"0\r\n\r\n")
    ((head, tail),) = found.worker.finished()
    assert (head.attempt, tail.state) == (1, "upstream_error")
    assert found.asked("groq") == []


def test_the_last_targets_failure_is_the_clients_answer_byte_for_byte(scene: Callable[..., Scene]) -> None:
    last = error(b"503 Service Unavailable", b"Retry-After: 3", code=b"busy")
    found = scene({"openai": play(error(b"500 Internal Server Error")), "groq": play(last)})
    answer = found.post()
    assert (answer.status, answer.body) == (503, last.partition(b"\r\n\r\n")[2])
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["x-farebox-attempts"] == "2"
    assert [tail.status for _, tail in found.worker.finished(2)] == [500, 503]


def test_where_no_target_can_be_reached_the_answer_is_a_clean_502(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": nobody(), "groq": once(sse_head())})
    answer = found.post(body=SMART_STREAM)
    assert (answer.status, answer.headers["x-farebox-attempts"]) == (502, "2")
    assert answer.json["error"]["code"] == "upstream_closed"  # type: ignore[index,call-overload]
    assert [tail.state for _, tail in found.worker.finished(2)] == ["upstream_error", "upstream_error"]


@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 Unauthorized", b"404 Not Found", b"422 Unprocessable"])
def test_what_another_target_would_not_mend_moves_nothing_on(scene: Callable[..., Scene], status: bytes) -> None:
    found = scene({"openai": play(error(status)), "groq": play(response())})
    assert found.post().status == int(status[:3])
    assert found.asked("groq") == []


def test_a_route_may_say_what_moves_it_on(scene: Callable[..., Scene]) -> None:
    found = scene(
        {"openai": play(error(b"404 Not Found")), "groq": play(response(GROQ_ANSWER))}, retry_on=["404", "connect"]
    )
    assert found.post().body == GROQ_ANSWER
    other = scene({"openai": play(error(b"500 Oh")), "groq": play(response())}, retry_on=["connect"])
    assert other.post().status == 500


def test_a_header_names_the_route_whatever_the_model(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(error(b"500 Oh")), "groq": play(response(GROQ_ANSWER))})
    body = SMART.replace(b"smart", b"gpt-5")
    assert found.post("x-farebox-route: smart", body=body).body == GROQ_ANSWER
    assert b"gpt-4.1-mini" in found.asked("openai")[0]
    assert b"llama-3.3-70b-versatile" in found.asked("groq")[0]
    assert not any(b"x-farebox" in request.lower() for request in found.asked("openai"))
    refused = found.post("x-farebox-route: smrt", body=body)
    assert (refused.status, "smart" in str(refused.json)) == (400, True)


def test_a_native_route_goes_to_its_own_providers_targets(scene: Callable[..., Scene]) -> None:
    message = (
        b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":'
        b'[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}'
    )
    scripts = play(error(b"529 Overloaded", code=b"overloaded_error"))
    answers = iter([error(b"529 Overloaded", code=b"overloaded_error"), response(message)])

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(next(answers))

    targets = ["openai/gpt-4.1-mini", "anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5"]
    found = scene({"openai": scripts, "anthropic": handler}, targets=targets)
    body = b'{"model":"any","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
    answer = found.post("x-farebox-route: smart", body=body, path="/proxy/anthropic/v1/messages")
    assert (answer.status, answer.body) == (200, message)
    assert [b"claude-sonnet" in request for request in found.asked("anthropic")] == [True, False]
    assert [head.model_requested for head, _ in found.worker.finished(2)] == ["claude-sonnet-4-5", "claude-haiku-4-5"]
    assert found.asked("openai") == []
    none = found.post("x-farebox-route: smart", body=body, path="/proxy/groq/openai/v1/chat/completions")
    assert none.status == 400


def test_a_native_route_changes_the_model_in_a_path(scene: Callable[..., Scene]) -> None:
    whole = (
        b'{"candidates":[{"content":{"parts":[{"text":"hi"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":'
        b'{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5},"modelVersion":"gemini-2.5-flash-lite"}'
    )
    answers = iter([error(b"503 Oh"), response(whole)])

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(next(answers))

    found = scene({"gemini": handler}, targets=["gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash-lite"])
    body = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
    path = "/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    answer = found.post("x-farebox-route: smart", body=body, path=path)
    assert (answer.status, answer.body) == (200, whole)
    lines = [request.split(b" HTTP")[0].rpartition(b"/")[2] for request in found.asked("gemini")]
    assert lines == [b"gemini-2.5-pro:generateContent", b"gemini-2.5-flash-lite:generateContent"]


def test_a_target_that_goes_on_failing_is_left_alone_and_tried_again(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(error(b"500 Oh")), "groq": play(response(GROQ_ANSWER))}, break_after=2, rest="700ms")
    assert [found.post().status for _ in range(6)] == [200] * 6
    assert len(found.asked("openai")) == 2
    assert until(lambda: found.post().status == 200 and len(found.asked("openai")) == 3)
    assert [found.post().headers["x-farebox-attempts"] for _ in range(3)] == ["1"] * 3


def test_a_target_that_said_how_long_to_wait_is_left_alone_for_so_long(scene: Callable[..., Scene]) -> None:
    limited = error(b"429 Too Many Requests", b"Retry-After: 30")
    found = scene({"openai": play(limited), "groq": play(response(GROQ_ANSWER))})
    assert [found.post().headers["x-farebox-attempts"] for _ in range(4)] == ["2", "1", "1", "1"]
    assert len(found.asked("openai")) == 1


def test_a_session_stays_with_its_target(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))}, sticky=True)
    chosen = {
        session: {found.post(f"x-session-id: s-{session}").headers["x-farebox-target"] for _ in range(3)}
        for session in range(12)
    }
    assert all(len(targets) == 1 for targets in chosen.values())
    assert {target for targets in chosen.values() for target in targets} == set(TARGETS)


def test_a_keys_restrictions_hold_for_each_target(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    found.worker.key = found.worker.new_key(providers=("groq",))
    assert found.post().body == GROQ_ANSWER
    found.worker.key = found.worker.new_key(models=("llama-*",))
    assert found.post().body == GROQ_ANSWER
    found.worker.key = found.worker.new_key(models=("smart",))
    assert found.post().body == ANSWER
    found.worker.key = found.worker.new_key(routes=("smart",))
    assert found.post().body == ANSWER
    direct = found.post(body=SMART.replace(b"smart", b"gpt-4.1-mini"))
    assert (direct.status, direct.json["error"]["code"]) == (403, "route_not_allowed")  # type: ignore[index,call-overload]
    found.worker.key = found.worker.new_key(models=("o3",))
    refused = found.post()
    assert (refused.status, refused.json["error"]["code"]) == (403, "model_not_allowed")  # type: ignore[index,call-overload]


def test_a_client_that_leaves_between_two_attempts_leaves_clean_books(scene: Callable[..., Scene]) -> None:
    found = scene({"groq": play(error(b"500 Oh")), "openai": once(wait_for_end)}, targets=TARGETS[::-1])
    with found.worker.connect() as sock:
        head = found.worker.head("/v1/chat/completions")
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(SMART) + SMART)
        assert until(lambda: len(found.asked("openai")) == 1)
    (_, failed), (second, left) = found.worker.finished(2)
    assert (failed.status, second.attempt, left.state) == (500, 2, "client_closed")


def test_a_model_of_that_name_is_no_route_where_there_is_none(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response())})
    answer = ask(found.worker, found.worker.head("/v1/chat/completions") + b"Content-Length: 2\r\n\r\n{}")
    assert answer.status == 200 and "x-farebox-route" not in answer.headers
    assert json.loads(answer.body)["id"] == "chatcmpl-1"


def with_keeper(found: Scene, limits: int = 0) -> Keeper:
    """An authority for the worker's limits, once both know them."""
    keeper = Keeper(found.worker, ticking=True)
    assert until(lambda: len(keeper.authority.limits) == limits and len(found.worker.worker.gate._limits) == limits)
    return keeper


def limited(found: Scene, **written: object) -> tuple[Keeper, str]:
    row = found.worker.directory.limits.set(read_limit({"per": "all", **written}))
    assert until(lambda: len(found.worker.worker.gate._limits) == 1)
    return with_keeper(found, 1), row.id


def used(keeper: Keeper, limit_id: str, **who: str) -> object:
    rows = keeper.explain(**who)
    return next(entry["used"] for entry in rows if entry["limit_id"] == limit_id)


def test_a_call_that_fell_back_is_one_request(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(error(b"500 Oh")), "groq": play(response(GROQ_ANSWER))}, break_after=100)
    keeper, limit = limited(found, amount="3 requests")
    assert [found.post().status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert until(lambda: used(keeper, limit) == 3)
    assert len(found.asked("openai")) == 3
    keeper.stop()
    again = with_keeper(found, 1)  # as the ledger counts it
    assert until(lambda: used(again, limit) == 3)
    again.stop()


def test_a_target_whose_budget_is_used_up_is_passed_by(scene: Callable[..., Scene]) -> None:
    found = scene(
        {"openai": play(response()), "groq": play(response(GROQ_ANSWER))},
        targets=[{"target": TARGETS[0], "budget": f"{2 * CHAT_COST / 10**12:.12f} usd", "window": "day"}, TARGETS[1]],
    )
    keeper = with_keeper(found, 1)
    targets = [found.post().headers["x-farebox-target"] for _ in range(4)]
    assert targets == [TARGETS[0], TARGETS[0], TARGETS[1], TARGETS[1]]
    direct = found.worker.post()  # not by the route: the budget does not count it, and does not stop it
    assert (direct.status, direct.body) == (200, ANSWER)
    (limit,) = keeper.authority.limits
    assert until(lambda: used(keeper, limit, route="smart", provider="openai", model="gpt-4.1-mini") == "0.000024")
    events = keeper.events()
    assert [event["route"] for event in events].count("smart") == 4
    keeper.stop()


def test_where_every_target_is_refused_the_first_refusal_is_the_answer(scene: Callable[..., Scene]) -> None:
    budgets = [{"target": target, "budget": "1 requests", "window": "day"} for target in TARGETS]
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))}, targets=budgets)
    keeper = with_keeper(found, 2)
    assert [found.post().status for _ in range(3)] == [200, 200, 429]
    refused = found.post()
    assert refused.headers["x-farebox-limit"] == "lim_route:smart:openai/gpt-4.1-mini"
    keeper.stop()


@pytest.mark.parametrize("model", ["groq/llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "cheap"])
def test_a_downgrade_may_lead_to_another_provider_or_a_route(scene: Callable[..., Scene], model: str) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    found.worker.directory.routes.set(read_route("cheap", {"targets": [TARGETS[1]]}))
    keeper, limit = limited(found, amount="1 requests", action="downgrade", model=model)
    assert until(lambda: found.worker.worker.routes.get("cheap") is not None)
    body = SMART.replace(b"smart", b"gpt-4.1-mini")
    assert found.post(body=body).body == ANSWER
    answer = found.post(body=body)
    assert (answer.status, answer.body) == (200, GROQ_ANSWER)
    assert answer.headers["x-farebox-model-requested"] == "gpt-4.1-mini"
    assert b"llama-3.3-70b-versatile" in found.asked("groq")[0]
    event = next(event for event in keeper.events() if event["provider"] == "groq")
    assert event["limits"]["downgraded_by"] == limit
    assert (event["model_requested"], event["route"]) == ("gpt-4.1-mini", "cheap" if model == "cheap" else None)
    # gpt-4.1-mini is $0.40 and $1.60 a million tokens, llama-3.3-70b-versatile $0.59 and $0.79 (groq.com/pricing)
    saved = 10 * (400_000 - 590_000) + 5 * (1_600_000 - 790_000)
    assert event["saved_usd"] == f"{saved / 10**12:.12f}"
    keeper.stop()


@pytest.mark.parametrize("model", ["groq/llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "cheap"])
def test_a_downgrade_takes_no_providers_key_of_the_callers_own_elsewhere(
    scene: Callable[..., Scene], model: str
) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    found.worker.directory.routes.set(read_route("cheap", {"targets": [TARGETS[1]]}))
    keeper, _ = limited(found, amount="1 requests", action="downgrade", model=model)
    assert until(lambda: found.worker.worker.routes.get("cheap") is not None)
    own = f"x-farebox-key: {found.worker.key}"
    found.worker.key = "sk-callers-own"
    body = SMART.replace(b"smart", b"gpt-4.1-mini")
    assert found.post(own, body=body).status == 200
    refused = found.post(own, body=body)
    assert (refused.status, b"send the Farebox key alone" in refused.body) == (403, True)
    assert found.asked("groq") == []
    keeper.stop()


def test_a_limit_may_look_at_where_a_call_goes(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    keeper, limit = limited(found, amount="1 requests", where={"provider": "openai", "model": "gpt-4.1-mini"})
    body = SMART.replace(b"smart", b"gpt-4.1-mini")
    assert [found.post(body=body).status for _ in range(2)] == [200, 429]
    assert found.post(body=body.replace(b"mini", b"nano")).status == 200
    assert found.post(body=body.replace(b"gpt-4.1-mini", b"groq/llama-3.3-70b-versatile")).status == 200
    assert until(lambda: used(keeper, limit, provider="openai", model="gpt-4.1-mini") == 1)
    keeper.stop()


def test_a_providers_key_of_the_callers_own_goes_to_no_other_provider(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response(GROQ_ANSWER))})
    own = f"x-farebox-key: {found.worker.key}"
    found.worker.key = "sk-callers-own"
    refused = found.post(own)
    assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_request")  # type: ignore[index,call-overload]
    assert found.asked("openai") == found.asked("groq") == []
    native = found.post(own, "x-farebox-route: smart", path="/proxy/openai/v1/chat/completions")
    assert native.status == 200
    assert b"sk-callers-own" in found.asked("openai")[0]


def test_a_limit_that_must_be_asked_for_is_asked_for_at_each_attempt(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(error(b"500 Oh")), "groq": play(response(GROQ_ANSWER))}, break_after=1000)
    keeper, _limit = limited(found, per="user", amount="1 usd")
    for number in range(8):  # each user's account is new to the worker
        assert found.post(f"x-user-id: u_{number}").body == GROQ_ANSWER
    events = keeper.events()
    assert len(events) == 16 and not any(event["limits"]["unchecked"] for event in events)
    keeper.stop()
