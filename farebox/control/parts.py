"""What the routes work with. A test passes stand-ins; `process` passes the real ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request

from farebox.alerts.outbox import Outbox
from farebox.directory.store import Directory
from farebox.settings import Settings


class Keeper(Protocol):
    """The ledger's owner, asked over its socket. Answers are decoded msgpack, hence Any."""

    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        """Raises KeeperUnavailable where it does not answer, and the keeper's own errors as FareboxError."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    keeper: Keeper
    directory: Directory
    outbox: Outbox
    settings: Settings
    env: Mapping[str, str]
    """Where providers' credentials may stand."""
    run_dir: Path
    """Where the workers' counter files are."""
    now_us: Callable[[], int]


def parts_of(request: Request) -> Parts:
    """The parts of the application that serves this request."""
    found: Parts = request.app.state.parts
    return found
