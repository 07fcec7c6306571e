"""How long the dashboard's pages take over a large ledger, and what the gateway's calls notice of it.

    python -m bench --only pages [--events 100000000]

A real server: web process, keeper and gateway. Pages are asked over HTTP by somebody who is logged in, one after the
other, the time is that of the whole answer. Between two rounds something is booked, so that no answer is one that the
keeper remembers from the round before; within a round pages share answers, as they do for whoever walks through them.
The rounds in which the keeper makes the sums that it keeps for them do not count.
"""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from bench import large, nginx
from bench.client import Connection, call_bytes
from bench.contenders import Contender
from bench.latency import on_core, percentile_us
from bench.machine import CannotMeasure, Cores, pin
from bench.payloads import CALLERS
from bench.subjects import farebox
from farebox.dashboard.cookies import FORM_FIELD
from farebox.dashboard.passwords import Passwords
from farebox.directory.store import Directory
from farebox.directory.vault import VARIABLE, Vault
from farebox.reports.registry import REPORTS
from farebox.settings import Settings

EVENTS: Final = 10_000_000
LARGE: Final = 30_000_000
"""Events from which on the bound is that of a very large ledger."""
P95_MS_MAX: Final = 300.0
P95_MS_MAX_LARGE: Final = 600.0
LARGE_MEMORY_BYTES: Final = 4 * 1024**3
"""What such a ledger is given, in place of the gigabyte that is the default."""
P99_TIMES_MAX: Final = 2.0
WARM_ROUNDS: Final = 2
"""The first after a start reads the file and is answered from the roll-ups; beside the second, what it waited for is
made to be kept. Of a very large ledger that takes minutes: rounds are made, a minute apart, until all pages answer and
a round is as fast as the one before."""
WARM_ROUNDS_MAX: Final = 20
WARM_PAUSE_S: Final = 60.0
AS_FAST: Final = 0.8
BROWSERS: Final = 2
START_S: Final = 60.0
"""For the web process to answer."""
SETTLED_S: Final = 1.0
"""From a call to the ledger."""
PASSWORD: Final = "the password of the bench"
PAGES: Final = (
    "/", "/customers", "/customers/t00000", "/customers/t12345", "/users", "/users?tenant=t00000", "/features",
    "/models", "/calls", "/calls?tenant=t12345", "/calls/{call}", "/customers?period=90d", "/features?period=90d",
    "/reports", "/keys", "/settings",
)  # fmt: skip
OPTIONS: Final = {"statement": "?tenant=t00000", "plan-calculator": "?price=29&like=t00000"}


def run(directory: Path, cores: Cores, *, quick: bool, events: int | None = None) -> dict[str, Any]:
    """p95 by page, and the gateway's p99 with and without pages beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = events or (900_000 if quick else EVENTS)
    key = os.urandom(32)
    settings = Settings(data=directory / "data")
    count = large.build(settings, wanted, time.time_ns() // 1000)
    return measured(directory, cores, settings, key, count, rounds=5 if quick else 40, quick=quick)


def measured(
    directory: Path, cores: Cores, settings: Settings, key: bytes, events: int, *, rounds: int, quick: bool = False
) -> dict[str, Any]:
    """Of a ledger that is there already."""
    directory_of_it = Directory.open(settings, Vault(key))
    large.fill_directory(directory_of_it)
    directory_of_it.users.create("bench", "admin", Passwords().hash(PASSWORD))
    directory_of_it.close()
    environment = {VARIABLE: key.hex()}
    if events >= LARGE:
        environment["FAREBOX_LEDGER_MEMORY_BYTES"] = str(LARGE_MEMORY_BYTES)
    with (
        nginx.static_upstream(directory / "upstream", cores.subject) as upstream,
        farebox(
            directory / "farebox", cores, f"http://127.0.0.1:{upstream.port}", data=settings.data,
            settings=environment,
        ) as subject,
    ):  # fmt: skip
        for pid in subject.helpers:
            pin_all(pid)
        with logged_in(subject) as browser:
            warm_s = _warmed(subject, browser, events)
            pages = _timed(subject, browser, rounds)
        for pid in subject.helpers:
            pin(pid, cores.rest)
        calls = _calls(subject, cores, 2_000 if quick else 200_000)
    most = P95_MS_MAX_LARGE if events >= LARGE else P95_MS_MAX
    slow = {page: figures["p95_ms"] for page, figures in pages.items() if figures["p95_ms"] >= most}
    return {
        "events": events, "tenants": large.TENANTS, "users": large.USERS, "pages": pages, "p95_ms_max": most,
        "slow": slow, "warm_s": warm_s, "calls": calls, "p99_times_max": P99_TIMES_MAX,
        "met": not slow and calls["times"] < P99_TIMES_MAX,
    }  # fmt: skip


def pin_all(pid: int) -> None:
    """Let a process run on every core, as an operator's machine does."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), range(os.cpu_count() or 1))


