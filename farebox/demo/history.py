"""Ninety days of the simulated SaaS, written into the journal as the gateway would have: the keeper ingests it."""

import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec

from farebox.core.events import CallOutcome, Head, Tail
from farebox.core.pricing import STANDARD, PriceBook
from farebox.demo import saas, trace
from farebox.demo.saas import Feature, Model, Saas, Tenant, Tier
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.providers import by_name
from farebox.providers.charging import Charged, charge
from farebox.providers.protocol import Endpoint, Metered, Quality

SEED: Final = 7
DAYS: Final = 90
EVENTS: Final = 150_000
SHAPES_PER_KIND: Final = 250
"""Different calls of one feature on one tier. Each is priced once per price, not once per event."""
DAY_S: Final = 86_400
WEEKEND: Final = 0.35
"""Traffic of a Saturday or Sunday against a weekday."""
GROWTH: Final = 2.2
"""Traffic of the last day against the first."""
HOURS: Final = (2, 1, 1, 1, 2, 3, 6, 10, 16, 20, 21, 20, 18, 19, 21, 22, 21, 18, 14, 11, 9, 7, 5, 3)
"""Traffic by hour of the day, UTC."""
LOOP_DAYS_AGO: Final = 9
LOOP_SHARE: Final = 0.6
"""On that day one tenant's job ran in a loop, and made this much of a day's traffic besides."""
FAILED: Final = 0.011
FAILED_ROUTED: Final = 0.03
"""Of calls by the route, so that there is something to see of it."""
HUNG_UP: Final = 0.004
SEGMENT_BYTES: Final = 16 * 1024 * 1024
_MS: Final = 1000
_FAILURES: Final = ((429, "rate_limit_exceeded"), (500, "server_error"), (529, "overloaded_error"))

OnProgress = Callable[[int, int], None]
"""Events written so far, and in all."""


class Sketch(msgspec.Struct):
    """A kind of call that many events are made of, with its price as long as that holds."""

    model: Model
    feature: Feature
    usage: dict[str, int]
    usage_raw: bytes
    streaming: bool
    status: int
    state: str
    error: str | None
    first_byte_ms: int
    latency_ms: int
    prices_as: str
    then: "Sketch | None" = None
    """The attempt at the route's next target, where this one failed."""
    charged: Charged = Charged()
    since_us: int = 0
    until_us: int = 0

    @property
    def whole_ms(self) -> int:
        """How long the call takes, with all of its attempts."""
        return self.latency_ms + (self.then.latency_ms if self.then is not None else 0)

    def charged_at(self, book: PriceBook, when_us: int) -> Charged:
        """What it cost at that moment."""
        if not self.since_us <= when_us < self.until_us:
            quote = book.quote(self.prices_as, self.model.dated, when_us, STANDARD)
            self.since_us, self.until_us = quote.since_us, quote.until_us
            quality: Quality = "estimated" if self.state == "client_closed" else "exact"
            metered = Metered(
                usage=self.usage, quality=quality, usage_raw=self.usage_raw,
                model=self.model.dated if self.status == 200 else None,
            )  # fmt: skip
            endpoint = Endpoint(self.model.operation, "")
            self.charged = charge(book, self.prices_as, endpoint, self.model.name, when_us, self.status, metered)
        return self.charged


class History(msgspec.Struct, frozen=True):
    """What was written."""

    events: int
    since_us: int
    until_us: int


def write(
    directory: Path, world: Saas, book: PriceBook, key_id: str, now_us: int, seed: int, on_progress: OnProgress,
    events: int = EVENTS,
) -> History:  # fmt: skip
    """Write about `events` finished calls of the last 90 days, oldest first, into a journal of its own.

    `directory` must not exist (raises LedgerLocked): a history is written once."""
    pick = random.Random(seed)
    author = _Author(world, book, key_id, pick)
    journal = JournalWriter(directory, segment_bytes=SEGMENT_BYTES)
    start_us = now_us - DAYS * DAY_S * 1_000_000
    written = 0
    try:
        for day, count in enumerate(_calls_by_day(start_us, events)):
            for record in author.day(start_us + day * DAY_S * 1_000_000, count, now_us):
                journal.append(record)
                written += 1
            on_progress(written, events)
            if day == DAYS - LOOP_DAYS_AGO:
                for record in author.loop(start_us + day * DAY_S * 1_000_000, int(count * LOOP_SHARE)):
                    journal.append(record)
                    written += 1
    finally:
        journal.close()
    on_progress(events, events)
    return History(written, start_us, now_us)


