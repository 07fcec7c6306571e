"""What the SDK adds to a call beside asking, and how long an app waits for `import farebox`.

A process of its own makes the same small call by OpenAI's client to a static upstream, plain and wrapped by turns. The
wrapped one also asks a running Farebox; how long that takes is measured in the same calls, and taken off. A third call
by turns is plain but for that it asks the same question before it is sent: a call that has waited in its middle goes on
with cold caches, and what a wrapped one takes beyond it is the SDK's own. Beside it stands what the same question takes
on a bare socket: the rest of asking is the HTTP client's.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from bench import nginx
from bench.latency import percentile_us
from bench.machine import CannotMeasure, Cores, pin
from bench.subjects import farebox
from farebox.client.door import AUTHORIZE
from farebox.errors import Unreachable

OVERHEAD_US_MAX: Final = 150.0
IMPORT_MS_MAX: Final = 150.0
READY_S: Final = 20.0
IMPORTS: Final = ("import farebox", "from farebox import Farebox", "from farebox import Farebox; Farebox(key='k')")
PARAMS: Final[dict[str, Any]] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]}
WHO: Final[dict[str, Any]] = {
    "tenant_id": "acme", "user_id": "u_77", "feature": "summarize", "tags": {"region": "eu"},
}  # fmt: skip
Asking = Callable[[str, object], dict[str, Any]]
AskingAsync = Callable[[str, object], Awaitable[dict[str, Any]]]


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Medians: of a call's overhead, sync and async, and of the imports."""
    directory.mkdir(parents=True, exist_ok=True)
    calls, imports = (200, 5) if quick else (2_000, 15)
    elsewhere = Cores(cores.rest, cores.rest)
    with nginx.static_upstream(directory / "upstream", cores.rest) as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        with farebox(directory / "farebox", elsewhere, url) as subject:
            key = subject.headers["Authorization"].removeprefix("Bearer ")
            command = [sys.executable, "-m", "bench.sdk", f"http://127.0.0.1:{subject.port}", key, url, str(directory)]
            app = json.loads(_output([*command, "--calls", str(calls)], cores.subject))
    loaded = {code: _import_ms(code, cores.subject, imports) for code in IMPORTS}
    met = all(figures["overhead_us"] < OVERHEAD_US_MAX for figures in app.values())
    return {
        "calls": calls,
        "app": app,
        "overhead_us_max": OVERHEAD_US_MAX,
        "import_ms": loaded,
        "import_ms_max": IMPORT_MS_MAX,
        "met": met and loaded[IMPORTS[0]] < IMPORT_MS_MAX,
    }


def _import_ms(code: str, core: int, times: int) -> float:
    script = f"import time; began = time.perf_counter(); {code}; print((time.perf_counter() - began) * 1000)"
    return median(float(_output([sys.executable, "-c", script], core)) for _ in range(times))


def _output(command: list[str], core: int) -> str:
    """What a process on this core writes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pin(process.pid, core)
        said, errors = process.communicate()
    if process.returncode:
        raise CannotMeasure(f"{command[:3]} failed: {errors[-500:]}")
    return said


# the process that is measured


class _Asked:
    """How long each question to Farebox took, and the last one."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask
        self.took_ns: list[int] = []
        self.question: object = None

    def last_ns(self) -> int:
        """Of the question that was asked since; there is one."""
        (took,) = self.took_ns
        self.took_ns.clear()
        return took

    def __call__(self, path: str, body: object) -> dict[str, Any]:
        began = time.perf_counter_ns()
        answer = self._ask(path, body)
        if path == AUTHORIZE:
            self.took_ns.append(time.perf_counter_ns() - began)
            self.question = body
        return answer

    def around(self, ask: AskingAsync) -> AskingAsync:
        """The same for questions that are awaited."""

        async def timed(path: str, body: object) -> dict[str, Any]:
            began = time.perf_counter_ns()
            answer = await ask(path, body)
            self.took_ns.append(time.perf_counter_ns() - began)
            return answer

        return timed


def _wait_for(ask: Asking) -> None:
    """Until Farebox has read what was spent before, and gives answers."""
    end = time.monotonic() + READY_S
    while True:
        try:
            ask(AUTHORIZE, {"provider": "openai", "model": PARAMS["model"], "operation": "chat"})
            return
        except Unreachable:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class _Round(NamedTuple):
    """Nanoseconds of the three calls, and of the questions in two of them."""

    plain: int
    paused: int
    paused_for: int
    wrapped: int
    asking: int


