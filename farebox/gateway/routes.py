"""Routes as this worker sees them: which target is the next to be tried, and how each has fared here.

A target that failed several times running rests for a while, as does one that said how long to wait. Resting targets
are not left out, they come last: a call is refused by nobody while one of them might answer.
"""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Final

from farebox.core.meters import Usage
from farebox.core.pricing import PriceBook
from farebox.core.routes import Route, RouteTarget
from farebox.directory.snapshot import KeyView
from farebox.gateway.targets import Target, Targets

REST_MAX_S: Final = 300.0
"""Longest rest of a target, whatever it says itself."""
SMOOTHING: Final = 0.2
"""The weight of the latest answer in a target's mean time to the first byte."""
EXPLORED: Final = 0.05
"""Share of calls that begin at any target, where the quickest is first: else no other could prove to be quicker."""
TYPICAL: Final[Usage] = {"input": 1000, "output": 300}
"""What targets are compared by, where the cheapest is first."""


class Health:
    """How a target has fared at this worker. Times are the event loop's, in seconds."""

    __slots__ = ("calls", "failed", "failures", "first_byte_s", "rest_until", "rested_s")

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.failures = 0
        """Running."""
        self.first_byte_s = 0.0
        """Mean of late; 0 where none has answered yet."""
        self.rest_until = 0.0
        self.rested_s = 0.0

    def is_resting(self, now: float) -> bool:
        return now < self.rest_until

    def tries_again(self, now: float, route: Route) -> None:
        """A call goes to it, which has failed. After a rest one call tries it; the others wait for what becomes of
        that."""
        if self.failures >= route.break_after and not self.is_resting(now):
            self.rest_until = now + self.rested_s

    def answered(self, first_byte_s: float) -> None:
        mean = self.first_byte_s
        self.first_byte_s = first_byte_s if mean == 0.0 else mean + SMOOTHING * (first_byte_s - mean)
        self.failures = 0
        self.rest_until = self.rested_s = 0.0

    def fails(self, now: float, route: Route, wait_s: float) -> None:
        """`wait_s`: how long it said itself to leave it alone, 0 where it said nothing."""
        self.failed += 1
        self.failures += 1
        if self.failures >= route.break_after:
            self.rested_s = min(2 * self.rested_s, REST_MAX_S) if self.rested_s else min(route.rest_s, REST_MAX_S)
            self.rest_until = now + self.rested_s
        if wait_s > 0.0:
            self.rest_until = max(self.rest_until, now + min(wait_s, REST_MAX_S))


class Rung:
    """One target of a route, as it can be reached here."""

    __slots__ = ("cost", "health", "lines", "model", "name", "target", "timeout_s", "weight")

    def __init__(self, target: Target, said: RouteTarget, route: Route, health: Health, cost: float) -> None:
        self.target = target
        self.model = said.model
        self.name = said.name
        self.lines = b"\r\nx-farebox-route: %b\r\nx-farebox-target: %b\r\nx-farebox-attempts: " % (
            route.name.encode(),
            said.name.encode("latin-1", "replace"),
        )
        """What an answer says of how it came about, up to the number of attempts."""
        self.weight = said.weight
        self.timeout_s = said.timeout_s or route.timeout_s or 0.0
        """0: as for any other call."""
        self.health = health
        self.cost = cost


class Usable:
    """What a caller may use of a route that it calls by a path."""

    __slots__ = ("key", "path", "target", "usable")

    def __init__(self, key: KeyView, target: Target, path: str, usable: list[Rung]) -> None:
        self.key = key
        self.target = target
        self.path = path
        self.usable = usable


class Ladder:
    """A route's targets that there are here, in the order in which they are written."""

    __slots__ = ("is_listed", "last", "name", "route", "rungs", "usable")

    def __init__(self, route: Route, rungs: tuple[Rung, ...]) -> None:
        self.route = route
        self.name = route.name
        self.rungs = rungs
        self.is_listed = route.order == "listed" and not route.sticky
        self.usable: dict[tuple[object, ...], list[Rung]] = {}
        """The targets that callers of a kind may use, by what decides that: see `fallback`."""
        self.last: Usable | None = None
        """Those of whoever called last, who mostly calls next; not of callers with credentials of their own."""

    def any_rests(self) -> bool:
        """Whether a target rests, or has rested and not answered since."""
        for rung in self.rungs:  # noqa: SIM110 (compiled, a generator is slower)
            if rung.health.rest_until != 0.0:
                return True
        return False

    def ordered(self, rungs: Sequence[Rung], now: float, session: str, chance: random.Random) -> list[Rung]:
        """The order in which a call tries these targets. `session`: whose calls begin at the same one; '' for
        nobody's."""
        if self.route.sticky and session:
            found = _by_share(rungs, session)
        else:
            found = self._preferred(rungs, chance)
        for rung in found:
            if rung.health.rest_until > now:
                return _resting_last(found, now)
        return found

    def _preferred(self, rungs: Sequence[Rung], chance: random.Random) -> list[Rung]:
        order = self.route.order
        if order == "weighted":
            return sorted(rungs, key=lambda rung: _drawn(chance.random(), rung))
        if order == "cost":
            return sorted(rungs, key=lambda rung: rung.cost)
        if order == "latency":
            found = sorted(rungs, key=lambda rung: rung.health.first_byte_s)  # one that is not known yet is tried first
            if chance.random() < EXPLORED:
                found.insert(0, found.pop(chance.randrange(len(found))))
            return found
        return list(rungs)


