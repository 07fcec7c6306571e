"""Throttled calls: who waits for their turn, who is refused at once, and what is left of those that are gone."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from limits_scene import ACME, Scene, farebox
from running_worker import CHAT
from scripted import until

Start = Callable[..., Scene]
LONG_US = 10**15
"""As good as for ever."""


def fresh_us() -> int:
    """A period of less than a minute that has just begun: no test meets its end."""
    now_us = time.time_ns() // 1000
    return next(us for us in range(50_000_000, 60_000_000, 1000) if now_us % us < 2_000_000)


def throttled(scene: Start, **settings: object) -> tuple[Scene, str]:
    """One request is free, then two in each period pass: all three are used."""
    found = scene(**settings)
    limit = found.limit(amount="1 requests", action="throttle", rate=2)
    assert found.statuses(3) == [200, 200, 200]
    return found, limit


def waiting(found: Scene) -> int:
    return found.worker.worker.gate.waiters.waiting


def post(found: Scene, statuses: list[int]) -> threading.Thread:
    thread = threading.Thread(target=lambda: statuses.append(found.call().status))
    thread.start()
    return thread


def test_calls_that_wait_go_on_in_the_next_periods_and_no_more_of_them_than_the_rate(scene: Start) -> None:
    period_us = 400_000
    found = scene(rate_us=period_us, limits__throttle_wait_s=60)
    limit = found.limit(amount="1 requests", action="throttle", rate=2)
    statuses: list[int] = []
    calls = [post(found, statuses) for _ in range(9)]
    for call in calls:
        call.join(30)
    assert statuses == [200] * 9
    assert until(lambda: found.used(limit) == 9)
    started = [head.started_at_us for head, _ in found.worker.finished(9)]
    periods = Counter(at // period_us for at in started)
    # One of them is the free one; it stands in the first period beside two.
    assert max(periods.values()) <= 3
    assert sum(count > 2 for count in periods.values()) <= 1
    assert waiting(found) == 0


def test_what_would_wait_longer_than_the_bound_is_refused_with_the_time_of_the_next_turn(scene: Start) -> None:
    found, limit = throttled(scene, rate_us=LONG_US, limits__throttle_wait_s=60)
    refused = found.call()
    assert (refused.status, refused.headers["x-farebox-limit"]) == (429, limit)
    assert refused.headers["x-should-retry"] == "true"
    assert int(refused.headers["retry-after"]) > 60
    assert "throttled: 2 requests a minute" in farebox(refused)["message"]
    assert waiting(found) == 0


def test_no_call_waits_where_the_bound_is_nought(scene: Start) -> None:
    found, _ = throttled(scene, limits__throttle_wait_s=0)
    assert found.call().status == 429
    assert 1 <= int(found.call().headers["retry-after"]) <= 60


def test_a_client_that_leaves_while_it_waits_leaves_nothing(scene: Start) -> None:
    found, _ = throttled(scene, rate_us=fresh_us(), limits__throttle_wait_s=60)
    with closing(found.worker.connect()) as sock:
        head = found.worker.head("/proxy/openai/v1/chat/completions", *ACME)
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT)
        assert until(lambda: waiting(found) == 1)
    assert until(lambda: waiting(found) == 0)
    assert until(lambda: not found.worker.worker.exchanges)
    assert len(found.upstream.requests) == 3
    assert all(not local.lease.reserved for local in found.worker.worker.gate.leases.accounts.values())


def test_only_so_many_wait_and_a_worker_that_ends_lets_them_go(scene: Start) -> None:
    found, _ = throttled(scene, rate_us=fresh_us(), limits__throttle_wait_s=60, limits__throttle_waiting_max=2)
    statuses: list[int] = []
    calls = [post(found, statuses) for _ in range(2)]
    assert until(lambda: waiting(found) == 2)
    assert found.call().status == 429
    assert found.call("x-tenant-id: acme", "x-user-id: u_2").status == 200
    found.worker.stop()
    for call in calls:
        call.join(10)
    assert statuses == [503, 503]
    assert len(found.upstream.requests) == 4
