"""Routes: a name that stands for several targets, of which the next is tried where one fails.

A target is a provider and a model of it. Pure: the written form becomes a checked `Route`, and back.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec

from farebox.core.limit_text import amount_text
from farebox.core.limits import Limit, check, parse_amount
from farebox.core.windows import KINDS, WindowKind
from farebox.errors import InvalidLimit, InvalidRoute

Order = Literal["listed", "weighted", "latency", "cost"]
ORDERS: Final = get_args(Order)
CONNECT: Final = "connect"
TIMEOUT: Final = "timeout"
RETRY_ON: Final = (CONNECT, TIMEOUT, "408", "409", "429", "5xx")
"""What moves a call on unless a route says otherwise."""
TARGETS_MAX: Final = 16
WEIGHT_MAX: Final = 1_000_000
SPAN_MAX_S: Final = 86_400.0
NAME_CHARS_MAX: Final = 64
MODEL_CHARS_MAX: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STATUS: Final = re.compile(r"[45](?:\d\d|xx)")
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?(ms|s|m)?")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
Word = TypeVar("Word", bound=str)


class RouteTarget(msgspec.Struct, frozen=True, gc=False):
    """A provider and a model of it. `timeout_s` None is the route's; `budget` is the text of an amount in a window,
    and empty where there is none."""

    provider: str
    model: str
    weight: int = 1
    timeout_s: float | None = None
    budget: str = ""
    window: WindowKind = "month"

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


class Route(msgspec.Struct, frozen=True, gc=False):
    """`timeout_s` is the longest wait of one attempt for the first byte of its answer, connecting included. `hedge_s`:
    after so long a wait a second target is asked as well; None never does. A target that failed `break_after` times
    running is left alone for `rest_s`, twice as long each time that it fails again."""

    name: str
    targets: tuple[RouteTarget, ...]
    order: Order = "listed"
    timeout_s: float | None = None
    retry_on: tuple[str, ...] = RETRY_ON
    sticky: bool = False
    hedge_s: float | None = None
    break_after: int = 5
    rest_s: float = 10.0

    def moves_on(self, what: str) -> bool:
        """Whether a call goes on to the next target after this: a status such as '503', 'connect' or 'timeout'."""
        return what in self.retry_on or (what.isdigit() and f"{what[0]}xx" in self.retry_on)


FIELDS: Final = ("targets", "order", "timeout", "retry_on", "sticky", "hedge", "break_after", "rest")
_TARGET_FIELDS: Final = ("target", "weight", "timeout", "budget", "window")


def read_route(name: str, written: Mapping[str, Any]) -> Route:  # Any: decoded JSON or TOML
    """A route from its written form: {"targets": ["openai/gpt-4.1-mini", {"target": …, "weight": 3}], "timeout":
    "20s"}. What is left out or null is the default. Raises InvalidRoute with what to write instead."""
    checked_name(name)
    said = {key: value for key, value in written.items() if value is not None}
    for key in said:
        if key not in FIELDS:
            raise InvalidRoute(f"route {name}: there is no {key[:64]!r}; there are {', '.join(FIELDS)}")
    default = Route(name, ())
    return Route(
        name,
        _targets(name, said.get("targets")),
        order=_one_of(name, "order", said.get("order", default.order), ORDERS),
        timeout_s=_span(name, "timeout", said.get("timeout")),
        retry_on=_retry_on(name, said.get("retry_on", RETRY_ON)),
        sticky=_flag(name, "sticky", said.get("sticky", default.sticky)),
        hedge_s=_span(name, "hedge", said.get("hedge")),
        break_after=_count(name, "break_after", said.get("break_after", default.break_after), 1000),
        rest_s=_span(name, "rest", said.get("rest")) or default.rest_s,
    )


def changed_route(route: Route, written: Mapping[str, Any]) -> Route:  # Any: decoded JSON
    """The route with the written fields changed; null stands for the default. Raises InvalidRoute."""
    return read_route(route.name, {**written_route(route), **written})


def written_route(route: Route) -> dict[str, Any]:
    """The written form without the name; `read_route` reads it back."""
    return {
        "targets": [_written_target(target) for target in route.targets],
        "order": route.order,
        "timeout": _written_span(route.timeout_s),
        "retry_on": list(route.retry_on),
        "sticky": route.sticky,
        "hedge": _written_span(route.hedge_s),
        "break_after": route.break_after,
        "rest": _written_span(route.rest_s),
    }


def checked_name(name: str) -> str:
    """Raises InvalidRoute."""
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise InvalidRoute(
            f"a route cannot be called {name[:80]!r}: use letters, digits, '.', '-' and '_', at most "
            f"{NAME_CHARS_MAX} characters, such as smart"
        )
    return name


def parse_target(text: str) -> tuple[str, str]:
    """'openai/gpt-4.1-mini' -> (provider, model). Raises InvalidRoute."""
    provider, slash, model = text.strip().partition("/")
    if not slash or not provider or not model or len(model) > MODEL_CHARS_MAX or not model.isprintable():
        raise InvalidRoute(f"{text[:80]!r} is no target: give PROVIDER/MODEL, such as openai/gpt-4.1-mini")
    return provider, model


def read_target(text: str) -> str | dict[str, object]:
    """'PROVIDER/MODEL', with '=2' for its weight and '(50 usd a day)' for its budget behind it."""
    name, paren, budget = text.partition("(")
    name, equals, weight = name.strip().rpartition("=") if "=" in name else (name.strip(), "", "")
    found: dict[str, object] = {"target": name.strip()}
    if equals:
        if not weight.isdecimal():
            raise InvalidRoute(f"a target's weight is a whole number, not {weight[:40]!r}: write {name}=2")
        found["weight"] = int(weight)
    if paren:
        amount, _, window = budget.rstrip(") ").rpartition(" a ")
        found |= {"budget": amount or window, **({"window": window} if amount else {})}
    return found if len(found) > 1 else name.strip()


def target_text(entry: Any) -> str:  # Any: a text, or an object
    """A target's written form as `read_target` reads it."""
    if isinstance(entry, str):
        return entry
    weight = f"={entry['weight']}" if "weight" in entry else ""
    budget = f" ({entry['budget']} a {entry['window']})" if "budget" in entry else ""
    return f"{entry['target']}{weight}{budget}"