def _calls_by_day(start_us: int, events: int) -> list[int]:
    """How the calls spread over the days: growing, quiet on weekends."""
    first = start_us // 1_000_000 // DAY_S
    weights = [
        (1 + (GROWTH - 1) * day / DAYS) * (WEEKEND if (first + day + 3) % 7 >= 5 else 1.0) for day in range(DAYS)
    ]
    return [round(events * weight / sum(weights)) for weight in weights]


class _Author:
    """Writes records. One for a history."""

    def __init__(self, world: Saas, book: PriceBook, key_id: str, pick: random.Random) -> None:
        self._world = world
        self._book = book
        self._key_id = key_id
        self._pick = pick
        self._sketches = _sketches(world, pick)
        self._tenants = list(accumulate(tenant.weight for tenant in world.tenants))
        self._features = list(accumulate(feature.weight for feature in world.features))
        self._hours = list(accumulate(HOURS))
        self._tasks = 0

    def day(self, start_us: int, count: int, now_us: int) -> Iterator[bytes]:
        """The records of one day, in order of time; none after `now_us`."""
        pick = self._pick
        offset_us = start_us % (DAY_S * 1_000_000)
        moments = sorted((self._moment_us() - offset_us) % (DAY_S * 1_000_000) for _ in range(count))
        for moment in moments:
            tenant = self._world.tenants[_index(self._tenants, pick)]
            feature = self._world.features[_index(self._features, pick)]
            sketch = pick.choice(self._sketches[tenant.tier.name, feature.name])
            if start_us + moment + sketch.whole_ms * _MS < now_us:
                yield from self._records(tenant, sketch, start_us + moment, self._task(feature))

    def loop(self, start_us: int, count: int) -> Iterator[bytes]:
        """A job that calls itself again and again for three hours."""
        tenant = self._world.tenants[3]
        feature = next(feature for feature in self._world.features if feature.has_task)
        sketches = self._sketches[tenant.tier.name, feature.name]
        step_us = 3 * 3600 * 1_000_000 // max(1, count)
        for i in range(count):
            yield from self._records(tenant, sketches[i % 5], start_us + i * step_us, "job-runaway")

    def _moment_us(self) -> int:
        """A moment of the day, UTC, by the hours' weights."""
        hour = _index(self._hours, self._pick)
        return hour * 3_600_000_000 + int(self._pick.random() * 3_600_000_000)

    def _task(self, feature: Feature) -> str | None:
        if not feature.has_task:
            return None
        self._tasks += self._pick.random() < 0.6
        return f"job-{self._tasks}"

    def _records(self, tenant: Tenant, sketch: Sketch, when_us: int, task: str | None) -> Iterator[bytes]:
        """One call: its attempt, and the next one where that failed and there is another target."""
        user = saas.pick_user(tenant, self._pick)
        call_id = uuid7(when_us, self._pick)
        yield self._record(tenant, user, sketch, when_us, task, call_id)
        if sketch.then is not None:
            yield self._record(
                tenant, user, sketch.then, when_us + sketch.latency_ms * _MS, task, call_id, sketch.model
            )

    def _record(
        self,
        tenant: Tenant,
        user: str,
        sketch: Sketch,
        when_us: int,
        task: str | None,
        call_id: str,
        fell_from: Model | None = None,
    ) -> bytes:
        pick, model = self._pick, sketch.model
        event_id = call_id if fell_from is None else uuid7(when_us, pick)
        is_routed = fell_from is not None or saas.is_routed(model, sketch.feature)
        head = Head(
            event_id, call_id, 1 if fell_from is None else 2, when_us, model.provider, model.operation, model.path,
            model.name, sketch.streaming,
            self._key_id, False, tenant=tenant.name, user=user, tier=tenant.tier.name, feature=sketch.feature.name,
            task=task, session=f"{user}-{when_us // 3_600_000_000}", tags={"region": tenant.region},
            route=saas.ROUTE if is_routed else None,
            fallback_from=None if fell_from is None else f"{fell_from.provider}/{fell_from.name}",
        )  # fmt: skip
        charged = sketch.charged_at(self._book, when_us)
        tail = Tail(
            when_us + sketch.latency_ms * _MS, sketch.first_byte_ms * _MS, sketch.status, sketch.state, sketch.error,
            charged.model_billed, charged.service_tier, charged.usage, charged.usage_raw, charged.cost,
            charged.cost_by_meter, charged.rates, charged.cost_source, charged.price_id, charged.price_from,
            charged.parts, charged.reported_cost, charged.object_id, marks=charged.marks,
            qualifiers=charged.qualifiers, outcome=_outcome(sketch, event_id),
        )  # fmt: skip
        return records.finished(records.encode_head(head), tail)


