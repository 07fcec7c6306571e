"""Named units at a worker: what a call counts as, by what it says and by rule, and what counts only once.

What was counted once is decided for good where the ledger takes the records in. A worker knows of its own calls: it
holds nothing for a value that it has counted, or that another of its open calls holds for; the first that is done
counts, and where it fails another takes its hold over. What other workers have counted it learns from the keeper, and
asks only where a limit would refuse the call otherwise.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from farebox.core.attribution import Attribution, parse_units
from farebox.core.units import Once, UnitRule, once_of, written
from farebox.errors import FareboxError
from farebox.ledger.client import SOCKET_NAME, AsyncKeeperClient

if TYPE_CHECKING:
    from farebox.gateway.holds import Hold
    from farebox.gateway.leases import LocalAccount

KNOWN_MAX: Final = 65_536
"""Values that a worker remembers to be counted: about 20 MB."""
ASKING_MAX: Final = 64
"""Refused calls of a worker for which the keeper is asked at the same time."""
ASK_S: Final = 1.0


class Tally:
    """What one call counts as. `once` names the values that its units are counted once for."""

    __slots__ = ("_tallies", "hold", "once", "units")

    def __init__(self, tallies: "Tallies", units: dict[str, int], once: dict[str, Once]) -> None:
        self._tallies = tallies
        self.units = units
        self.once = once
        self.hold: Hold | None = None

    @property
    def written(self) -> dict[str, int]:
        return written(self.units, self.once)

    def begin(self, hold: "Hold | None") -> None:
        """The call is admitted. Ends with `end`."""
        self.hold = hold
        for once in self.once.values():
            self._tallies.open.setdefault(once, []).append(self)

    def is_shared(self, unit: str, local: "LocalAccount") -> bool:
        """Whether another open call holds what this one would count in that account."""
        return self._holder_of(unit, local, held=True) is not None

    def end(self, *, done: bool) -> bool:
        """The call has ended: what it counts is what is left in `units`. -> whether that is other than was written."""
        dropped = False
        for unit, once in self.once.items():
            calls = self._tallies.open.get(once, [])
            if self in calls:
                calls.remove(self)
            if not calls:
                self._tallies.open.pop(once, None)
            if not done:
                continue
            if once in self._tallies.counted:
                del self.units[unit]
                dropped = True
            else:
                self._tallies.count(once)
        return dropped

    def hand_over(self, local: "LocalAccount", held: int) -> bool:
        """Let another open call of the same value have the hold. -> whether one takes it."""
        unit = local.limit.unit
        heir = self._holder_of(unit, local, held=False)
        if heir is None or self.once[unit] in self._tallies.counted:
            return False
        for part in heir.parts:
            if part.local is local:
                part.held = held
        return True

    def _holder_of(self, unit: str, local: "LocalAccount", *, held: bool) -> "Hold | None":
        once = self.once.get(unit)
        for tally in self._tallies.open.get(once, ()) if once is not None else ():
            if tally is not self and tally.hold is not None:
                for part in tally.hold.parts:
                    if part.local is local and bool(part.held) == held:
                        return tally.hold
        return None


class Tallies:
    """What a worker knows of units. Used by the event loop's thread only."""

    def __init__(self, rules: tuple[UnitRule, ...], run: Path) -> None:
        self.rules = rules
        self.counted: dict[Once, None] = {}
        self.open: dict[Once, list[Tally]] = {}
        """Calls that have begun and not ended, by what they may count."""
        self._asking = 0
        self._keeper = AsyncKeeperClient(run / SOCKET_NAME, connections_max=2)

    def of(self, who: Attribution, said: bytes | None, *, by_rule: bool) -> Tally | None:
        """What a call counts as; None for nothing. What it says goes before a rule. Raises InvalidTags."""
        units = parse_units(said) if said is not None else {}
        own = frozenset(units)
        once: dict[str, Once] = {}
        for rule in self.rules if by_rule else ():
            if rule.unit in own or not rule.meets(who):
                continue
            found = once_of(rule, who)
            if found is not None:
                if found in self.counted:
                    continue
                once[rule.unit] = found
            units[rule.unit] = rule.count
        return Tally(self, units, once) if units else None

    def count(self, once: Once) -> None:
        if len(self.counted) >= KNOWN_MAX:
            for known in list(self.counted)[: KNOWN_MAX // 8]:
                del self.counted[known]
        self.counted[once] = None

    async def ask(self, tally: Tally) -> None:
        """Learn from the keeper which of its values other workers have counted. Where it does not answer, none."""
        if self._asking >= ASKING_MAX:
            return
        asked = list(tally.once.values())
        self._asking += 1
        try:
            found: list[bool] = await self._keeper.call("counted", {"asked": asked}, ASK_S)
        except FareboxError:
            return
        finally:
            self._asking -= 1
        for once, was_counted in zip(asked, found, strict=True):
            if was_counted:
                self.count(once)

    async def close(self) -> None:
        await self._keeper.close()
