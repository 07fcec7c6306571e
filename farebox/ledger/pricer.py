"""Prices for what the ledger itself has to price: interrupted calls, and calls that had no price when they ended."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from farebox.core.events import Event, Head, Tail
from farebox.core.pricing import PriceBook, PriceRow
from farebox.providers import by_name
from farebox.providers.charging import Charged, at_least, estimate, recharge
from farebox.providers.sheets import load_book


class Pricer:
    """One price book, immutable. `price_rows` are those added to the directory; `wires` say whose format and prices a
    configured provider shares. The book is read when it is first needed."""

    def __init__(self, price_rows: Iterable[Mapping[str, object]] = (), wires: Mapping[str, str] | None = None) -> None:
        self._price_rows = tuple(price_rows)
        self._wires = wires or {}

    @cached_property
    def book(self) -> PriceBook:
        return load_book(self._price_rows)

    def interrupted(self, head: Head, input_tokens: int, output_tokens: int) -> Tail:
        """The end of an attempt whose process was killed, at its probable cost, or at what strict limits held for it
        where that is more. Its time is the caller's to set."""
        guessed = estimate(self.book, self.prices_as(head.provider), head, input_tokens, output_tokens)
        charged = at_least(guessed, head.held)
        return Tail(
            finished_at_us=head.started_at_us,
            first_byte_us=None,
            status=None,
            state="interrupted",
            error="process_killed",
            **msgspec.structs.asdict(charged),
        )

    def again(self, event: Event) -> Charged:
        """What a recorded attempt costs by today's book: its own usage and date."""
        return recharge(self.book, self.prices_as(event.head.provider), event.head, event.tail)

    def with_model(self, event: Event, model: str) -> int | None:
        """What a recorded attempt would have cost (pico-dollars) had this model served the same tokens in the same way
        on the same day; None where it or the attempt itself has no price."""
        if event.tail.cost is None:
            return None
        if model in (event.head.model_requested, event.tail.model_billed):
            return event.tail.cost
        head = msgspec.structs.replace(event.head, model_requested=model)
        said = {name: value for name, value in event.tail.qualifiers.items() if name != "priced_as"}
        tail = msgspec.structs.replace(event.tail, model_billed=model, parts=(), reported_cost=None, qualifiers=said)
        return recharge(self.book, self.prices_as(head.provider), head, tail).cost

    def instead_of(self, rows: Iterable[PriceRow]) -> "Pricer":
        """The same prices with these in place of what they replace, as if they had always been in force."""
        new = [msgspec.structs.replace(row, valid_from="", valid_to="") for row in rows]
        taken = {_served(row) for row in new}
        kept = [row for row in self.book.overrides if _served(row) not in taken]
        return Pricer([msgspec.to_builtins(row) for row in (*kept, *new)], self._wires)

    def apart(self) -> "Pricer":
        """The same prices for another thread."""
        return Pricer(self._price_rows, self._wires)

    def prices_as(self, provider: str) -> str:
        """The provider's id in the price book, by its name here."""
        known = by_name(self._wires.get(provider, provider))
        return known.prices_as if known else provider


def _served(row: PriceRow) -> tuple[object, ...]:
    """For which calls a row is: those that say the same here are never in force together."""
    return row.provider, row.model.lower(), row.service_tier, row.batch, row.speed, row.variant, row.windows
