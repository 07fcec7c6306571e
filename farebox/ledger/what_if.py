"""What recorded calls would have cost: with another model, or at other prices. Pure; one event at a time.

Tokens are taken as they were counted: another model's tokenizer may cut the same text into more or fewer of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from farebox.core.asking import nearest
from farebox.core.events import Event
from farebox.core.meters import INPUT_METERS, Usage
from farebox.core.pricing import PriceBook, PriceRow
from farebox.errors import QueryError
from farebox.ledger.pricer import Pricer
from farebox.providers import PROVIDERS
from farebox.providers.charging import priced_by, recharge

ANY_FEATURE: Final = "*"
NO_FEATURE: Final = "(none)"
NEW_PRICE: Final = "new price"
CHANGES_MAX: Final = 100
PRICES_MAX: Final = 1000


class Swap(msgspec.Struct, frozen=True):
    """Another model for the calls of a feature: its name, '*' for those that no other swap names, '(none)' for calls
    without one. `model` may be 'provider/model'; else a call's own provider serves it where that has a price for it."""

    feature: str
    model: str


class Seller(NamedTuple):
    """Who sells a model: the provider's name here, and the name of its prices."""

    provider: str
    prices_as: str
    model: str

    @property
    def label(self) -> str:
        return f"{self.provider}/{self.model}"


class Instead(NamedTuple):
    """`after` is pico-dollars, None where that cannot be told: then `missing` says for want of which prices. `to` is
    what was changed: 'provider/model', or NEW_PRICE. `as_plain` are tokens that cost there what plain input costs."""

    to: str
    after: int | None
    missing: tuple[str, ...] = ()
    as_plain: Mapping[str, int] = {}


def seller_of(book: PriceBook, named: str, at_us: int) -> Seller | None:
    """The first provider that has a price for a model: 'provider/model', or a model's name alone."""
    provider, slash, rest = named.partition("/")
    sellers = [(known.name, known.prices_as) for known in PROVIDERS]
    choices = [Seller(provider, dict(sellers).get(provider, provider), rest)] if slash else []
    choices += [Seller(name, prices_as, named) for name, prices_as in sellers]
    return next((seller for seller in choices if book.quote(*seller[1:], at_us).row is not None), None)


class WhatIf:
    """Swaps and prices over one installation's price book. Raises QueryError for a model that nobody sells."""

    def __init__(self, pricer: Pricer, swaps: Sequence[Swap], prices: Sequence[PriceRow], at_us: int) -> None:
        self.pricer = pricer.instead_of(prices) if prices else pricer
        self._book = self.pricer.book
        self._new_prices = frozenset(row.id for row in prices)
        self._sellers = frozenset(self._book.provider(row.provider) for row in prices)
        self._targets = {swap.feature: self._target(swap.model, at_us) for swap in swaps}

    @property
    def features(self) -> tuple[str, ...]:
        """The features that are named."""
        return tuple(name for name in self._targets if name not in (ANY_FEATURE, NO_FEATURE))

    @property
    def swaps_any(self) -> bool:
        return ANY_FEATURE in self._targets

    @property
    def swaps_nameless(self) -> bool:
        return NO_FEATURE in self._targets

    def prices_of(self, provider: str) -> bool:
        """Whether any of the new prices is of this provider."""
        return self._book.provider(self.pricer.prices_as(provider)) in self._sellers

    def of(self, event: Event, *, may_swap: bool) -> Instead | None:
        """What an event would have cost, at the cost that stands; None where nothing changes for it."""
        target = self._target_of(event.head.feature) if may_swap else None
        swapped = None if target is None else self._swapped(event, *target)
        if swapped is not None:
            return swapped
        if not self.prices_of(event.head.provider):
            return None
        prices_as = self.pricer.prices_as(event.head.provider)
        tail = replace(event.tail, reported_cost=None)
        charged = recharge(self._book, prices_as, event.head, tail)
        used = {charged.price_id, *(part.price_id for part in charged.parts)}
        if not used & self._new_prices:
            return None
        missing = () if charged.cost is not None else tuple(sorted(set(charged.usage) - set(charged.cost_by_meter)))
        return Instead(NEW_PRICE, charged.cost, missing)

    def _target(self, named: str, at_us: int) -> tuple[Seller, bool]:
        """(the model's seller, whether it was named with it)."""
        found = seller_of(self._book, named, at_us)
        if found is None:
            rows = (*self._book.overrides, *self._book.sheet.rows)
            known = {row.model for row in rows} | {f"{row.provider}/{row.model}" for row in rows if "/" in named}
            raise QueryError(f"no model {named!r} has a price{nearest(named, known)}: `farebox prices list` shows all")
        return found, found.model != named

    def _target_of(self, feature: str | None) -> tuple[Seller, bool] | None:
        own = self._targets.get(NO_FEATURE if feature is None else feature)
        return own if own is not None else self._targets.get(ANY_FEATURE)

    def _swapped(self, event: Event, seller: Seller, is_named: bool) -> Instead | None:
        head, tail = event.head, event.tail
        own = self.pricer.prices_as(head.provider)
        if not is_named and self._book.quote(own, seller.model, head.started_at_us).row is not None:
            seller = Seller(head.provider, own, seller.model)
        stays = seller.prices_as == own
        if stays and seller.model in (head.model_requested, tail.model_billed):
            return None
        # Another provider has neither the tiers nor the regions of the one that served; both have batches.
        said = {
            name: value
            for name, value in tail.qualifiers.items()
            if name not in ("priced_as", "multiplier") and (stays or name in ("batch", "prompts"))
        }
        changed = replace(
            tail, model_billed=seller.model, service_tier=tail.service_tier if stays else None, qualifiers=said,
            reported_cost=None,
        )  # fmt: skip
        quote = priced_by(self._book, seller.prices_as, seller.model, head.started_at_us, changed)
        rates = quote.rates
        shares = [part for part in tail.parts if part.model == tail.model_billed][:1] or None
        usage = shares[0].usage if shares else tail.usage
        missing = tuple(meter for meter, count in usage.items() if count and meter not in rates)
        if quote.row is None or missing:
            return Instead(seller.label, None, missing or ("model",))
        if shares is None:
            changed = replace(changed, parts=())
        else:
            own_share = replace(shares[0], model=seller.model)
            changed = replace(changed, parts=(own_share, *(part for part in tail.parts if part is not shares[0])))
        charged = recharge(self._book, seller.prices_as, replace(head, model_requested=seller.model), changed)
        wanting = () if charged.cost is not None else ("parts",)
        return Instead(seller.label, charged.cost, wanting, _as_plain(usage, rates))


def _as_plain(usage: Usage, rates: Mapping[str, int]) -> dict[str, int]:
    """Tokens of the prompt that cost there what plain input costs, for want of another price: cached ones mostly."""
    like = rates.get("input")
    special = INPUT_METERS - {"input"}
    return {meter: count for meter, count in usage.items() if meter in special and count and rates.get(meter) == like}
