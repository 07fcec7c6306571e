"""What a page is: a path, who may see it, what it shows, and what can be done on it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from farebox.dashboard.filters import ROWS, Filters
from farebox.dashboard.parts import Parts
from farebox.directory.rows import SessionRow, UserRow
from farebox.reports.report import Answer, CellKind

Role = Literal["admin", "analyst"]
MAY: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset({"admin", "analyst"}),
    "analyst": frozenset({"analyst"}),
}
"""What a user's role may do: an admin everything, an analyst read."""
ANSWER_MARGIN_S: Final = 5
"""The keeper ends a question that takes too long; only then does the wait for its answer end."""
Params = ParamSpec("Params")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever is logged in, with the session's secret, on which the forms hang."""

    user: UserRow
    session: SessionRow
    secret: str

    def may(self, role: str) -> bool:
        return role in MAY.get(self.user.role, frozenset())


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to a page by someone who may see it."""

    parts: Parts
    viewer: Viewer
    path: str
    names: Mapping[str, str]
    """What stands in the path: {'tenant': 'acme'}."""
    filters: Filters
    form: Mapping[str, str] = field(default_factory=dict)
    """What was sent: to an action, or back to the page where the action refused it."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that were sent with it, by the field's name."""
    problem: str = ""
    """Why it was refused."""
    asked_at: str = ""
    """Path of the action that refused."""

    @property
    def by(self) -> str:
        """Who a change is logged under."""
        return f"{self.viewer.user.id} {self.viewer.user.name}"

    @property
    def now_us(self) -> int:
        return self.filters.now_us

    async def ask(self, method: str, params: object = None) -> Any:
        """The keeper's answer, decoded. Raises FareboxError."""
        timeout_s = self.parts.settings.ledger.query_timeout_s + ANSWER_MARGIN_S
        return await self.parts.keeper.call(method, params, timeout_s=timeout_s)

    async def usage(self, group_by: Sequence[str], measures: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        """Rows of sums under the page's filters; `more` as `Filters.usage` takes it."""
        answer = await self.ask("usage", self.filters.usage(group_by, measures, **more))
        rows: list[dict[str, Any]] = answer["rows"]
        return rows

    async def run(self, function: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
        """A blocking call, such as to the directory, in a thread."""
        return await run_in_threadpool(function, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure at the top of a page. `change` is in percent against the period before; `better` says which way is."""

    title: str
    value: Any
    kind: CellKind
    hint: str = ""
    href: str = ""
    note: str = ""
    change: Any = None
    better: Literal["more", "less", ""] = ""
    tone: Literal["loss", ""] = ""


@dataclass(frozen=True, slots=True)
class View:
    """What a page shows. `answer` is what `.json` and `.csv` have, too."""

    title: str
    answer: Answer
    tiles: tuple[Tile, ...] = ()
    template: str = "answer.html"
    more: Mapping[str, Any] = field(default_factory=dict)
    """For a template of the page's own."""
    caption: str = ""
    """Of the table; the title unless said."""
    data: object = None
    """What `.json` answers in place of the answer's rows."""
    rows: int = ROWS
    """How many are shown until all are asked for."""
    is_whole: bool = True
    """False for a page of a longer list: then it can be neither ordered nor searched here."""
    empty: str = "Nothing matches: choose a longer period, or take a filter away."


@dataclass(frozen=True, slots=True)
class Done:
    """An action is done: go to a page and say so there."""

    to: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What a form can do. `act` raises FareboxError where it cannot be: the page is shown again, with why."""

    path: str
    role: Role
    act: Callable[[Visit], Awaitable[Done | View]]


@dataclass(frozen=True, slots=True)
class Page:
    """`title` stands in the navigation where `group` names a part of it. `period` is what the filter bar says unless
    told; '' is a page without the bar. `live_s`: figures are looked at again so often."""

    path: str
    role: Role
    title: str
    show: Callable[[Visit], Awaitable[View | Done]]
    group: str = ""
    period: str = ""
    live_s: int = 0
    actions: tuple[Action, ...] = ()
    key: str = ""
    """`g` and this letter goes here."""
    unanswered: Callable[[Visit], Awaitable[View]] | None = None
    """What is shown in place of a bare error where `show` has not been asked all that it needs: a form to ask by."""

    @property
    def file(self) -> str:
        """The path before .json and .csv."""
        return "/overview" if self.path == "/" else self.path
