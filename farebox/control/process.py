"""The web process: uvicorn on a unix socket that the gateway reaches, and on a port of its own where asked for."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from farebox.alerts.outbox import FILE_NAME, Outbox
from farebox.control.access import token_finder
from farebox.control.alerting import alerts_of
from farebox.control.app import Joined, create_app
from farebox.control.listening import BACKLOG, tcp_socket, unix_socket
from farebox.control.parts import Parts
from farebox.directory.store import Directory
from farebox.ledger.client import AsyncKeeperClient
from farebox.settings import Settings, listen_address, run_dir

SOCKET_NAME: Final = "web.sock"
KEEPALIVE_S: Final = 75
CONNECTIONS_MAX: Final = 1000
GRACE_S: Final = 4


class WebServer(uvicorn.Server):
    """uvicorn that says when it listens, and ends with exit code 0 on SIGTERM."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again once it is done, which would end the process with its code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def run(settings: Settings, ready: Callable[[], None], pages: Callable[[Parts], ASGIApp] | None = None) -> None:
    """Serve until SIGTERM. `ready` is called once connections are accepted; `pages` makes what answers all that is not
    the API's; without it there is the API alone."""
    directory = run_dir(settings)
    store = Directory.open(settings)
    outbox = Outbox.usable(settings.data / FILE_NAME)
    parts = Parts(
        keeper=AsyncKeeperClient(directory / "keeper.sock"),
        directory=store,
        outbox=outbox,
        settings=settings,
        env=os.environ,
        run_dir=directory,
        now_us=_now_us,
    )
    api = create_app(parts, token_finder(store, _now_us), time.time)
    app = api if pages is None else Joined(api, pages(parts))
    sockets = [unix_socket(directory / SOCKET_NAME)]
    if settings.server.control_listen:
        sockets.append(tcp_socket(*listen_address(settings.server.control_listen)))
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEPALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    alerts = alerts_of(settings, store, outbox, _now_us)
    alerts.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(WebServer(config, ready).serve(sockets))
    finally:
        alerts.stop()


def _now_us() -> int:
    return time.time_ns() // 1000
