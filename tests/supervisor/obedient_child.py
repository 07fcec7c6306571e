"""A stand-in for worker, keeper and web: does as the file `orders/<role>` says, and notes what happens to it."""

import os
import signal
import sys
import threading
from pathlib import Path

from farebox.supervisor.child import enter, parsed, ready_signal

home = Path(sys.argv[1])
start = parsed(sys.argv[2:])
settings = enter(start)
name = f"{start.role}-{start.index}"


def note(text: str) -> None:
    with (home / "notes").open("a") as file:
        file.write(f"{name} {text} {os.getpid()}\n")


stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
orders = home / "orders" / start.role
order = orders.read_text() if orders.exists() else ""
note("started")
if order == "fail":
    sys.exit(3)
if order == "fail-once":
    orders.unlink()
    sys.exit(3)
if order != "mute":
    ready_signal(start)()
while not stop.wait(0.05):
    pass
if start.fd >= 0:
    os.close(start.fd)
if order == "deaf":
    threading.Event().wait()
note("ended")