def _index(cumulative: list[float] | list[int], pick: random.Random) -> int:
    return min(bisect(cumulative, pick.random() * cumulative[-1]), len(cumulative) - 1)


def _sketches(world: Saas, pick: random.Random) -> dict[tuple[str, str], list[Sketch]]:
    made: dict[tuple[str, str], list[Sketch]] = {}
    for feature in world.features:
        for tier in saas.TIERS:
            pairs = trace.lengths(feature.kind, SHAPES_PER_KIND, pick)
            made[tier.name, feature.name] = [_sketch(tier, feature, read, written, pick) for read, written in pairs]
    return made


def _sketch(tier: Tier, feature: Feature, read: int, written: int, pick: random.Random) -> Sketch:
    model = saas.pick_model(tier, feature, pick)
    read, written = saas.sized(feature, read, written)
    is_routed = saas.is_routed(model, feature)
    fate = _fate(pick, FAILED_ROUTED if is_routed else FAILED)
    sketch = _sketch_of(model, feature, read, written, pick, fate)
    if sketch.status != 200 and is_routed:
        sketch.then = _sketch_of(saas.ROUTE_TARGETS[1], feature, read, written, pick, (200, "done", None))
    return sketch


def _sketch_of(
    model: Model, feature: Feature, read: int, written: int, pick: random.Random, fate: tuple[int, str, str | None]
) -> Sketch:
    usage = saas.split(model, read, written, pick)
    first_byte_ms = int(math.exp(pick.gauss(6.0, 0.45)))
    latency_ms = first_byte_ms + int(written * pick.uniform(4, 14))
    provider = by_name(model.provider)
    assert provider is not None
    status, state, error = fate
    return Sketch(
        model=model,
        feature=feature,
        usage=usage if status == 200 else {},
        usage_raw=_raw(model, usage) if status == 200 else b"",
        streaming=model is not saas.EMBEDDING and feature.name == "chat",
        status=status,
        state=state,
        error=error,
        first_byte_ms=first_byte_ms,
        latency_ms=latency_ms if status == 200 else first_byte_ms + 5,
        prices_as=provider.prices_as,
    )


def _fate(pick: random.Random, failed: float) -> tuple[int, str, str | None]:
    """How a call ends; `failed`: the share of calls that the provider fails."""
    chance = pick.random()
    if chance < failed:
        status, error = pick.choice(_FAILURES)
        return status, "upstream_error", error
    return 200, "client_closed" if chance < failed + HUNG_UP else "done", None


def _outcome(sketch: Sketch, event_id: str) -> CallOutcome:
    """How an answer turned out: one in about fifty is cut by its length, a few are filtered, empty or no JSON."""
    if sketch.state != "done":
        return "abandoned" if sketch.state == "client_closed" else "failed"
    if sketch.model is saas.EMBEDDING:
        return "success"
    return _RARE.get(int(event_id[-2:], 16), "success")


_RARE: Final[dict[int, CallOutcome]] = {
    **dict.fromkeys(range(5), "truncated"),
    5: "invalid",
    6: "empty",
    7: "filtered",
}
"""By the last byte of an event's id, which is random."""


def _raw(model: Model, usage: dict[str, int]) -> bytes:
    """The usage object as that provider sends it."""
    read, cached = usage.get("input", 0), usage.get("cache_read", 0)
    written, thought = usage.get("output", 0), usage.get("reasoning", 0)
    if model.provider == "anthropic":
        raw = {"input_tokens": read, "cache_read_input_tokens": cached, "output_tokens": written}
    elif model.provider == "gemini":
        raw = {
            "promptTokenCount": read + cached, "cachedContentTokenCount": cached, "candidatesTokenCount": written,
            "thoughtsTokenCount": thought, "totalTokenCount": read + cached + written + thought,
        }  # fmt: skip
    else:
        raw = {
            "prompt_tokens": read + cached, "completion_tokens": written + thought,
            "total_tokens": read + cached + written + thought,
        }  # fmt: skip
    return msgspec.json.encode(raw)


def uuid7(when_us: int, pick: random.Random) -> str:
    """An id whose order is that of time."""
    value = (when_us // 1000) << 80 | 0x7 << 76 | pick.getrandbits(12) << 64 | 0x2 << 62 | pick.getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
