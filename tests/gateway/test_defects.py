"""Defects of Farebox's own: the call that meets one ends with an answer or a cut and a record, all others go on."""

from collections.abc import Callable
from typing import Any

import pytest
from running_worker import ANSWER, CHAT, CHAT_COST, Running, Upstream, response
from scripted import STREAM, USAGE_CHUNK, call, chunked, delta, play, sse_head

from farebox.gateway.targets import Target
from farebox.providers.openai import OPENAI

Start = Callable[..., tuple[Running, Upstream]]


class Broken:
    """OpenAI's provider (or its reader), with one part that fails."""

    def __init__(self, whole: Any, part: str) -> None:
        self._whole = whole
        self._part = part

    def __getattr__(self, name: str) -> Any:
        if name == self._part == "running":  # a property, not a method
            raise RuntimeError("a defect")
        if name == self._part:
            return _fail
        found = getattr(self._whole, name)
        if name == "reader":
            return lambda *given, **named: Broken(found(*given, **named), self._part)
        return found


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("part", ["read_once", "with_usage", "reader", "feed", "end", "metered", "running"])
def test_a_defect_ends_one_call_with_a_record_and_no_other(
    gateway: Start, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    begin = sse_head() + chunked(delta("one"), end=False)
    worker, upstream = gateway(play(begin, 0.1, chunked(USAGE_CHUNK)))
    worker.defective = True
    sound = worker.worker.targets.get("openai")
    assert sound is not None
    broken = Target(sound.view, Broken(OPENAI, part), sound.pool, sound.host, sound.prefix)  # type: ignore[arg-type]
    targets = dict(worker.worker.targets._targets)
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.__setitem__, "openai", broken)
    data = worker.raw(call(worker, STREAM, "Connection: close"), wait_s=3)
    # Where only the counting failed, the answer is the client's all the same.
    assert data.startswith(b"HTTP/1.1 500 ") or data.endswith(b"0\r\n\r\n") == (part == "metered")
    assert any(record.getMessage().startswith("exchange.failed ") for record in caplog.records)
    if upstream.requests:
        [(_, tail)] = worker.finished()
        assert tail.state == "interrupted" and "metering_failed" in tail.marks
        assert (tail.cost, tail.cost_source) == (None, "unpriced"), "unknown is not free"
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.update, targets)
    before = len(worker.records())
    assert worker.post(CHAT, path="/proxy/groq/openai/v1/chat/completions").status == 200
    assert len(worker.records()) >= before


def test_a_defect_in_a_plain_answer_is_a_500_and_the_worker_goes_on(gateway: Start) -> None:
    worker, _ = gateway(play(response()))
    worker.defective = True
    sound = worker.worker.targets.get("openai")
    assert sound is not None
    broken = Target(sound.view, Broken(OPENAI, "reader"), sound.pool, sound.host, sound.prefix)  # type: ignore[arg-type]
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.__setitem__, "openai", broken)
    answer = worker.post()
    assert answer.status == 500
    assert answer.json["error"]["code"] == "internal_error"  # type: ignore[index]
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.__setitem__, "openai", sound)
    assert worker.post().body == ANSWER
    assert [tail.cost for _, tail in worker.finished(2)] == [None, CHAT_COST]