class Routes:
    """All routes of this worker. How targets fare outlives snapshots."""

    __slots__ = ("_called", "_health", "_ladders", "_told", "chance")

    def __init__(self, chance: random.Random | None = None) -> None:
        self._ladders: dict[str, Ladder] = {}
        self._called: dict[bytes, Ladder] = {}
        self._health: dict[str, Health] = {}
        self._told = 0
        self.chance = chance or random.Random()

    def use(self, routes: Mapping[str, Route], targets: Targets, book: PriceBook, now_us: int) -> None:
        health: dict[str, Health] = {}
        ladders: dict[str, Ladder] = {}
        for name, route in routes.items():
            rungs = []
            for said in route.targets:
                target = targets.get(said.provider)
                if target is not None:
                    known = health.setdefault(said.name, self._health.get(said.name) or Health())
                    rungs.append(Rung(target, said, route, known, _cost(book, target, said.model, now_us)))
            ladders[name] = Ladder(route, tuple(rungs))
        self._ladders, self._health = ladders, health
        self._called = {name.encode(): ladder for name, ladder in ladders.items()}

    def get(self, name: str) -> Ladder | None:
        return self._ladders.get(name)

    def called(self, name: bytes) -> Ladder | None:
        """By the name as a header has it."""
        return self._called.get(name)

    def names(self) -> list[str]:
        return sorted(self._ladders)

    def has_changed(self) -> bool:
        """Whether there is more to tell than the last time."""
        return bool(self._health) and self._tally() != self._told

    def _tally(self) -> int:
        return sum(health.calls + health.failed for health in self._health.values()) + len(self._health)

    def told(self, now: float) -> list[dict[str, object]]:
        """How each target has fared, for whoever asks from outside. Spans are in seconds."""
        self._told = self._tally()
        return [
            {
                "target": name,
                "calls": health.calls,
                "failed": health.failed,
                "failures": health.failures,
                "first_byte_s": round(health.first_byte_s, 4),
                "rests_s": round(max(0.0, health.rest_until - now), 1),
            }
            for name, health in sorted(self._health.items())
        ]


def moved_path(path: str, had: str, model: str) -> str | None:
    """The path with another model in the place of the one that stands in it; None where there is none."""
    for start in (f"/{had}:", f"/{had}/"):
        if start in path:
            return path.replace(start, f"/{model}{start[-1]}", 1)
    return path.removesuffix(had) + model if path.endswith(f"/{had}") else None


def _by_share(rungs: Sequence[Rung], session: str) -> list[Rung]:
    return sorted(rungs, key=lambda rung: _share(session, rung))


def _resting_last(rungs: list[Rung], now: float) -> list[Rung]:
    return sorted(rungs, key=lambda rung: rung.health.rest_until if rung.health.is_resting(now) else 0.0)


def _share(session: str, rung: Rung) -> float:
    """Rendezvous hashing: the same session draws the same for a target, at every worker, and no other target's coming
    or going changes it."""
    digest = hashlib.blake2b(f"{session}\0{rung.name}".encode(), digest_size=7).digest()
    return _drawn(int.from_bytes(digest, "big") / 2**56, rung)


def _drawn(number: float, rung: Rung) -> float:
    """Smallest first, a target is first as often as its weight says (an exponential race)."""
    return -math.log(1.0 - number) / rung.weight


def _cost(book: PriceBook, target: Target, model: str, now_us: int) -> float:
    """Pico-dollars of a typical call; those without a price come last."""
    charged = book.charge(target.prices_as, model, now_us, TYPICAL).cost
    return math.inf if charged is None else float(charged)


def said_wait_s(text: str | None) -> float:
    """Seconds that `retry-after` says; 0 where it says none, or a date: those are not worth a clock's skew."""
    value = (text or "").strip()
    return float(value) if value.replace(".", "", 1).isdigit() and len(value) < 12 else 0.0
