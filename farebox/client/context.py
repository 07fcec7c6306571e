"""Whose the calls of this thread or task are: contextvars, so that nothing has to be passed through an app."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from uuid import uuid4

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS
from farebox.core.events import Tag as TagValue
from farebox.errors import FareboxError, InvalidRequest


class LimitWarning(NamedTuple):
    """A limit tells of itself. `share` of it is used, 0.83 for instance."""

    limit_id: str
    share: float
    subject: str | None = None
    reset_at: str | None = None


OnWarning = Callable[[LimitWarning], object]


class Scope(NamedTuple):
    dimensions: Mapping[str, str] = {}
    tags: Mapping[str, TagValue] = {}
    units: Mapping[str, int] = {}
    on_warning: OnWarning | None = None
    office: Any = None
    """Who meters the calls made here; None: whoever wrapped their client."""


NOBODY: Final = Scope()
SCOPE: Final[ContextVar[Scope]] = ContextVar("farebox_scope", default=NOBODY)
REFUSED: Final[ContextVar["list[FareboxError] | None"]] = ContextVar("farebox_refused", default=None)
"""Where refusals of the call that is being made are noted: SDKs turn exceptions below them into their own."""


def widened(
    scope: Scope,
    named: Mapping[str, object],
    tags: Mapping[str, TagValue] | None = None,
    units: Mapping[str, int] | None = None,
    on_warning: OnWarning | None = None,
    office: Any = None,
) -> Scope:
    """The scope with more said: inner words win. Raises InvalidRequest for a name that is no dimension."""
    dimensions = dict(scope.dimensions)
    for name, value in named.items():
        meant = NAMES.get(name, name)
        if meant not in DIMENSIONS:
            known = "tenant_id, user_id, workspace_id, tier, feature, task_id, session_id, tags, units"
            raise InvalidRequest(f"there is no dimension {name!r}: give {known}")
        if value is not None:
            dimensions[meant] = str(value)
    return Scope(
        dimensions,
        {**scope.tags, **(tags or {})},
        {**scope.units, **(units or {})},
        on_warning or scope.on_warning,
        office or scope.office,
    )


def recorded(event: Mapping[str, object], scope: Scope) -> dict[str, object]:
    """An event with what it does not say itself: an id, and whose it is by the scope."""
    said = {NAMES.get(name, name) for name, value in event.items() if value is not None}
    whose = {name: value for name, value in scope.dimensions.items() if name not in said}
    made: dict[str, object] = {"id": uuid4().hex, **whose, **event}
    for name, ours in (("tags", scope.tags), ("units", scope.units)):
        own = made.get(name)
        if ours and (own is None or isinstance(own, Mapping)):
            made[name] = {**ours, **(own or {})}
    return made


class Context:
    """In force from the moment it is made, to the end of the `with` block where it stands in one, else of the thread's
    or task's own context."""

    def __init__(self, scope: Scope) -> None:
        self._token: Token[Scope] | None = SCOPE.set(scope)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            SCOPE.reset(self._token)
            self._token = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *ended: Any) -> None:
        self.__exit__(*ended)
