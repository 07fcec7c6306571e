"""Every exception that Farebox raises on purpose.

FareboxError
├── InvalidMoney            text that is no amount, or finer than a pico-dollar
├── Unpriced                a count without a rate, or a model without a price
├── SettingsError           a setting that is unknown, of the wrong type or out of range
├── PriceSheetError         a price file that cannot be read as one
├── InvalidLimit            a limit that contradicts itself, or names what does not exist
├── InvalidRoute            a route that cannot be one
├── InvalidAlert            an alert rule or a channel that cannot be one
├── InvalidBooks            a plan, a customer or revenue that cannot be one
├── QueryError              a question to the ledger that cannot be asked
├── InvalidEvent            an event that was sent in and cannot be one
├── InvalidSpans            a batch of spans that cannot be read
├── CallRefused             a call that is answered by Farebox itself, before anything is spent
│   ├── InvalidTags             400 invalid_tags
│   ├── AttributionMissing      400 attribution_missing
│   ├── InvalidRequest          400 invalid_request
│   ├── InvalidKey              401 invalid_key
│   ├── UnpricedModel           402 unpriced_model
│   ├── AttributionConflict     403 attribution_conflict
│   ├── RouteNotAllowed         403 route_not_allowed
│   ├── ModelNotAllowed         403 model_not_allowed
│   ├── ObjectNotFound          404 object_not_found
│   ├── BodyTooLarge            413 body_too_large
│   ├── UnboundedCall           422 unbounded_call
│   ├── NoCredential            424 no_credential
│   ├── LimitRefused            429 limit_exceeded, limit_busy
│   ├── TokenUnavailable        502 token_unavailable
│   ├── Draining                503 draining
│   ├── ObjectsUnavailable      503 objects_unavailable
│   └── JournalFull             503 journal_full
├── DirectoryError          keys, providers, tokens
│   ├── InvalidEntry            a key, a token or a provider that cannot be one
│   ├── SecretsError            a master key that is missing, open to others or the wrong one
│   ├── NotFound                no such key, provider, price …
│   └── AlreadyExists           the name is taken
├── LedgerError             journal, store
│   ├── JournalCorrupt          a record inside a segment (not at its torn end) fails its checksum
│   └── LedgerLocked            another process owns the store
├── AlertsError             the alerts' own store
├── DeliveryFailed          a channel did not take a message
├── KeeperUnavailable       the keeper does not answer
├── LimitExceeded           the SDK: a limit stands in the way of this call
└── Unreachable             the SDK: Farebox cannot be asked, and may not be done without
"""


class FareboxError(Exception):
    """Root. `str()` of it is one line for a person: what is wrong and what to do."""


class InvalidMoney(FareboxError): ...


class Unpriced(FareboxError): ...


class SettingsError(FareboxError): ...


class PriceSheetError(FareboxError): ...


class InvalidLimit(FareboxError): ...


class InvalidRoute(FareboxError): ...


class InvalidAlert(FareboxError): ...


class InvalidBooks(FareboxError): ...


class QueryError(FareboxError): ...


class InvalidEvent(FareboxError): ...


class InvalidSpans(FareboxError): ...


class CallRefused(FareboxError):
    """A call that Farebox answers itself. `status` and `code` are public (they stand in the answer's body)."""

    status = 400
    code = "invalid_request"


class InvalidRequest(CallRefused): ...


class InvalidTags(CallRefused):
    code = "invalid_tags"


class AttributionMissing(CallRefused):
    code = "attribution_missing"


class InvalidKey(CallRefused):
    status = 401
    code = "invalid_key"


class UnpricedModel(CallRefused):
    """A limit in usd applies, and what the call will cost cannot be known."""

    status = 402
    code = "unpriced_model"


class AttributionConflict(CallRefused):
    status = 403
    code = "attribution_conflict"


class RouteNotAllowed(CallRefused):
    status = 403
    code = "route_not_allowed"


class ModelNotAllowed(CallRefused):
    status = 403
    code = "model_not_allowed"


class ObjectNotFound(CallRefused):
    """A stored object that is not the caller's, or that does not exist: nobody can tell which."""

    status = 404
    code = "object_not_found"


class BodyTooLarge(CallRefused):
    status = 413
    code = "body_too_large"


class UnboundedCall(CallRefused):
    """A strict limit applies, and the most that the call can cost cannot be proven."""

    status = 422
    code = "unbounded_call"


class LimitRefused(CallRefused):
    """A limit stands in the way. `shown` is what the answer says of it beside the error, `retry_s` when it is worth
    to ask again, 0 for never."""

    status = 429

    def __init__(
        self, code: str, message: str, limit_id: str, shown: dict[str, object], retry_s: int, reset_at: str | None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.limit_id = limit_id
        self.shown = shown
        self.retry_s = retry_s
        self.reset_at = reset_at


class NoCredential(CallRefused):
    status = 424
    code = "no_credential"


class TokenUnavailable(CallRefused):
    """The stored credential is one that tokens are minted for, and at the moment there is none to be had."""

    status = 502
    code = "token_unavailable"


class Draining(CallRefused):
    status = 503
    code = "draining"


class ObjectsUnavailable(CallRefused):
    status = 503
    code = "objects_unavailable"


class JournalFull(CallRefused):
    status = 503
    code = "journal_full"


class DirectoryError(FareboxError): ...


class InvalidEntry(DirectoryError): ...


class SecretsError(DirectoryError): ...


class NotFound(DirectoryError): ...


class AlreadyExists(DirectoryError): ...


class LedgerError(FareboxError): ...


class JournalCorrupt(LedgerError): ...


class LedgerLocked(LedgerError): ...


class AlertsError(FareboxError): ...


class DeliveryFailed(FareboxError):
    """`is_final`: sending it again would change nothing. `is_gone`: the receiver wants no more of them."""

    def __init__(self, message: str, *, is_final: bool = False, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final or is_gone
        self.is_gone = is_gone


class KeeperUnavailable(FareboxError): ...


class LimitExceeded(FareboxError):
    """A limit stands in the way of a call; nothing was sent. `facts` is what a refused call's body says under
    'farebox'; amounts are in the limit's unit, as a person reads them."""

    def __init__(self, facts: dict[str, object]) -> None:
        self.message = str(facts.get("message") or "a limit is used up")
        super().__init__(self.message)
        self.facts = facts
        self.code = str(facts.get("code") or "limit_exceeded")
        self.limit_id = facts.get("limit_id")
        self.used = facts.get("used")
        self.amount = facts.get("amount")
        self.unit = facts.get("unit")
        self.reset_at = facts.get("reset_at")

    def __reduce__(self) -> tuple[type["LimitExceeded"], tuple[dict[str, object]]]:
        return type(self), (self.facts,)  # task queues carry errors from process to process


class Unreachable(FareboxError): ...
