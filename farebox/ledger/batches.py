"""What one reading of the journals brings to the ledger, to be kept as a whole or not at all."""

from dataclasses import dataclass, field

import pyarrow as pa

from farebox.core.events import Outcome
from farebox.ledger.columns import build
from farebox.ledger.objects import Sighting
from farebox.ledger.reader import Position

_no_events, _no_usage_raw = build([])


@dataclass(slots=True)
class Batch:
    events: pa.Table = field(default_factory=lambda: _no_events)
    usage_raw: pa.Table = field(default_factory=lambda: _no_usage_raw)
    opened: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    """(incarnation, id, started record) of calls that have started and not ended within the batch."""
    closed: list[tuple[str, bytes]] = field(default_factory=list)
    """(incarnation, id) of calls that an earlier batch opened."""
    positions: dict[str, Position] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Incarnations whose process is gone and whose journal is read to its end: with this batch all of it is kept."""
    forget: list[str] = field(default_factory=list)
    """Incarnations whose journals are gone from the disk: their positions are needed no more."""
    rejects: list[tuple[str, str, str, bytes | None]] = field(default_factory=list)
    """(incarnation, kind, detail, record): what could not become an event."""
    noted: list[Sighting] = field(default_factory=list)
    """What calls that are still open have made."""
    outcomes: list[Outcome] = field(default_factory=list)
    """How tasks ended, by those who know."""
    records: int = 0
    more: bool = False
    """The journals held more than one batch takes."""

    @property
    def empty(self) -> bool:
        return not (self.positions or self.forget or self.events.num_rows or self.closed or self.rejects)
