"""Facts for reports, from whoever can ask the ledger and knows the directory."""

from collections.abc import Callable
from typing import Any

import msgspec

from farebox.core.customers import Books
from farebox.core.limits import Limit
from farebox.core.queries import EXPORT_ROWS_MAX, EventsQuery, UsageQuery, check
from farebox.reports.held import HeldSums

Ask = Callable[[str, object], Any]
"""Asks the keeper, or the ledger itself: method, parameters. Blocking. Raises FareboxError."""
NO_BOOKS = Books({}, {})


class AskedFacts:
    """`limits` are those in force, `books` the customers and plans, as of a moment where one is given; `held` long
    answers of before."""

    def __init__(
        self,
        ask: Ask,
        limits: Callable[[], list[Limit]],
        books: Callable[[int | None], Books] = lambda _as_of: NO_BOOKS,
        held: HeldSums | None = None,
    ) -> None:
        self._ask = ask
        self._limits = limits
        self._books = books
        self._held = held

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        """Largest spend first where no order is asked: where there are more rows than can be had, the small ones are
        missing, not the latest."""
        order = query.order or ("-spend" if "spend" in query.measures else "")
        query = msgspec.structs.replace(query, order=order)
        check(query, EXPORT_ROWS_MAX)
        answer = self._ask("sums", query)
        names = answer["columns"]
        return [dict(zip(names, row, strict=True)) for row in zip(*answer["values"], strict=True)]

    def usage_unordered(self, query: UsageQuery) -> list[dict[str, Any]]:
        """Of what is held from before, only what has changed is asked for."""
        if self._held is None:
            return self.usage(query)
        check(query, EXPORT_ROWS_MAX)
        return self._held.rows(query, self._ask)

    def events(self, query: EventsQuery) -> list[dict[str, Any]]:
        return list(self._ask("events", query)["data"])

    def books(self, as_of_us: int | None = None) -> Books:
        return self._books(as_of_us)

    def limits(self) -> list[Limit]:
        return self._limits()

    def ask(self, method: str, params: dict[str, object]) -> Any:
        return self._ask(method, params)
