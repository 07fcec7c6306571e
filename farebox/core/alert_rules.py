"""Alert rules: what is watched for, with which numbers, and which channels are told.

Each kind is one struct, whose fields say their meaning and range: shell, API and documentation are made from them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from farebox.core.money import parse_usd
from farebox.core.queries import PERIODS, group
from farebox.errors import InvalidAlert, InvalidMoney, QueryError

Again = Literal["hour", "day", "week", "month"]
_AGAIN: Final = "the same is told at most once in this time (UTC)"
CHANNELS_MAX: Final = 32
HOURLY_MAX: Final = 100
LIMITS_MAX: Final = 64


def _note(help: str, low: float | None = None, high: float | None = None) -> Meta:  # noqa: A002 (reads best below)
    return Meta(description=help, ge=low, le=high)


def _names(help: str) -> Meta:  # noqa: A002 (reads best below)
    return Meta(description=help, max_length=LIMITS_MAX)


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of one rule. `kind` names what is watched for, `about` says it in a line."""

    kind: ClassVar[str]
    about: ClassVar[str]


class LimitReached(Spec, frozen=True, kw_only=True):
    kind = "limit"
    about = "a limit has come to a share at which it warns, or is used up"
    limits: Annotated[tuple[str, ...], _names("ids of limits; none: all of them")] = ()


class LimitProjected(Spec, frozen=True, kw_only=True):
    kind = "limit_projected"
    about = "at its pace so far, a limit will be used up before its window ends"
    limits: Annotated[tuple[str, ...], _names("ids of limits; none: all of them")] = ()
    elapsed_min: Annotated[float, _note("share of the window that must be over", 0.01, 1)] = 0.1
    used_min: Annotated[float, _note("share of the amount that must be used", 0, 1)] = 0.25


class SpendSpike(Spec, frozen=True, kw_only=True):
    kind = "spend_spike"
    about = "spend is far above what the same time took on the last seven days"
    per: Annotated[str, _note("all, tenant, feature, user, model … or tag.NAME")] = "all"
    span: Annotated[Literal["hour", "day"], _note("the last hour, or today so far (UTC)")] = "day"
    factor: Annotated[float, _note("how many times the median of the seven days", 1.1, 1000)] = 3.0
    least_usd: Annotated[str, _note("spend below this is never a spike, in dollars")] = "10"


class Unpriced(Spec, frozen=True, kw_only=True):
    kind = "unpriced"
    about = "a model was called that has no price: its cost is unknown"
    calls_min: Annotated[int, _note("calls before it is told", 1, 1_000_000)] = 1
    again: Annotated[Again, _note(_AGAIN)] = "week"


class ErrorRate(Spec, frozen=True, kw_only=True):
    kind = "error_rate"
    about = "too many attempts fail at the provider"
    per: Annotated[str, _note("all, provider, model, tenant, feature … or tag.NAME")] = "provider"
    share: Annotated[float, _note("failed share of the attempts", 0.001, 1)] = 0.2
    within_s: Annotated[int, _note("over so many seconds", 60, 86_400)] = 900
    calls_min: Annotated[int, _note("attempts below which nothing is said", 1, 1_000_000)] = 50
    again: Annotated[Again, _note(_AGAIN)] = "hour"


class FallbackRate(Spec, frozen=True, kw_only=True):
    kind = "fallback_rate"
    about = "too many calls need more than their first attempt"
    per: Annotated[str, _note("all, provider, model, tenant, feature … or tag.NAME")] = "all"
    share: Annotated[float, _note("further attempts for each call", 0.001, 10)] = 0.2
    within_s: Annotated[int, _note("over so many seconds", 60, 86_400)] = 900
    calls_min: Annotated[int, _note("calls below which nothing is said", 1, 1_000_000)] = 50
    again: Annotated[Again, _note(_AGAIN)] = "hour"


class ProviderDown(Spec, frozen=True, kw_only=True):
    kind = "provider_down"
    about = "all of a provider's latest calls failed: 5xx, no answer, or no connection"
    calls: Annotated[int, _note("so many latest calls, all failed", 2, 1000)] = 5
    within_s: Annotated[int, _note("all of them within so many seconds", 30, 86_400)] = 300
    again: Annotated[Again, _note(_AGAIN)] = "hour"


