"""A bar for what takes the ledger more than a second: how far, how fast, how long yet."""

import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from farebox.core.queries import EventsQuery, UsageQuery
from farebox.errors import FareboxError
from farebox.settings import Settings

PATIENCE_S: Final = 1.0
LOOK_S: Final = 0.25


class Waiting:
    """Calls a long method and shows a bar on standard error while it lasts, on a terminal only."""

    def __init__(self, settings: Settings, ledger: Any, query: EventsQuery | UsageQuery) -> None:
        # ledger is Any: the keeper's client or the ledger itself, both with `call`
        self._settings, self._ledger, self._query = settings, ledger, query
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def call(self, method: str, params: object) -> Any:
        """The answer. Raises what the ledger raises."""
        total = self._total()
        done: Future[Any] = Future()
        threading.Thread(target=self._run, args=(done, method, params), daemon=True).start()
        if not self._bar.console.is_terminal or _ends(done, PATIENCE_S):
            return done.result()
        began_s = time.monotonic() - PATIENCE_S
        task = self._bar.add_task(method, total=total, rate="")
        self._bar.start()
        while not _ends(done, LOOK_S):
            rows = self._rows()
            speed = rows / (time.monotonic() - began_s)
            self._bar.update(task, completed=rows, rate=f"{speed:,.0f} rows/s")
        return done.result()

    def _run(self, done: "Future[Any]", method: str, params: object) -> None:
        try:
            done.set_result(self._ledger.call(method, params))
        except BaseException as error:  # noqa: BLE001 (carried to the thread that waits)
            done.set_exception(error)

    def _total(self) -> int | None:
        """How many events there are, where events are exported."""
        if not isinstance(self._query, EventsQuery):
            return None
        asked = UsageQuery(
            since_us=self._query.since_us,
            until_us=self._query.until_us,
            where=self._query.where,
            measures=("attempts", "refused"),
            order="-attempts",
        )
        rows = self._ledger.call("usage", asked)["rows"]
        return sum(int(row["attempts"]) + int(row["refused"]) for row in rows) or None

    def _rows(self) -> int:
        """How far it is: asked on a line of its own, for the first one waits for the answer."""
        from farebox.cli.ledgers import stats_of

        try:
            return int(stats_of(self._settings, self._ledger).get("exported_rows") or 0)
        except FareboxError:
            return 0


def _ends(done: "Future[Any]", within_s: float) -> bool:
    try:
        done.exception(timeout=within_s)
    except TimeoutError:
        return False
    return True
