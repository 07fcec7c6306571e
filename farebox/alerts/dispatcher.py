"""Delivers what the outbox holds: at least once to each channel, and no channel waits for another.

One thread looks for what is due and gives each channel that something waits for a thread of its own, which ends when
there is nothing left. So there are never more than there are channels, and what waits lies on disk.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from farebox.alerts.apprise import Apprise
from farebox.alerts.outbox import Delivery, Outbox, new_alert, new_delivery
from farebox.alerts.targets import Context, OpenTarget, OwnerOf, Sender, Target, nobody
from farebox.alerts.webhooks import Webhooks
from farebox.core.alert_text import Message, trial_message
from farebox.core.backoff import BASE_S, delay_s
from farebox.core.thresholds import Finding
from farebox.errors import AlertsError, DeliveryFailed, FareboxError
from farebox.telemetry import tell

SENDERS: Final[tuple[Sender, ...]] = (Webhooks(), Apprise())
ATTEMPTS_MAX: Final = 12
POLL_S: Final = 0.5
STUCK_S: Final = 5.0
"""Pause after the outbox could not be read."""
STOP_S: Final = 2.0
REMOVED: Final = "the channel was removed"
_log = logging.getLogger("farebox.alerts")


class Dispatcher:
    """`disable` takes a channel's id and why it must not be used any more."""

    def __init__(
        self,
        outbox: Outbox,
        open_target: OpenTarget,
        disable: Callable[[str, str], object],
        now_us: Callable[[], int],
        *,
        dashboard_url: str = "",
        attempts_max: int = ATTEMPTS_MAX,
        base_s: float = BASE_S,
        senders: Sequence[Sender] = SENDERS,
        owner_of: OwnerOf = nobody,
    ) -> None:
        self._outbox = outbox
        self._open = open_target
        self._disable = disable
        self._now_us = now_us
        self._dashboard_url = dashboard_url
        self._owner_of = owner_of
        self._attempts_max = attempts_max
        self._base_s = base_s
        self._senders = {sender.kind: sender for sender in senders}
        self._stopping = threading.Event()
        self._workers: dict[str, threading.Thread] = {}
        self._attempts = Attempts()
        self._thread = threading.Thread(target=self._run, name="alerts-dispatch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no more attempts. One that is on its way may still arrive: it is then sent again after the start."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_S
        for thread in (self._thread, *self._workers.values()):
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for channel in self._outbox.channels_due(self._now_us()):
                    self._give(channel)
                pause = POLL_S
            except AlertsError as error:
                tell(_log, "alerts.stuck", logging.ERROR, error=str(error))
                pause = STUCK_S
            self._stopping.wait(pause)

    def _give(self, channel: str) -> None:
        worker = self._workers.get(channel)
        if worker is None or not worker.is_alive():
            self._workers = {name: thread for name, thread in self._workers.items() if thread.is_alive()}
            worker = threading.Thread(target=self._work, args=(channel,), name=f"alerts-{channel}", daemon=True)
            self._workers[channel] = worker
            worker.start()

    def _work(self, channel: str) -> None:
        """Deliver what is due for one channel, one after the other."""
        try:
            while not self._stopping.is_set():
                delivery = self._outbox.next_due(channel, self._now_us())
                if delivery is None:
                    return
                self._deliver(channel, delivery)
        except Exception as error:  # noqa: BLE001 - outermost loop: the next look at the outbox begins anew
            tell(_log, "alerts.stuck", logging.ERROR, channel=channel, error=f"{type(error).__name__}: {error}")
            self._stopping.wait(STUCK_S)

    def _deliver(self, channel: str, delivery: Delivery) -> None:
        try:
            target = self._open(channel)
            if target is None or target.disabled is not None:
                self._bury(channel, REMOVED if target is None else f"the channel is disabled: {target.disabled}")
                return
            self._send(target, delivery)
        except DeliveryFailed as error:
            self._failed(channel, delivery, error)
        except AlertsError:
            raise
        except FareboxError as error:
            self._failed(channel, delivery, DeliveryFailed(str(error)))
        else:
            self._outbox.sent(delivery, self._now_us())
            tell(_log, "alerts.sent", channel=channel, delivery=delivery.id, kind=delivery.alert.kind)

    def _bury(self, channel: str, reason: str) -> None:
        count = self._outbox.bury(channel, reason, self._now_us())
        tell(_log, "alerts.dead", logging.ERROR, channel=channel, deliveries=count, error=reason)

    def _failed(self, channel: str, delivery: Delivery, error: DeliveryFailed) -> None:
        attempts, now_us = delivery.attempts + 1, self._now_us()
        final = error.is_final or attempts >= self._attempts_max
        due_us = None if final else now_us + int(delay_s(attempts, random.random(), self._base_s) * 1_000_000)
        self._outbox.failed(delivery, str(error), due_us, now_us)
        event, level = ("alerts.dead", logging.ERROR) if final else ("alerts.failed", logging.WARNING)
        tell(_log, event, level, channel=channel, delivery=delivery.id, attempt=attempts, error=str(error))
        if error.is_gone:
            self._disable(channel, str(error))

    def _send(self, target: Target, delivery: Delivery) -> None:
        sender = self._senders[target.kind]
        context = Context(self._now_us(), self._dashboard_url, self._owner_of)
        self._attempts.run(target.id, sender.timeout_s, lambda: sender.send(target, delivery, context))

    def test(self, target: Target) -> None:
        """Send a test message now, beside what waits. Raises DeliveryFailed with what went wrong."""
        send_test(target, self._now_us(), self._dashboard_url, self._senders[target.kind])


class Attempts:
    """Attempts that end in time: what a library does cannot be ended from outside, but it can be left alone. A channel
    whose last attempt was left alone and still runs gets no second one beside it."""

    def __init__(self) -> None:
        self._left: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def run(self, channel: str, timeout_s: float, send: Callable[[], None]) -> None:
        """Raises DeliveryFailed, also where it takes longer than `timeout_s`."""
        with self._lock:
            before = self._left.get(channel)
            if before is not None and before.is_alive():
                raise DeliveryFailed("the attempt before has not come back yet")
            self._left.pop(channel, None)
        raised: list[Exception] = []

        def attempt() -> None:
            try:
                send()
            except Exception as error:  # noqa: BLE001 - carried over to the thread that waits
                raised.append(error)

        thread = threading.Thread(target=attempt, name=f"alerts-attempt-{channel}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():
            with self._lock:
                self._left[channel] = thread
            raise DeliveryFailed(f"it was not taken within {timeout_s:g} s")
        for error in raised:
            raise error if isinstance(error, DeliveryFailed) else DeliveryFailed(type(error).__name__)


def send_test(target: Target, now_us: int, dashboard_url: str = "", sender: Sender | None = None) -> None:
    """Send a test message to a channel, whether or not it is disabled. Raises DeliveryFailed."""
    send_message(target, Finding("", "test", "test", "test", now_us), trial_message(), now_us, dashboard_url, sender)


def send_message(
    target: Target,
    finding: Finding,
    message: Message,
    now_us: int,
    dashboard_url: str = "",
    sender: Sender | None = None,
) -> None:
    """Send a message that somebody asked for, now and once, past the outbox. Raises DeliveryFailed."""
    if sender is None:
        sender = next(known for known in SENDERS if known.kind == target.kind)
    delivery = new_delivery(new_alert(finding, message, now_us), target.id)
    context = Context(now_us, dashboard_url)
    chosen = sender
    Attempts().run(target.id, chosen.timeout_s, lambda: chosen.send(target, delivery, context))
