"""A worker with an upstream of the test's making; both end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_worker import Peer, Running, Upstream, answering, response


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., tuple[Running, Upstream]]]:
    """`gateway(handler=…, setting__name=…)` -> the running worker and its upstream."""
    running: list[tuple[Running, Upstream]] = []

    def start(
        handler: Callable[[Peer], None] | None = None, *, context: object = None, **changes: object
    ) -> tuple[Running, Upstream]:
        upstream = Upstream(handler or answering(response()), context=context)
        worker = Running(tmp_path / f"data-{len(running)}", upstream.url, **changes)
        running.append((worker, upstream))
        return worker, upstream

    yield start
    for worker, upstream in running:
        worker.stop()
        upstream.close()