def _figures(rounds: list[_Round]) -> dict[str, float]:
    """Medians. The overhead is what a wrapped call took more than its question and the plain call beside it; `own_us`
    is the same beside the plain call that asked, too."""
    return {
        "plain_us": percentile_us([one.plain for one in rounds], 0.5),
        "wrapped_us": percentile_us([one.wrapped for one in rounds], 0.5),
        "asking_us": percentile_us([one.asking for one in rounds], 0.5),
        "overhead_us": percentile_us([one.wrapped - one.asking - one.plain for one in rounds], 0.5),
        "own_us": percentile_us([one.wrapped - one.asking - (one.paused - one.paused_for) for one in rounds], 0.5),
    }


def _timed(call: Callable[[], object]) -> int:
    began = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began


async def _timed_async(call: Callable[[], Awaitable[object]]) -> int:
    began = time.perf_counter_ns()
    await call()
    return time.perf_counter_ns() - began


def _bare_us(port: int, key: str, question: object, times: int) -> float:
    """The same question on one kept connection, without an HTTP client."""
    body = json.dumps(question).encode()
    head = f"POST /api/v1/authorize HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def ask() -> None:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65_536)
            if b" 200 " not in answer[:20]:
                raise CannotMeasure(f"/authorize answers {answer!r}")

        return percentile_us([_timed(ask) for _ in range(times)], 0.5)


def measure(url: str, key: str, upstream: str, spool: str, calls: int) -> dict[str, dict[str, float]]:
    """In this process: figures of sync and async calls."""
    import openai

    from farebox import Farebox

    with Farebox(url, key, spool=spool, fail_open=False) as fb:
        _wait_for(fb._door.post)
        asked = _Asked(fb._door.post)
        fb._door.post = asked  # type: ignore[method-assign]
        fb._door.post_async = asked.around(fb._door.post_async)  # type: ignore[method-assign]
        options: dict[str, Any] = {"base_url": upstream + "/v1", "api_key": "own"}
        asked.took_ns.clear()
        found = {"sync": _sync(openai.OpenAI, fb, options, calls, asked)}
        found["async"] = asyncio.run(_async(openai.AsyncOpenAI, fb, options, calls, asked))
        port = int(url.rpartition(":")[2])
        found["sync"]["bare_us"] = _bare_us(port, key, asked.question, calls)
        return found


def _sync(kind: Any, fb: Any, options: Mapping[str, Any], calls: int, asked: _Asked) -> dict[str, float]:
    rounds: list[_Round] = []
    with kind(**options) as own, kind(**options) as paused, kind(**options) as other:
        metered = fb.wrap(other)
        send = paused._client.send

        def asking(request: Any, **more: Any) -> Any:
            fb._door.post(AUTHORIZE, asked.question)
            return send(request, **more)

        paused._client.send = asking
        with fb.context(**WHO):
            metered.chat.completions.create(**PARAMS)
            asked.last_ns()
            for _ in range(calls):
                plain_ns = _timed(lambda: own.chat.completions.create(**PARAMS))
                paused_ns = _timed(lambda: paused.chat.completions.create(**PARAMS))
                paused_for_ns = asked.last_ns()
                wrapped_ns = _timed(lambda: metered.chat.completions.create(**PARAMS))
                rounds.append(_Round(plain_ns, paused_ns, paused_for_ns, wrapped_ns, asked.last_ns()))
    return _figures(rounds)


async def _async(kind: Any, fb: Any, options: Mapping[str, Any], calls: int, asked: _Asked) -> dict[str, float]:
    rounds: list[_Round] = []
    async with kind(**options) as own, kind(**options) as paused, kind(**options) as other:
        metered = fb.wrap(other)
        send = paused._client.send

        async def asking(request: Any, **more: Any) -> Any:
            await fb._door.post_async(AUTHORIZE, asked.question)
            return await send(request, **more)

        paused._client.send = asking
        with fb.context(**WHO):
            await metered.chat.completions.create(**PARAMS)
            asked.took_ns.clear()  # the first one is asked in a thread, and counts in both ways
            for _ in range(calls):
                plain_ns = await _timed_async(lambda: own.chat.completions.create(**PARAMS))
                paused_ns = await _timed_async(lambda: paused.chat.completions.create(**PARAMS))
                paused_for_ns = asked.last_ns()
                wrapped_ns = await _timed_async(lambda: metered.chat.completions.create(**PARAMS))
                rounds.append(_Round(plain_ns, paused_ns, paused_for_ns, wrapped_ns, asked.last_ns()))
    return _figures(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "key", "upstream", "spool"):
        parser.add_argument(name)
    parser.add_argument("--calls", type=int, default=2_000)
    given = parser.parse_args()
    print(json.dumps(measure(given.url, given.key, given.upstream, given.spool, given.calls)))


if __name__ == "__main__":
    main()
