"""What the gate must know of a call: who asks, what it may come to, by its own bytes and by what calls like it used."""

from typing import Final

from farebox.core.attribution import Attribution
from farebox.core.history import Recent
from farebox.core.meters import MILLION
from farebox.core.pricing import PriceBook
from farebox.gateway.tallies import Tally
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.worth import (
    NO_OUTPUT,
    OUTPUT_USUAL,
    PIECE_USD,
    Ceiling,
    ceiling,
    expected_rates,
    is_priced,
)

REMEMBERED_MAX: Final = 8192
TOKEN_USD_MAX: Final = 10**11
"""No token is taken to cost more, in pico-dollars ($0.10), and no request more than 10**16: what is estimated for a
call then stays below 2^63. What it costs in the end knows no such bound."""
_BY_PIECES: Final = frozenset({"image", "audio", "realtime"})


class Asking:
    """A call at the gate: `new_asking` makes one. `body` is empty where it is not buffered."""

    __slots__ = (
        "_ceiling", "_usual", "attempt", "body", "book", "byok", "endpoint", "histories", "intent", "key_id", "kin",
        "model", "names_usd", "now_us", "prices_as", "region", "route", "sold_by", "tally", "waits_since_us", "who",
    )  # fmt: skip

    histories: "Histories"
    who: Attribution
    key_id: str
    names_usd: bool
    """Whether the caller may be told amounts of money."""
    byok: bool
    prices_as: str
    """The provider whose prices hold."""
    endpoint: Endpoint
    intent: Intent
    model: str | None
    body: bytes
    tally: Tally | None
    book: PriceBook
    region: str | None
    now_us: int
    waits_since_us: int
    """When it first found itself throttled; 0 for never."""
    attempt: int
    """Further attempts of a call are no further requests."""
    route: str | None
    sold_by: str
    """The provider's name here."""
    kin: "Kin | None"
    _usual: "Usual | None"
    _ceiling: Ceiling | str | None

    def place(self) -> tuple[str, str | None, str | None]:
        """Where the call goes."""
        return self.sold_by, self.model, self.route

    def usual(self) -> "Usual":
        """What calls like this one use."""
        found = self._usual
        if found is None:
            found = self._usual = self.histories.usual(self)
        return found

    def ceiling(self) -> Ceiling | str:
        """The most that it can come to, or why that cannot be told."""
        found = self._ceiling
        if found is None:
            found = self._ceiling = self._most()
        return found

    def _most(self) -> Ceiling | str:
        if self.model is None or not self.body:
            return "its body is not read before it is sent"
        return ceiling(
            self.book, self.prices_as, self.endpoint, self.intent, self.model, self.body, self.now_us,
            self.region,
        )  # fmt: skip

    def unit_count(self, unit: str) -> int:
        """How many of a named unit the call counts as."""
        return 0 if self.tally is None else self.tally.units.get(unit, 0)


def new_asking(
    histories: "Histories",
    who: Attribution,
    key_id: str,
    names_usd: bool,
    byok: bool,
    prices_as: str,
    endpoint: Endpoint,
    intent: Intent,
    body: bytes,
    tally: Tally | None,
    book: PriceBook,
    region: str | None,
    now_us: int,
    waits_since_us: int,
) -> Asking:
    """A function, since compiled code calls a class by way of a tuple and a dictionary."""
    asking = Asking.__new__(Asking)
    asking.histories, asking.who, asking.key_id, asking.names_usd = histories, who, key_id, names_usd
    asking.byok, asking.prices_as, asking.endpoint, asking.intent = byok, prices_as, endpoint, intent
    asking.model = intent.model or endpoint.model
    asking.body, asking.tally, asking.book, asking.region = body, tally, book, region
    asking.now_us, asking.waits_since_us = now_us, waits_since_us
    asking.attempt, asking.route, asking.sold_by = 1, None, ""
    asking.kin = asking._usual = asking._ceiling = None
    return asking


class Usual:
    """What calls like this one need: pico-dollars, and tokens in and out (0 out where the price goes by pieces)."""

    __slots__ = ("history", "output", "prompt", "usd")

    def __init__(self, history: "History", usd: int, prompt: int, output: int) -> None:
        self.history = history
        self.usd = usd
        self.prompt = prompt
        self.output = output


class History:
    """What calls of one model and feature have used lately, and the rates at which they are priced now."""

    __slots__ = (
        "book", "by_tokens", "is_priced", "output", "output_usd", "prompt_usd", "request_usd", "since_us", "until_us",
        "usd",
    )  # fmt: skip

    def __init__(self, output: int) -> None:
        self.output = Recent(output)
        self.usd = Recent(PIECE_USD)
        self.book: PriceBook | None = None
        self.since_us = self.until_us = 0
        self.is_priced = False
        self.by_tokens = False
        self.prompt_usd = 0
        """Pico-dollars a token, rounded up, like `output_usd`."""
        self.output_usd = 0
        self.request_usd = 0

    def price(self, asking: Asking, prompt: int) -> None:
        """Go by the prices in force."""
        book, prices_as, now_us = asking.book, asking.prices_as, asking.now_us
        quote = book.quote(prices_as, asking.model or "", now_us)
        rates = expected_rates(quote, prompt)
        self.book = book
        self.since_us, self.until_us = quote.since_us, quote.until_us
        self.is_priced = is_priced(book, prices_as, asking.endpoint, asking.model, now_us)
        self.by_tokens = rates is not None and asking.endpoint.operation not in _BY_PIECES
        if rates is not None:
            self.prompt_usd = min(-(-rates.prompt // MILLION), TOKEN_USD_MAX)
            self.output_usd = min(-(-rates.output // MILLION), TOKEN_USD_MAX)
            self.request_usd = min(rates.request, 10**16)


class Kin:
    """The history that a call went by, for the next one of the same attribution: mostly it is the same."""

    __slots__ = ("history", "model", "operation", "prices_as")

    def __init__(self) -> None:
        self.history: History | None = None
        self.prices_as = ""
        self.model: str | None = None
        self.operation = ""


class Histories:
    """All histories of a worker, bounded."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], History] = {}

    def usual(self, asking: Asking) -> Usual:
        intent, endpoint = asking.intent, asking.endpoint
        kin, output_max = asking.kin, intent.output_max
        if (
            kin is not None
            and kin.history is not None
            and kin.model == asking.model
            and kin.operation == endpoint.operation
            and kin.prices_as == asking.prices_as
        ):
            history = kin.history
        else:
            history = self._history(asking, output_max)
        prompt = (intent.input_bytes or len(asking.body)) // 4 + 1
        if history.book is not asking.book or not history.since_us <= asking.now_us < history.until_us:
            history.price(asking, prompt)
        if not history.by_tokens:
            return Usual(history, history.usd.p95 * max(1, intent.pieces), prompt, 0)
        output = 0
        if endpoint.operation not in NO_OUTPUT:
            output = history.output.p95
            if output_max is not None and output_max < output:
                output = output_max
            output *= max(1, intent.choices)
        usd = prompt * history.prompt_usd + output * history.output_usd + history.request_usd
        return Usual(history, usd, prompt, output)

    def _history(self, asking: Asking, output_max: int | None) -> History:
        key = asking.prices_as, asking.model, asking.who.feature, asking.endpoint.operation
        history = self._known.get(key)
        if history is None:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            history = self._known[key] = History(min(output_max or OUTPUT_USUAL, OUTPUT_USUAL))
        kin = asking.kin
        if kin is not None:
            kin.history, kin.model = history, asking.model
            kin.prices_as, kin.operation = asking.prices_as, asking.endpoint.operation
        return history