def budgets(routes: Mapping[str, Route]) -> tuple[Limit, ...]:
    """The targets' budgets as limits, each counting what its target spent by way of its route."""
    return tuple(_budget(route.name, target) for route in routes.values() for target in route.targets if target.budget)


def budget_id(route: str, target: str) -> str:
    """The id of a target's budget among the limits."""
    return f"lim_route:{route}:{target}"


def _budget(route: str, target: RouteTarget) -> Limit:
    amount, unit = parse_amount(target.budget)
    where = {"route": route, "provider": target.provider, "model": target.model}
    return Limit(budget_id(route, target.name), "all", amount, unit, target.window, where=dict(where), unpriced="pass")


def _targets(name: str, written: object) -> tuple[RouteTarget, ...]:
    if isinstance(written, str):
        written = [part.strip() for part in written.split(",") if part.strip()]
    if not isinstance(written, Sequence) or not written:
        raise InvalidRoute(
            f'route {name} needs targets, such as ["openai/gpt-4.1-mini", "groq/llama-3.3-70b-versatile"]'
        )
    if len(written) > TARGETS_MAX:
        raise InvalidRoute(f"route {name} has {len(written)} targets; at most {TARGETS_MAX} are tried")
    found = tuple([_target(name, each) for each in written])
    names = [target.name for target in found]
    if twice := next((target for target in names if names.count(target) > 1), None):
        raise InvalidRoute(f"route {name} names {twice} twice: a call tries each target once")
    return found


