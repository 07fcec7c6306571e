"""Which windows of each limit are looked after: that of now, those beside it, and those that clocks disagree about."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from farebox.core.limits import NO_DAYS, Limit, by_anchor
from farebox.core.windows import Window, around, zone
from farebox.ledger.stores.duckdb.spent import Span

ODD_S: Final = 60.0
"""How long a window is looked after that is not now, beside it, or wanted any more."""
Windows = dict[str, Span]
"""Of each limit, by its id."""
Key = tuple[str, int]
"""A limit and the start of a window."""


class Following:
    """`ask` and `take_asked` are under the authority's lock, the rest is for the thread that counts."""

    def __init__(self) -> None:
        self._asked: dict[Key, tuple[Window, float]] = {}
        """Windows that workers want to spend in and of which it is not known what was spent, with when they asked."""
        self._odd: dict[Key, tuple[Window, float]] = {}
        """Those of the last ODD_S."""
        self.summed: frozenset[Key] = frozenset()
        """Windows whose past is known."""

    def ask(self, key: Key, window: Window, now_s: float) -> None:
        """A worker wants to spend in that window: look after it where that is not done anyway."""
        if key not in self.summed or key in self._odd:
            self._asked[key] = window, now_s

    def take_asked(self) -> dict[Key, tuple[Window, float]]:
        asked, self._asked = self._asked, {}
        return asked

    def look_after(self, asked: Mapping[Key, tuple[Window, float]], now_s: float) -> None:
        self._odd = {key: at for key, at in {**self._odd, **asked}.items() if now_s - at[1] < ODD_S}

    def windows(self, limits: Iterable[Limit], days: Mapping[str, int], now_us: int) -> Windows:
        """Of each limit the window that is now, the one before and the one after, for each billing day that customers
        have, and those that workers want to spend in though their clocks, or this one, say otherwise."""
        alike: dict[tuple[object, ...], list[Window]] = {}
        found: Windows = {}
        for limit in limits:
            of_days = {}
            for day in by_anchor(limit, days):
                kind = limit.window, limit.time_zone, day
                if kind not in alike:
                    alike[kind] = around(limit.window, now_us, zone(limit.time_zone), day)
                of_days[day] = alike[kind]
            found[limit.id] = Span(of_days, days if limit.window == "billing" else NO_DAYS)
        for (name, start_us), (window, _) in self._odd.items():
            if name in found:
                with_odd = {
                    day: known if any(one.start_us == start_us for one in known) else [*known, window]
                    for day, known in found[name].windows.items()
                }
                found[name] = found[name]._replace(windows=with_odd)
        return found

    def known(self, limit: Limit, windows: Windows) -> Span | None:
        """Its windows whose past is known; None where there is none."""
        span = windows.get(limit.id)
        if span is None:
            return None
        of_days = {
            day: found
            for day, known in span.windows.items()
            if (found := [window for window in known if (limit.id, window.start_us) in self.summed])
        }
        return span._replace(windows=of_days) if of_days else None


def each(windows: Windows) -> Iterator[tuple[Key, Window]]:
    """Every window of every limit, with its key."""
    for name, span in windows.items():
        for of_day in span.windows.values():
            for window in of_day:
                yield (name, window.start_us), window
