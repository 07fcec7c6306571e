"""The ledger in process, for commands while no keeper runs."""

from collections.abc import Callable
from typing import Any

import msgspec

from farebox.ledger.ledger import Ledger
from farebox.ledger.pricer import Pricer
from farebox.ledger.service import answer
from farebox.settings import Settings


class LocalLedger:
    """Answers as the keeper does. `close` lets go of the data directory."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any:
        """Time limits are the ledger's own; `timeout_s` is there for likeness with KeeperClient."""
        del timeout_s
        return msgspec.to_builtins(answer(self.ledger, method, msgspec.to_builtins(params)))

    def close(self) -> None:
        self.ledger.close()


def open_ledger(settings: Settings, price_rows: Callable[[], list[dict[str, object]]] | None = None) -> LocalLedger:
    """Lock the data directory and ingest its journals. Raises LedgerLocked, LedgerError."""
    wires = {name: provider.wire for name, provider in settings.providers.items() if provider.wire}
    ledger = Ledger(settings, Pricer(price_rows() if price_rows else (), wires))
    try:
        ledger.ingest()
    except BaseException:
        ledger.close()
        raise
    return LocalLedger(ledger)
