"""Sends events and outcomes in the background: soon, once each, and by way of the disk while Farebox is away."""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from farebox.client.door import Door
from farebox.client.ending import before_the_end
from farebox.client.spool import Item, Spool
from farebox.errors import FareboxError, Unreachable

PAUSE_S: Final = 0.2
"""How long events are gathered before they are sent."""
EXIT_S: Final = 2.0
"""How long the end of a process waits for what is still to be sent; the rest goes to disk."""
BATCH_MAX: Final = 250
QUEUE_MAX: Final = 10_000
"""What waits in memory; beyond it, it waits on disk."""
UNREAD_MAX: Final = 1_000
"""Where more waits, whose answer comes next is read at once: unread ones keep their bytes in memory."""
AGAIN_S: Final = 1.0
AGAIN_S_MAX: Final = 30.0
_PATHS: Final = {"event": "/api/v1/events", "outcome": "/api/v1/outcomes"}
_log = logging.getLogger("farebox.client")
_ALL: "weakref.WeakSet[Sender]" = weakref.WeakSet()


class Over(Protocol):
    """A call whose event is still to be made: its answer is not even read yet."""

    @property
    def id(self) -> str: ...
    def event(self) -> dict[str, object]: ...


Waiting = tuple[str, dict[str, object] | Over]


class Sender:
    """Safe to use from several threads, and after a fork: the child sends what is its own."""

    def __init__(self, door: Door, spool: Spool) -> None:
        self._door = door
        self._spool = spool
        self._again_s = AGAIN_S
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[Waiting] = deque()
        self._sending = 0
        self._hurry = False
        self._is_idle = True
        """Nobody looks at the queue before the next `put` says so."""
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, kind: str, document: dict[str, object] | Over) -> None:
        """Takes no lock and wakes nobody where the thread looks by itself soon: this is in the way of each call."""
        if len(self._queue) >= UNREAD_MAX and not isinstance(document, dict):
            made = _event_of(document)
            if made is None:
                return
            document = made
        self._queue.append((kind, document))  # before what follows is looked at: see `_wait` and `close`
        if self._closed or len(self._queue) > QUEUE_MAX:
            with self._changed:
                self._keep()
        elif self._is_idle:
            with self._changed:
                self._start()
                self._is_idle = False
                self._changed.notify_all()

    def _start(self) -> None:
        """Under the lock."""
        if self._thread is None:
            before_the_end(_close_all)
            self._thread = threading.Thread(target=self._run, name="farebox-sender", daemon=True)
            self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Send what waits, also on disk, now; whether all of it was taken in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            if self._thread is None and not self._queue and not self._spool.files():
                return True
            self._start()
            while self._queue or self._sending or self._spool.files():
                left_s = deadline - time.monotonic()
                if left_s <= 0 or self._closed:
                    return False
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait(min(left_s, PAUSE_S))
        return True

    def close(self, timeout_s: float) -> None:
        """Send what can be sent in time, and leave the rest on disk."""
        self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        with self._changed:
            self._keep()

    def _keep(self) -> None:
        """Leave all that waits in memory on disk. Under the lock."""
        while self._queue:
            if items := _made(self._take()):
                self._spool.put(items)

    def _take(self) -> list[Waiting]:
        """The next batch. Under the lock."""
        return [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]

    def forked(self) -> None:
        self._begin()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait()
                if self._closed:
                    return
                self._hurry = False
                waiting = self._take()
                self._sending = len(waiting)
            try:
                items = _made(waiting)
                if items and not self._send(items):
                    self._spool.put(items)
                self._send_spooled()
            except Exception:  # noqa: BLE001 - outermost loop of this thread: what comes next must still be sent
                _log.exception("sending to Farebox failed")
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _wait(self) -> None:
        """Until there is something to send, or to try again; what comes meanwhile goes along. Under the lock."""
        while len(self._queue) < BATCH_MAX and not self._changed.wait_for(self._is_pressed, PAUSE_S):
            if self._queue:
                return
            self._is_idle = True  # before the queue is looked at once more
            is_told = bool(self._queue) or self._changed.wait(self._again_s if self._spool.files() else None)
            self._is_idle = False
            if not is_told:
                return

    def _is_pressed(self) -> bool:
        return self._hurry or self._closed

    def _send_spooled(self) -> None:
        for path in self._spool.files():
            items = self._spool.read(path)
            if items and not self._send(items):
                return
            self._spool.done(path)

    def _send(self, items: Sequence[Item]) -> bool:
        """Whether Farebox has them now, or will never take them."""
        for kind, path in _PATHS.items():
            documents = [document for found, document in items if found == kind]
            if not documents:
                continue
            try:
                _look(self._door.post(path, {f"{kind}s": documents}))
            except Unreachable:
                self._again_s = min(self._again_s * 2, AGAIN_S_MAX)
                return False
            except FareboxError as error:
                _log.error("%d %ss stay on disk: %s", len(documents), kind, error)
                self._again_s = AGAIN_S_MAX
                return False
        self._again_s = AGAIN_S
        return True


def _made(waiting: Sequence[Waiting]) -> list[Item]:
    """The same with events in place of calls."""
    items: list[Item] = []
    for kind, document in waiting:
        made = document if isinstance(document, dict) else _event_of(document)
        if made is not None:
            items.append((kind, made))
    return items


def _event_of(call: Over) -> dict[str, object] | None:
    try:
        return call.event()
    except Exception:  # noqa: BLE001 - whatever an answer holds: the app's other calls must still be told
        _log.exception("call %s cannot be metered, and is lost", call.id)
        return None


def _look(answer: dict[str, Any]) -> None:
    for verdict in answer.get("data", ()):
        if verdict.get("verdict") in ("invalid", "conflict"):
            _log.error("Farebox does not take event %s: %s", verdict.get("id"), verdict.get("error") or "conflict")


def _close_all() -> None:
    for sender in list(_ALL):
        sender.close(EXIT_S)
        sender._door.close()


def _forked() -> None:
    for sender in list(_ALL):
        sender.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
