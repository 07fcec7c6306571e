"""One call: what is asked before it, what its answer's reader finds, and the event that says so. No I/O.

The readers are the gateway's own, and so are the counts. Nothing of a prompt or an answer is sent, and none is kept for
longer than it takes until the event is made: that is done by whoever sends it, out of the app's way.
"""

import logging
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from farebox.client.context import Scope
from farebox.client.door import UNASKED, Permit
from farebox.core import jsonsplice
from farebox.core.events import iso_us
from farebox.core.meters import Usage, shown
from farebox.core.money import format_usd
from farebox.errors import FareboxError
from farebox.providers.charging import REPORTS_COST
from farebox.providers.outcomes import outcome_of
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Reader
from farebox.providers.routing import segments
from farebox.providers.worth import bounds, tightened

BYTES_PER_TOKEN: Final = 4
ROUTES_MAX: Final = 256
"""Routes remembered: an app calls few."""
RAW_BYTES_MAX: Final = 16_384
"""A longer usage object is not sent: a batch of events fits into one request."""
_log = logging.getLogger("farebox.client")
_CODINGS: Final = frozenset({"gzip", "deflate"})
_MICROSECONDS: Final = 1_000_000
_RETRIES: Final = b"x-stainless-retry-count"


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A provider as a client reaches it: `base_path` is what stands before its routes. One is like itself only."""

    provider: Provider
    base_path: str


class Call:
    """`begin` makes one; then `permitted`, `answered`, `take` for each piece of the body or `take_whole`, `finish`, and
    last `event`, in another thread if need be."""

    __slots__ = (
        "_began_s", "_content", "_error", "_first_byte_s", "_headers", "_is_over", "_is_sent", "_model", "_over_s",
        "_path", "_permit", "_provider", "_reader", "_region", "_sent_model", "_started_us", "_state", "_status",
        "_strips_usage", "body", "endpoint", "id", "intent", "scope", "sent_headers",
    )  # fmt: skip

    def __init__(
        self,
        provider: Provider,
        endpoint: Endpoint,
        intent: Intent,
        path: str,
        body: bytes,
        scope: Scope,
        region: str | None,
    ) -> None:
        self.id = os.urandom(16).hex()
        self.scope = scope
        self.endpoint = endpoint
        self.intent = intent
        self.body = body
        self.sent_headers: Sequence[tuple[bytes, bytes]] = ()
        self._provider = provider
        self._path = path
        self._region = region
        self._model = intent.model or endpoint.model
        self._permit = UNASKED
        self._sent_model: str | None = None
        self._strips_usage = False
        self._reader: Reader | None = None
        self._headers: Mapping[str, str] = {}
        self._content = b""
        """An answer that is not read yet."""
        self._status: int | None = None
        self._started_us = time.time_ns() // 1000
        self._began_s = time.monotonic()
        self._first_byte_s: float | None = None
        self._is_over = False
        self._over_s = 0.0
        self._state = ""
        self._error: str | None = None
        self._is_sent = True

    # before it is sent

    def question(self) -> dict[str, object]:
        """The body of POST /authorize. Counts, and nothing of the text."""
        intent, scope = self.intent, self.scope
        asked: dict[str, object] = {
            "provider": self._provider.name,
            "model": self._model,
            "operation": self.endpoint.operation,
            **scope.dimensions,
            "tags": scope.tags,
            "units": scope.units,
            "input_tokens": self._input_estimate,
            "max_tokens": intent.output_max,
            "choices": max(1, intent.choices),
            "pieces": max(1, intent.pieces),
            "region": self._region,
        }
        found = bounds(self.endpoint, intent, self.body) if self.body else "its body is not read before it is sent"
        if isinstance(found, str):
            asked["unbounded"] = found
        else:
            asked["input_tokens_max"] = found.prompt
            asked["output_tokens_min"] = found.least
            asked["writes_cache"] = found.writes_cache
        return asked

    def permitted(self, permit: Permit) -> bytes:
        """The body to send: with another model or a shorter answer where a limit says so, and asking for the usage that
        a stream would not tell."""
        self._permit = permit
        body = self.body
        if permit.model is not None and self.endpoint.model is None and body:
            body = jsonsplice.replace_member(body, "model", permit.model)
            self._sent_model = permit.model
        if permit.max_tokens is not None and body:
            body = tightened(self.endpoint, self._provider.name, body, permit.max_tokens) or body
        asking = self._provider.with_usage(self.endpoint, self.intent, body) if body else None
        if asking is not None:
            self._strips_usage = True
            body = asking
        self._started_us, self._began_s = time.time_ns() // 1000, time.monotonic()
        return body

    @property
    def provider(self) -> Provider:
        return self._provider

    @property
    def _input_estimate(self) -> int:
        return (self.intent.input_bytes or len(self.body)) // BYTES_PER_TOKEN + 1

    # while it is answered

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """`headers` by their names in lower case."""
        self._status = status
        self._headers = headers
        self._first_byte_s = time.monotonic()

    def take(self, data: bytes) -> bytes:
        """What the app gets of these bytes."""
        return self._read().feed(data)

    def take_whole(self, content: bytes) -> bytes:
        """What the app gets of an answer that has come whole. Where that is what came, it is read later."""
        if self._strips_usage:
            return self.take(content) + self.end()
        self._content = content
        return content

    def end(self) -> bytes:
        """The body is over: what was held back."""
        return b"" if self._status is None else self._read().end()

    def _read(self) -> Reader:
        if self._reader is None:
            self._reader = self._provider.reader(
                self.endpoint, self.intent, self._status or 0, self._headers, strip_usage=self._strips_usage
            )
        return self._reader

    def finish(self, state: str, error: str | None = None, *, sent: bool = True) -> bool:
        """It is over; whether it was not so before. `sent`: whether anything may have reached the provider."""
        if self._is_over:
            return False
        self._is_over = True
        self._state, self._error, self._is_sent = state, error, sent
        self._over_s = time.monotonic()
        return True

    def event(self) -> dict[str, object]:
        """What it came to; asked for once, after `finish`."""
        state, is_answered = self._state, self._status is not None
        metered = self._metered() if is_answered else Metered()
        if state == "client_closed" and metered.complete and metered.quality == "exact":
            state = "done"  # it has missed nothing
        if state == "done" and (metered.error is not None or (self._status or 0) >= 400):
            state = "upstream_error"
        if not is_answered and self._is_sent:  # nobody saw what it came to: at least its prompt was read
            metered = Metered(usage={"input": self._input_estimate}, quality="estimated")
        outcome = outcome_of(self.endpoint, state, metered if is_answered else None)
        event = self._event(metered, state, self._error or metered.error, outcome)
        if not self._is_sent:
            event["cost_usd"] = "0"
        return event

    def _metered(self) -> Metered:
        reader = self._read()
        try:
            if self._content:
                reader.feed(self._content)
                self._content = b""
            reader.end()
            return reader.metered()
        except Exception:  # noqa: BLE001 - a defect, whatever an answer holds: the call was made, and is paid
            _log.exception("the answer of call %s cannot be read: its prompt is booked by estimate", self.id)
            return Metered(usage={"input": self._input_estimate}, quality="estimated")

    def _event(self, metered: Metered, state: str, error: str | None, outcome: str | None) -> dict[str, object]:
        """What is not known is left out."""
        scope = self.scope
        billed = metered.model or self._sent_model or self._model
        event: dict[str, object] = {
            "id": self.id,
            "started_at": _moment(self._started_us),
            "latency_ms": (self._over_s - self._began_s) * 1000,
            **scope.dimensions,
            "tags": scope.tags,
            "units": scope.units,
            "provider": self._provider.name,
            "operation": self.endpoint.operation,
            "endpoint": self._path,
            "streaming": self.intent.streaming or self.endpoint.streaming is True,
            "state": state,
            "retries": _retries(self.sent_headers),
            "qualifiers": _qualifiers(metered, self._region),
        }
        if self._permit.authorization_id is not None:
            event["authorization_id"] = self._permit.authorization_id
        if self._permit.tier is not None:
            event["tier"] = self._permit.tier
        if self._model is not None:
            event["model_requested"] = self._model
        if billed is not None:
            event["model_billed"] = billed
        if metered.service_tier is not None:
            event["service_tier"] = metered.service_tier
        if self._status is not None:
            event["status"] = self._status
        if outcome is not None:
            event["outcome"] = outcome
        if self._first_byte_s is not None:
            event["first_byte_ms"] = (self._first_byte_s - self._began_s) * 1000
        if error is not None:
            event["error"] = error[:200]
        _count(event, metered, billed or "")
        if metered.reported_cost is not None and self._provider.prices_as in REPORTS_COST:
            event["cost_usd"] = format_usd(metered.reported_cost)
        return event


def begin(service: Service, method: str, path: str, host: str, body: bytes, scope: Scope) -> Call | None:
    """The call that a request is; None for routes that nobody bills."""
    found = _route(service, method, path, host)
    if found is None:
        return None
    upstream, endpoint, region = found
    try:
        intent = service.provider.intent(endpoint, body)
    except FareboxError:
        return None
    kept = body if body[:64].lstrip().startswith(b"{") else b""  # what is no JSON is not looked into again
    return Call(service.provider, endpoint, intent, upstream, kept, scope, region)


@lru_cache(maxsize=ROUTES_MAX)
def _route(service: Service, method: str, path: str, host: str) -> tuple[str, Endpoint, str | None] | None:
    """The route below the provider's own address, and its region; None where nobody bills it. What stands before it in
    a client's address may be part of it (Azure's '/openai'), or be somebody's prefix: whichever makes a route that is
    known."""
    below = path.removeprefix(service.base_path) if service.base_path else path
    if method not in ("POST", "PUT"):
        return None
    for candidate in (path, below):
        if segments(candidate) is None:
            return None
        upstream = service.provider.upstream_path(candidate if candidate.startswith("/") else "/" + candidate)
        endpoint = service.provider.endpoint(method, upstream)
        if endpoint.operation != "other":
            break
    if not endpoint.billed or endpoint.websocket:
        return None
    return upstream, endpoint, endpoint.region or service.provider.region(host)


def _retries(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """How often the app's own SDK has tried before."""
    for name, value in headers:
        if len(name) == len(_RETRIES) and name.lower() == _RETRIES:
            return int(value) if value.isdigit() else 0
    return 0


