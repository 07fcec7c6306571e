"""Simulated providers: one loopback server that speaks the wire formats of OpenAI, Anthropic, Gemini and Groq.

Each provider lives below its own name: `base_url("openai")` is what its SDK or a gateway is pointed at.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from farebox.demo.simulated.plan import Plan, plan
from farebox.demo.simulated.request import PROVIDERS
from farebox.demo.simulated.server import Connection
from farebox.demo.simulated.truth import KEPT_MAX, Served, Truth

__all__ = ["PROVIDERS", "Plan", "Served", "SimulatedProviders", "plan"]

BACKLOG = 4096


class SimulatedProviders:
    """The server. `start()` runs it in a thread of its own; `serve()` on the caller's event loop."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log_file: Path | None = None,
        kept_max: int = KEPT_MAX,
        static: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.static = static
        self.tls = tls
        self.truth = Truth(log_file, kept_max)
        self.answers: dict[tuple[str, str, bytes], bytes] = {}
        self.connections: set[Connection] = set()
        self.loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def base_url(self, provider: str) -> str:
        """What stands for the provider's own origin."""
        return f"{self.url}/{provider}"

    def served(self, mark: str | None = None) -> list[Served]:
        """The requests that arrived, oldest first; with `mark`, those whose directive carries it."""
        return [served for served in self.truth.all() if mark is None or served.mark == mark]

    async def serve(self, ready: Callable[[], None] | None = None) -> None:
        """Listen until `stop()`. Raises OSError where the port is taken."""
        self.loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await self.loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=BACKLOG, ssl=self.tls
        )
        self.port = server.sockets[0].getsockname()[1]
        if ready is not None:
            ready()
        await self._stopped.wait()
        server.close()
        for connection in list(self.connections):
            connection.close()
        await server.wait_closed()
        self.truth.close()

    def start(self) -> Self:
        """Run in a thread; returns once it listens. Raises OSError where it cannot."""
        listening = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listening.set,), name="simulated-providers", daemon=True
        )
        self._thread.start()
        listening.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def _run(self, ready: Callable[[], None]) -> None:
        try:
            run(self.serve(ready))
        except OSError as failure:
            self._failure = failure
            ready()

    def request_stop(self) -> None:
        """Let `serve()` end. To be called on its event loop."""
        self._stopped.set()

    def stop(self) -> None:
        """Hang up on everyone and end the thread. Idempotent."""
        if self._thread is None:
            return
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(timeout=10)
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run(main: Coroutine[None, None, None]) -> None:
    """Run on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