def _target(name: str, written: object) -> RouteTarget:
    if isinstance(written, str):
        return RouteTarget(*parse_target(written))
    if not isinstance(written, Mapping) or not isinstance(written.get("target"), str):
        raise InvalidRoute(f'route {name}: a target is "PROVIDER/MODEL" or {{target = "PROVIDER/MODEL", weight = 2}}')
    for key in written:
        if key not in _TARGET_FIELDS:
            raise InvalidRoute(
                f"route {name}: a target has no {str(key)[:64]!r}; there are {', '.join(_TARGET_FIELDS)}"
            )
    given = {key: value for key, value in written.items() if value is not None}
    provider, model = parse_target(given["target"])
    return RouteTarget(
        provider,
        model,
        weight=_count(name, "weight", given.get("weight", 1), WEIGHT_MAX),
        timeout_s=_span(name, "timeout", given.get("timeout")),
        budget=_amount(name, given.get("budget", "")),
        window=_one_of(name, "window", given.get("window", "month"), KINDS),
    )


def _amount(name: str, written: object) -> str:
    if written == "":
        return ""
    try:
        amount, unit = parse_amount(str(written))
        check(Limit("", "all", amount, unit))
    except InvalidLimit as error:
        raise InvalidRoute(f"route {name}: budget: {error}") from None
    if unit not in ("usd", "tokens", "requests"):
        raise InvalidRoute(f"route {name}: a budget is in usd, tokens or requests, such as '50 usd', not in {unit}")
    return amount_text(amount, unit)


def _retry_on(name: str, written: object) -> tuple[str, ...]:
    if isinstance(written, str):
        written = [part.strip() for part in written.split(",") if part.strip()]
    if not isinstance(written, Sequence):
        raise InvalidRoute(f"route {name}: retry_on is a list, such as {list(RETRY_ON)}")
    words = tuple(dict.fromkeys(str(word).strip().lower() for word in written))
    for word in words:
        if word not in (CONNECT, TIMEOUT) and not _STATUS.fullmatch(word):
            raise InvalidRoute(
                f"route {name}: retry_on knows connect, timeout, a status such as 429, and 5xx, not {word[:40]!r}"
            )
    return words


def _span(name: str, field: str, written: object) -> float | None:
    """Seconds of 20, 0.5, '20s', '500ms', '2m'."""
    if written is None or written == "":
        return None
    found = _SPAN.fullmatch(str(written).strip()) if not isinstance(written, bool) else None
    seconds = float(found[1]) * _UNITS_S[found[2] or "s"] if found else math.nan
    if not 0.001 <= seconds <= SPAN_MAX_S:
        raise InvalidRoute(f"route {name}: {field} is {str(written)[:40]!r}: give a span of time, such as 20s or 500ms")
    return seconds


def _written_span(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.12g}s" if seconds >= 1 else f"{seconds * 1000:.12g}ms"


def _written_target(target: RouteTarget) -> Any:  # Any: a text, or an object where there is more to say
    more: dict[str, object] = {}
    if target.weight != 1:
        more["weight"] = target.weight
    if target.timeout_s is not None:
        more["timeout"] = _written_span(target.timeout_s)
    if target.budget:
        more |= {"budget": target.budget, "window": target.window}
    return {"target": target.name, **more} if more else target.name


def _count(name: str, field: str, written: object, most: int) -> int:
    text = str(written)
    number = int(text) if not isinstance(written, bool) and text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise InvalidRoute(f"route {name}: {field} is {text[:40]!r}: give a whole number, 1 to {most}")
    return number


def _flag(name: str, field: str, written: object) -> bool:
    if isinstance(written, bool):
        return written
    if str(written).lower() in ("true", "false"):
        return str(written).lower() == "true"
    raise InvalidRoute(f"route {name}: {field} is true or false, not {str(written)[:40]!r}")


def _one_of(name: str, field: str, written: object, words: Sequence[Word]) -> Word:
    for word in words:
        if written == word:
            return word
    raise InvalidRoute(f"route {name}: {field} is {str(written)[:40]!r}: give {', '.join(words)}")