def _count(event: dict[str, object], metered: Metered, model: str) -> None:
    """Put in the usage as an event tells it, each count by whoever billed it."""
    if metered.quality == "missing" and metered.reported_cost is None:
        return
    usage = shown(metered.usage)
    if metered.parts:
        total: Usage = dict(metered.usage)
        for part in metered.parts:
            for meter, count in part.usage.items():
                total[meter] = total.get(meter, 0) + count
        own = [{"model": model, "usage": usage}] if metered.usage else []
        event["parts"] = [*own, *({"model": part.model, "usage": shown(part.usage)} for part in metered.parts)]
        usage = shown(total)
    event["usage"] = usage
    if metered.quality == "estimated":
        event["cost_source"] = "estimated"
    if 0 < len(metered.usage_raw) <= RAW_BYTES_MAX:
        event["usage_raw"] = msgspec.json.decode(metered.usage_raw)


def _qualifiers(metered: Metered, region: str | None) -> dict[str, object]:
    """What the price depends on beside the model."""
    said = (
        ("speed", metered.speed),
        ("region", metered.region or region),
        ("variant", metered.variant),
        ("priced_as", metered.priced_as),
        ("batch", metered.batch or None),
    )
    found: dict[str, object] = {name: value for name, value in said if value is not None}
    if metered.prompt_tokens or metered.parts:
        own = [metered.prompt_tokens] if metered.usage else []
        prompts = [*own, *(part.prompt_tokens for part in metered.parts)]
        if any(prompts):
            found["prompts"] = ",".join(str(tokens or "") for tokens in prompts)
    return found


def _moment(us: int) -> str:
    """As `iso_us`."""
    seconds, micro = divmod(us, _MICROSECONDS)
    return f"{_second(seconds)}.{micro:06d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    """The calls of one second have most of their beginning in common."""
    return iso_us(seconds * _MICROSECONDS)[:19]


class Inflating:
    """Decodes the codings that a metered request asks for."""

    def __init__(self, coding: str) -> None:
        self._is_read = coding.strip().lower() in _CODINGS
        # 32: gzip or zlib, by their own first bytes
        self._decoder = zlib.decompressobj(32 + zlib.MAX_WBITS)

    @property
    def is_read(self) -> bool:
        return self._is_read

    def feed(self, data: bytes) -> bytes:
        return self._decoder.decompress(data)

    def end(self) -> bytes:
        return self._decoder.flush()
