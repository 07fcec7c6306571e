"""What each feature costs."""

from typing import Final

from farebox.reports.ranking import DOUBT, RANK, answered, bars, most, rank
from farebox.reports.report import Answer, Asked, Column, Facts, Option
from farebox.reports.words import span

_GROUPS: Final = ("feature",)
_COLUMNS: Final = (
    Column("feature", "Feature", door="feature"),
    *RANK,
    Column("users", "Users", "count", "Distinct users that used it."),
    Column("errors", "Errors", "count", "Attempts that failed, timed out or were interrupted."),
    *DOUBT,
)


class Features:
    name: Final = "features"
    title: Final = "Features"
    question: Final = "What does each feature cost?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        ranking = rank(asked, facts, _GROUPS, ("users", "errors"))
        chart = bars(ranking, _GROUPS, f"Spend by feature, {span(asked)}")
        return answered(asked, facts, ranking, _COLUMNS, most(asked, ranking, "feature", _GROUPS), chart)