class LedgerLag(Spec, frozen=True, kw_only=True):
    kind = "ledger_lag"
    about = "calls reach the ledger late, or the ledger does not answer"
    lag_s: Annotated[float, _note("seconds behind", 1, 86_400)] = 120.0
    again: Annotated[Again, _note(_AGAIN)] = "hour"


class NewSubjects(Spec, frozen=True, kw_only=True):
    kind = "new_subjects"
    about = "many users or customers that were never seen in the last seven days"
    per: Annotated[Literal["user", "tenant"], _note("what is counted")] = "user"
    per_minute: Annotated[int, _note("new ones within a minute", 1, 900)] = 300
    again: Annotated[Again, _note(_AGAIN)] = "hour"


class Margin(Spec, frozen=True, kw_only=True):
    kind = "margin"
    about = "a customer uses up what its plan was to cost, or costs more than it pays"
    shares: Annotated[tuple[float, ...], Meta(description="of the plan's expected AI cost", max_length=16)] = (0.5, 0.8)
    negative: Annotated[bool, _note("also tell of customers that cost more than they pay")] = True


SPECS: Final[tuple[type[Spec], ...]] = (
    LimitReached,
    LimitProjected,
    SpendSpike,
    Unpriced,
    ErrorRate,
    FallbackRate,
    ProviderDown,
    LedgerLag,
    NewSubjects,
    Margin,
)
BY_KIND: Final[dict[str, type[Spec]]] = {spec.kind: spec for spec in SPECS}
KINDS: Final = tuple(BY_KIND)


class Rule(msgspec.Struct, frozen=True):
    """A rule. Without channels its alerts are only in the history. `hourly_max` bounds the messages of an hour: what
    is beyond is in the history, and one message says so."""

    id: str
    spec: Spec
    channels: tuple[str, ...] = ()
    enabled: bool = True
    hourly_max: int = HOURLY_MAX

    @property
    def kind(self) -> str:
        return self.spec.kind


def read_spec(kind: str, written: Mapping[str, Any]) -> Spec:  # Any: decoded JSON, or words of a command line
    """A rule's numbers from their written form; what is left out or null is the default. Raises InvalidAlert with what
    to write instead."""
    if kind not in BY_KIND:
        raise InvalidAlert(f"there is no alert {kind!r}: give {', '.join(KINDS)}")
    known = BY_KIND[kind]
    given = {name: value for name, value in written.items() if value is not None}
    if unknown := [name for name in given if name not in known.__struct_fields__]:
        raise InvalidAlert(f"alert {kind} has no {unknown[0]!r}: it has {', '.join(known.__struct_fields__)}")
    try:
        spec = msgspec.convert(given, known, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidAlert(f"alert {kind}: {error}") from None
    return _checked(spec)


def shown_spec(spec: Spec) -> dict[str, object]:
    """The written form, whole."""
    shown: dict[str, object] = msgspec.to_builtins(spec)
    return shown


def fields(spec: type[Spec]) -> dict[str, str]:
    """What each number of a kind means."""
    hints = get_type_hints(spec, include_extras=True)
    return {name: get_args(hints[name])[1].description for name in spec.__struct_fields__}


def _checked(spec: Spec) -> Spec:
    if isinstance(spec, SpendSpike | ErrorRate | FallbackRate):
        _check_per(spec.per)
    if isinstance(spec, SpendSpike):
        try:
            least = parse_usd(spec.least_usd)
        except InvalidMoney as error:
            raise InvalidAlert(f"alert {spec.kind}: {error}") from None
        if least < 0:
            raise InvalidAlert(f"alert {spec.kind}: least_usd is not below zero")
    if isinstance(spec, Margin) and not all(0 < share <= 10 for share in spec.shares):
        raise InvalidAlert("alert margin: shares are above 0, such as 0.5 and 0.8")
    return spec


def _check_per(per: str) -> None:
    if per == "all":
        return
    try:
        name, is_tag = group(per)
    except QueryError as error:
        raise InvalidAlert(f"per: {error}") from None
    if name in PERIODS or (is_tag and not per.startswith("tag.")):
        raise InvalidAlert(f"per {per!r} is no dimension: give all, tenant, feature, user, model … or tag.NAME")