@contextmanager
def logged_in(subject: Contender) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{subject.port}", trust_env=False, timeout=120) as browser:
        form, deadline = browser.get("/login"), time.monotonic() + START_S
        while form.status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.2)
            form = browser.get("/login")
        token = re.search(f'name="{FORM_FIELD}" value="([0-9a-f]+)"', form.text)
        if token is None:
            raise CannotMeasure(f"the dashboard does not answer: {form.text[:200]}")
        sent = {FORM_FIELD: token[1], "name": "bench", "password": PASSWORD}
        answer = browser.post("/login", data=sent)
        if answer.status_code != 303:
            raise CannotMeasure(f"nobody can log in: {answer.text[:200]}")
        yield browser


def _pages(browser: httpx.Client) -> list[str]:
    call = json.loads(browser.get("/calls.json").text)["data"][0]["id"]
    found = [page.replace("{call}", call) for page in PAGES]
    return [*found, *(f"/reports/{report.name}{OPTIONS.get(report.name, '')}" for report in REPORTS)]


def _warmed(subject: Contender, browser: httpx.Client, events: int) -> float:
    """Ask every page until the sums that they wait for are kept. -> seconds until then."""
    pages, began = _pages(browser), time.perf_counter()
    before_s = 0.0
    for number in range(1, WARM_ROUNDS_MAX + 1):
        taken = _round(subject, browser, pages)
        took_s, settled = sum(taken.values()) / 1000, number >= WARM_ROUNDS
        if settled and (events < LARGE or AS_FAST * before_s < took_s < float("inf")):
            break
        before_s = took_s
        if events >= LARGE:
            time.sleep(WARM_PAUSE_S)
    return time.perf_counter() - began


def _timed(subject: Contender, browser: httpx.Client, rounds: int) -> dict[str, dict[str, float]]:
    pages = _pages(browser)
    taken = [_round(subject, browser, pages) for _ in range(rounds)]
    return {page: _percentiles([times[page] for times in taken]) for page in pages}


def _round(subject: Contender, browser: httpx.Client, pages: list[str]) -> dict[str, float]:
    """Milliseconds of each page. One that does not answer with 200 counts as one that takes for ever."""
    _book(subject)
    taken = {}
    for page in pages:
        began = time.perf_counter()
        status = browser.get(page).status_code
        taken[page] = (time.perf_counter() - began) * 1000 if status == 200 else float("inf")
    return taken


def _book(subject: Contender) -> None:
    connection = Connection(subject)
    connection.ask(call_bytes(subject))
    connection.close()
    time.sleep(SETTLED_S)


def _percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50_ms": ordered[len(ordered) // 2], "p95_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]}


def _calls(subject: Contender, cores: Cores, samples: int) -> dict[str, Any]:
    """The gateway, its caller and the upstream have one core; web, keeper and the browsers the other."""
    stop = threading.Event()
    alone = _p99_us(subject, cores, samples)
    asked = [0] * BROWSERS
    browsers = [
        threading.Thread(target=_hammer, args=(subject, cores, stop, asked, number)) for number in range(BROWSERS)
    ]
    for browser in browsers:
        browser.start()
    deadline = time.monotonic() + START_S
    while min(asked) == 0 and time.monotonic() < deadline:  # the password of each takes its time
        time.sleep(0.05)
    beside = _p99_us(subject, cores, samples)
    stop.set()
    for browser in browsers:
        browser.join()
    return {"alone": alone, "beside": beside, "pages": sum(asked), "times": beside["p99_us"] / alone["p99_us"]}


def _hammer(subject: Contender, cores: Cores, stop: threading.Event, asked: list[int], number: int) -> None:
    os.sched_setaffinity(threading.get_native_id(), {cores.rest})
    with logged_in(subject) as browser:
        while not stop.is_set():
            for page in PAGES:
                if "{" not in page and not stop.is_set():
                    browser.get(page)
                    asked[number] += 1


def _p99_us(subject: Contender, cores: Cores, samples: int) -> dict[str, float]:
    requests = [call_bytes(subject, caller) for caller in range(CALLERS)]
    connection = Connection(subject)
    with on_core(cores.subject):
        taken = [connection.time_ns(requests[turn % CALLERS]) for turn in range(samples + 500)][500:]
    connection.close()
    return {"p50_us": percentile_us(taken, 0.50), "p99_us": percentile_us(taken, 0.99)}
