"""Alerts in the web process: one thread that looks, and the dispatcher beside it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from farebox.alerts.dispatcher import Dispatcher
from farebox.alerts.evaluation import Evaluation
from farebox.alerts.outbox import Outbox
from farebox.telemetry import tell

RETAIN_S = 3600.0
FURTHER_S = 20.0
"""Between two looks at what is due by the clock."""
STOP_S = 2.0
_log = logging.getLogger("farebox.alerts")


class Alerts:
    """Runs from `start` to `stop`; `further` are looks at what else may be due. What was found and not yet delivered is
    taken up by the next start."""

    def __init__(
        self,
        outbox: Outbox,
        evaluation: Evaluation,
        dispatcher: Dispatcher,
        now_us: Callable[[], int],
        *,
        limits_s: float,
        ledger_s: float,
        keep_days: int,
        further: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._outbox = outbox
        self._now_us = now_us
        self._keep_days = keep_days
        self._dispatcher = dispatcher
        self._duties: tuple[tuple[float, Callable[[], object]], ...] = (
            (limits_s, evaluation.look_at_limits),
            (ledger_s, evaluation.look_at_ledger),
            (RETAIN_S, self._retain),
            *((FURTHER_S, duty) for duty in further),
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts-evaluate", daemon=True)

    def start(self) -> None:
        self._dispatcher.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._dispatcher.stop()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        due_s = [time.monotonic()] * len(self._duties)
        while not self._stopping.is_set():
            for number, (every_s, duty) in enumerate(self._duties):
                if time.monotonic() >= due_s[number] and not self._stopping.is_set():
                    self._do(duty)
                    due_s[number] = time.monotonic() + every_s
            self._stopping.wait(max(0.0, min(due_s) - time.monotonic()))

    def _do(self, duty: Callable[[], object]) -> None:
        try:
            duty()
        except Exception as error:  # noqa: BLE001 - outermost loop: the next round may go better
            tell(_log, "alerts.stuck", logging.ERROR, error=f"{type(error).__name__}: {error}")

    def _retain(self) -> None:
        self._outbox.retain(self._keep_days, self._now_us())
