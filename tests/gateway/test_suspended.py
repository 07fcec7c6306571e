"""A worker that did not run for a while: what it was lent before it asks for again, before it spends any of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from farebox.core.accounts import Lease
from farebox.core.attribution import Attribution
from farebox.core.limit_text import read_limit
from farebox.gateway.asking import new_asking
from farebox.gateway.leases import PAUSE_S, Leases
from farebox.gateway.limiting import Gate
from farebox.gateway.waiters import Waiters
from farebox.ledger.client import SOCKET_NAME, AsyncKeeperClient
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.sheets import load_book
from farebox.settings import Limits

PAUSE_US = int(PAUSE_S * 1_000_000)


def test_an_expired_lease_keeps_what_is_open_and_takes_no_late_answer() -> None:
    lease = Lease()
    asked = lease.ask(5)
    lease.granted(asked.number, 10)
    assert lease.reserve(3)
    late = lease.ask(20)
    lease.expire()
    lease.granted(late.number, 23)
    assert (lease.given, lease.free, lease.reserve(1)) == (3, 0, False)
    lease.settle(3, 2)
    again = lease.ask(1)
    assert (again.given, again.spent, again.need) == (3, 2, 3)
    lease.granted(again.number, 4)
    assert lease.free == 2


class Scene:
    """A gate with one limit of 9 requests a user, no keeper, and clocks of the test's."""

    def __init__(self, home: Path) -> None:
        self.now_us = 1_792_065_600_000_000
        loop = asyncio.get_running_loop()
        self.leases = Leases("worker-0-a", AsyncKeeperClient(home / SOCKET_NAME), loop, lambda: self.now_us)
        self.gate = Gate(self.leases, loop.time, lambda: self.now_us, Limits(), Waiters(loop, 1))
        limit = msgspec.structs.replace(read_limit({"per": "user", "amount": "9 requests"}), id="lim_1")
        self.gate.use((limit,))
        self.who = Attribution("acme", None, "u")
        assert self.admit() is False
        [self.local] = self.leases.accounts.values()
        self.local.told_s = loop.time()
        self.local.lease.granted(self.local.lease.number, 5)

    def admit(self) -> bool:
        """Whether a call passes at once; else it waits for the authority's word."""
        asking = new_asking(
            self.gate.histories, self.who, "key_1", True, False, "openai", Endpoint(operation="chat", family=""),
            Intent(model="gpt-4.1-mini"), b"{}", None, load_book(()), None, self.now_us, 0,
        )  # fmt: skip
        hold = self.gate.admit(asking, 0.0)
        return hold is not None


def run(home: Path, play: Callable[[Scene], None]) -> None:
    async def main() -> None:
        scene = Scene(home)
        play(scene)
        await scene.leases.close()

    asyncio.run(main())


def test_a_call_after_a_pause_waits_for_the_authority_and_spends_nothing_of_the_old_lease(tmp_path: Path) -> None:
    def play(scene: Scene) -> None:
        assert scene.admit()
        scene.now_us += PAUSE_US
        assert scene.admit(), "a moment is no pause"
        scene.now_us += 1
        assert not scene.admit()
        lease = scene.local.lease
        assert (lease.given, lease.reserved, lease.free) == (2, 2, 0), "open calls keep what they hold"
        asked = lease.ask(1)
        assert (asked.given, asked.need) == (2, 3)
        lease.granted(asked.number, 3)
        assert scene.admit(), "what the authority says now may be spent"
        assert not scene.admit()

    run(tmp_path, play)


def test_a_worker_that_runs_keeps_its_lease_without_the_authority(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        for _ in range(4):  # each round of its task says that it runs; nobody answers
            scene.now_us += PAUSE_US - 1
            scene.leases.ask(scene.local)
            before_us = scene.leases.runs_until_us
            while scene.leases.runs_until_us == before_us:
                await asyncio.sleep(0)
        assert not scene.leases.reachable
        assert scene.admit()
        await scene.leases.close()

    asyncio.run(main())


def test_a_pause_is_seen_without_a_call(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        scene.now_us += PAUSE_US + 1
        scene.leases.ask(scene.local)
        while scene.local.lease.free:
            await asyncio.sleep(0)
        assert not scene.admit()
        await scene.leases.close()

    asyncio.run(main())
