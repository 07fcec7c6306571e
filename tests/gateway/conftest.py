"""A worker with an upstream of the test's making. Both end with the test, and then the books must balance."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limited_worker import Scene
from running_worker import Peer, Running, Upstream, answering, response
from scripted import unbalanced


@pytest.fixture
def gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., tuple[Running, Upstream]]]:
    """`gateway(handler=…, setting__name=…)` -> the running worker and its upstream; `url` leads it elsewhere.

    Whatever the test did: each attempt that was started has ended exactly once, no slot and no exchange is left, and
    Farebox met no defect of its own."""
    running: list[tuple[Running, Upstream]] = []

    def start(
        handler: Callable[[Peer], None] | None = None,
        *,
        context: object = None,
        url: str = "",
        **changes: object,
    ) -> tuple[Running, Upstream]:
        upstream = Upstream(handler or answering(response()), context=context)
        worker = Running(tmp_path / f"data-{len(running)}", url or upstream.url, **changes)
        running.append((worker, upstream))
        return worker, upstream

    yield start
    for worker, upstream in running:
        worker.stop()
        upstream.close()
    failed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("exchange.failed")]
    if not any(worker.defective for worker, _ in running):
        assert failed == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    for worker, _ in running:
        assert unbalanced(worker) == []


@pytest.fixture
def scene(gateway: Callable[..., tuple[Running, Upstream]]) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def start(handler: Any = None, **settings: object) -> Scene:
        made.append(Scene(gateway, handler, **settings))
        return made[-1]

    yield start
    for found in made:
        found.keeper.stop()
