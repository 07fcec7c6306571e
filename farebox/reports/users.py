"""Which users cost most. A user is one within its customer: (acme, u_77) and (globex, u_77) are two."""

from typing import Final

from farebox.reports.ranking import DOUBT, RANK, answered, bars, most, rank
from farebox.reports.report import Answer, Asked, Column, Facts, Option
from farebox.reports.words import span

_GROUPS: Final = ("tenant", "user")
_COLUMNS: Final = (
    Column("tenant", "Customer", door="tenant"),
    Column("user", "User", door="tenant={tenant}&user={user}"),
    *RANK,
    Column("last_at", "Last call", "moment", "When its last call began."),
    *DOUBT,
)


class Users:
    name: Final = "users"
    title: Final = "Users"
    question: Final = "Which users cost most?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        ranking = rank(asked, facts, _GROUPS, ("last_at",))
        chart = bars(ranking, _GROUPS, f"Spend by user, {span(asked)}")
        return answered(asked, facts, ranking, _COLUMNS, most(asked, ranking, "user", _GROUPS), chart)
