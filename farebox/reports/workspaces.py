"""Which workspaces cost most. A workspace is one within its customer."""

from typing import Final

from farebox.reports.ranking import DOUBT, RANK, answered, bars, most, rank
from farebox.reports.report import Answer, Asked, Column, Facts, Option
from farebox.reports.words import span

_GROUPS: Final = ("tenant", "workspace")
_COLUMNS: Final = (
    Column("tenant", "Customer", door="tenant"),
    Column("workspace", "Workspace", door="tenant={tenant}&workspace={workspace}"),
    *RANK,
    Column("users", "Users", "count", "Distinct users that its calls name."),
    Column("last_at", "Last call", "moment", "When its last call began."),
    *DOUBT,
)


class Workspaces:
    name: Final = "workspaces"
    title: Final = "Workspaces"
    question: Final = "Which workspaces cost most?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        ranking = rank(asked, facts, _GROUPS, ("users", "last_at"))
        chart = bars(ranking, _GROUPS, f"Spend by workspace, {span(asked)}")
        return answered(asked, facts, ranking, _COLUMNS, most(asked, ranking, "workspace", _GROUPS), chart)
