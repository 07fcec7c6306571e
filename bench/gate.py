"""The limits' own figures: what the gate takes of a call, and what a million live accounts take of the keeper.

    python -m bench.gate cost 300000
    python -m bench.gate memory 1000000

Each runs in a process of its own and says one line of JSON. The gate is measured as a call meets it: what it asks, is
admitted by leases that the worker has, and settles; nothing else runs meanwhile. The accounts are one for each user of
one limit, each told of and lent to as by a worker's messages; what they take is the process's memory beyond what it had
before the first.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from bench.machine import Cores, rss_bytes
from bench.processes import running, wait_for_line
from farebox.core.attribution import Attribution
from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit
from farebox.core.windows import window_at, zone
from farebox.gateway.asking import Asking, new_asking
from farebox.gateway.leases import MESSAGE_MAX, Leases, clock_us
from farebox.gateway.limiting import Gate
from farebox.gateway.waiters import Waiters
from farebox.keeper.authority import Authority
from farebox.keeper.messages import Message
from farebox.ledger.client import SOCKET_NAME, AsyncKeeperClient
from farebox.ledger.ledger import Ledger
from farebox.providers.charging import Charged
from farebox.providers.openai import OPENAI
from farebox.providers.protocol import Intent
from farebox.providers.sheets import load_book
from farebox.settings import Settings
from farebox.settings.table import Limits as LimitSettings

COST_P50_US_MAX = 10.0
ACCOUNTS = 1_000_000
ACCOUNTS_BYTES_MAX = 1_500_000_000
SAYS_S_MAX = 300.0
CALLERS = 500
LIMITS: tuple[dict[str, str], ...] = (
    {"per": "tenant", "amount": "1000000 usd"},
    {"per": "user", "amount": "1000000 usd"},
    {"per": "feature", "amount": "1e12 tokens", "window": "day"},
    {"per": "tier", "amount": "1e12 requests", "window": "hour"},
    {"per": "all", "amount": "1000000 usd"},
)
BODY = b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"hello"}],"max_tokens":64}'
CHARGED = Charged(usage={"input": 20, "output": 60}, cost=104_000_000, cost_source="computed")
LENT = 10**17


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Both figures, and whether they are what is asked."""
    directory.mkdir(parents=True, exist_ok=True)
    cost = _said(directory, cores, "cost", 20_000 if quick else 300_000)
    memory = _said(directory, cores, "memory", 50_000 if quick else ACCOUNTS)
    return {
        **cost,
        **memory,
        "p50_us_max": COST_P50_US_MAX,
        "bytes_max": ACCOUNTS_BYTES_MAX,
        "met": cost["p50_us"] < COST_P50_US_MAX and memory["bytes"] < ACCOUNTS_BYTES_MAX,
    }


def _said(directory: Path, cores: Cores, what: str, count: int) -> dict[str, Any]:
    log = directory / f"{what}.log"
    with running([sys.executable, "-m", "bench.gate", what, str(count)], core=cores.subject, log=log) as process:
        figures: dict[str, Any] = json.loads(wait_for_line("{", process, log, SAYS_S_MAX))
    return figures


def cost(calls: int) -> dict[str, Any]:
    """What one call takes at the gate, admitted and settled, with an account in each of LIMITS."""
    limits = tuple(_limit(number, spec) for number, spec in enumerate(LIMITS))
    return asyncio.run(_cost(limits, calls))


async def _cost(limits: tuple[Limit, ...], calls: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as directory:
        loop = asyncio.get_running_loop()
        leases = Leases("worker-0-bench", AsyncKeeperClient(Path(directory) / SOCKET_NAME, connections_max=1), loop)
        settings = LimitSettings(grace=0, subjects_per_minute=CALLERS)
        gate = Gate(leases, time.monotonic, clock_us, settings, Waiters(loop, 0))
        gate.use(limits)
        now_us, book = time.time_ns() // 1000, load_book(())
        endpoint = OPENAI.endpoint("POST", "/v1/chat/completions")
        intent = OPENAI.intent(endpoint, BODY)
        callers = [_caller(number) for number in range(CALLERS)]

        def asking(who: Attribution, intent: Intent = intent) -> Asking:
            return new_asking(
                gate.histories, who, "key_bench", True, False, "openai", endpoint, intent, BODY, None, book, None,
                now_us, 0,
            )  # fmt: skip

        for who in callers:  # the first asks for what is then lent
            gate.admit(asking(who), 0.0)
        for local in leases.accounts.values():
            local.lease.granted(local.lease.number, LENT)
            local.told_s = time.monotonic()
        counted, times = 0, []
        for number in range(calls):
            who = callers[number % CALLERS]
            began = time.perf_counter_ns()
            hold = gate.admit(asking(who), 0.0)
            assert hold is not None, "the lease has room for it"
            hold.named("evt_bench", now_us)
            hold.settle(CHARGED, "done", None, 1)
            times.append(time.perf_counter_ns() - began)
            counted += len(hold.parts)
        await leases.close()
    assert counted == calls * len(limits), "each call counts in all of the accounts"
    times.sort()
    return {"calls": calls, "p50_us": times[calls // 2] / 1000, "p99_us": times[calls * 99 // 100] / 1000}


def _caller(number: int) -> Attribution:
    return Attribution(tenant=f"tenant-{number % 50}", user=f"user-{number}", tier="free", feature="chat")


def memory(accounts: int) -> dict[str, Any]:
    """The resident memory that so many accounts of one limit take of the keeper's authority, and the time to learn of
    them."""
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as directory:
        ledger = Ledger(Settings(data=Path(directory)))
        authority = Authority(ledger)
        limit = _limit(0, {"per": "user", "amount": "5 usd"})
        authority.use((limit,))
        authority.tick(ledger.ingest)
        before, began = rss_bytes(os.getpid()), time.monotonic()
        for at in range(0, accounts, MESSAGE_MAX):
            _tell(authority, limit, range(at, min(at + MESSAGE_MAX, accounts)))
        seconds, taken = time.monotonic() - began, rss_bytes(os.getpid()) - before
        assert authority.accounts == accounts, "each is an account"
        ledger.close()
    return {"accounts": accounts, "bytes": taken, "seconds": seconds}


def _tell(authority: Authority, limit: Limit, users: range) -> None:
    """A worker's message as it comes out of the socket: some of each account is spent, and more is asked for."""
    window = window_at(limit.window, time.time_ns() // 1000, zone("UTC"))
    said = [
        (limit.id, f"tenant-{user % 1000}/user-{user}", window.start_us, window.end_us, 1, 0, 10**9, 2 * 10**9, 10**9)
        for user in users
    ]
    answers: Any = authority.lease(msgspec.convert(["worker-0-bench", True, said], Message))
    assert answers[2][-1].given >= 2 * 10**9, "it is lent what it asked for"


def _limit(number: int, spec: dict[str, str]) -> Limit:
    return msgspec.structs.replace(read_limit(spec), id=f"lim_{number:016x}")


if __name__ == "__main__":
    print(json.dumps({"cost": cost, "memory": memory}[sys.argv[1]](int(sys.argv[2]))), flush=True)
