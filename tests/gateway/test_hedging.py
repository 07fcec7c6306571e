"""A second target that is asked while the first is slow: one answer reaches the client, both are in the books."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from route_scene import GROQ_ANSWER, SMART, SMART_STREAM, STREAMED, Scene, Script, error
from running_worker import ANSWER, Peer, response
from scripted import chunked, delta, once, play, sse_head, unbalanced, until, wait_for_end

THIRD = ["openai/gpt-4.1-mini", "groq/llama-3.3-70b-versatile", "deepseek/deepseek-chat"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def start(scripts: dict[str, Script | str], **route: object) -> Scene:
        made.append(Scene(tmp_path / f"data-{len(made)}", scripts, **{"hedge": "100ms", **route}))
        return made[-1]

    yield start
    for found in made:
        found.worker.stop()
        assert unbalanced(found.worker) == []
        for upstream in found.upstreams.values():
            upstream.close()


def ends(found: Scene, count: int) -> dict[str, tuple[int, str | None, str, str | None]]:
    """By provider: (attempt, fell from, state, error)."""
    return {
        head.provider: (head.attempt, head.fallback_from, tail.state, tail.error)
        for head, tail in found.worker.finished(count)
    }


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_second_answers_where_the_first_is_slow(scene: Callable[..., Scene], streams: bool) -> None:
    good = STREAMED if streams else response(GROQ_ANSWER)
    found = scene({"openai": once(wait_for_end), "groq": play(good)})
    answer = found.post(body=SMART_STREAM if streams else SMART)
    assert answer.status == 200
    assert answer.body.startswith(delta("he") if streams else GROQ_ANSWER)
    assert answer.headers["x-farebox-target"] == "groq/llama-3.3-70b-versatile"
    assert answer.headers["x-farebox-attempts"] == "2"
    assert ends(found, 2) == {
        "openai": (1, None, "client_closed", "outrun"), "groq": (2, "openai/gpt-4.1-mini", "done", None),
    }  # fmt: skip
    (one, _), (two, _) = found.worker.finished(2)
    assert one.call_id == two.call_id
    assert found.post(body=SMART_STREAM if streams else SMART).status == 200


def test_a_client_may_go_on_over_the_same_connection(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": once(wait_for_end), "groq": play(response(GROQ_ANSWER))})
    data = found.worker.head("/v1/chat/completions") + b"Content-Length: %d\r\n\r\n" % len(SMART) + SMART
    out = found.worker.raw(data + data, wait_s=1.5)  # pipelined
    assert out.count(GROQ_ANSWER) == 2


def test_the_first_answers_where_it_is_still_the_first(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(0.3, response()), "deepseek": once(wait_for_end)}, targets=[THIRD[0], THIRD[2]])
    answer = found.post()
    assert (answer.body, answer.headers["x-farebox-target"]) == (ANSWER, "openai/gpt-4.1-mini")
    assert ends(found, 2) == {
        "openai": (1, None, "done", None), "deepseek": (2, "openai/gpt-4.1-mini", "client_closed", "outrun"),
    }  # fmt: skip


def test_nobody_else_is_asked_where_the_first_is_quick(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(response()), "groq": play(response())}, hedge="5s")
    assert [found.post().headers["x-farebox-attempts"] for _ in range(3)] == ["1"] * 3
    assert found.asked("groq") == []


def test_a_second_that_fails_leaves_the_answer_to_the_first(scene: Callable[..., Scene]) -> None:
    for fault in (error(b"500 Oh"), error(b"404 Not Found")):
        found = scene({"openai": play(0.5, response()), "groq": play(fault)})
        assert found.post().body == ANSWER
        assert ends(found, 2)["groq"][2] == "upstream_error"


def test_a_first_that_fails_leaves_the_answer_to_the_second(scene: Callable[..., Scene]) -> None:
    scripts = {
        "openai": play(0.3, error(b"500 Oh")),
        "groq": play(0.8, response(GROQ_ANSWER)),
        "deepseek": play(response()),
    }
    found = scene(scripts, targets=THIRD)
    answer = found.post()
    assert (answer.body, answer.headers["x-farebox-attempts"]) == (GROQ_ANSWER, "2")
    assert found.asked("deepseek") == []
    assert ends(found, 2)["openai"][2:] == ("upstream_error", "server_error")


def test_where_both_fail_the_third_is_asked(scene: Callable[..., Scene]) -> None:
    scripts = {"openai": play(0.3, error(b"500 Oh")), "groq": play(0.5, error(b"503 Oh")), "deepseek": play(response())}
    found = scene(scripts, targets=THIRD)
    answer = found.post()
    assert (answer.body, answer.headers["x-farebox-attempts"]) == (ANSWER, "3")
    assert {attempt for attempt, *_ in ends(found, 3).values()} == {1, 2, 3}


def test_where_all_fail_there_is_one_clean_answer(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": play(0.3, error(b"500 Oh")), "groq": play(0.5, error(b"503 Oh"))})
    answer = found.post()
    assert answer.status == 502
    assert answer.json["error"]["code"] == "upstream_failed"  # type: ignore[index,call-overload]
    assert len(ends(found, 2)) == 2


def test_a_client_that_leaves_ends_both(scene: Callable[..., Scene]) -> None:
    found = scene({"openai": once(wait_for_end), "deepseek": once(wait_for_end)}, targets=[THIRD[0], THIRD[2]])
    with found.worker.connect() as sock:
        head = found.worker.head("/v1/chat/completions")
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(SMART) + SMART)
        assert until(lambda: len(found.asked("deepseek")) == 1)
    assert [state for _, _, state, _ in ends(found, 2).values()] == ["client_closed"] * 2


def test_a_stream_that_is_cut_after_it_has_won_is_cut_for_the_client(scene: Callable[..., Scene]) -> None:
    def cut(peer: Peer) -> None:
        peer.request()
        peer.send(sse_head() + chunked(delta("he"), end=False))

    found = scene({"openai": once(wait_for_end), "groq": cut})
    data = found.worker.head("/v1/chat/completions") + b"Content-Length: %d\r\n\r\n" % len(SMART_STREAM)
    out = found.worker.raw(data + SMART_STREAM, wait_s=3)
    assert out.count(delta("he")) == 1 and not out.endswith(b"0\r\n\r\n")
    assert ends(found, 2)["groq"][2] == "upstream_error"
