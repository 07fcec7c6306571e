"""Reports: every question that can be asked, with its page."""

from typing import Final

from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("title", "Report", door="/reports/{name}"),
    Column("question", "What it answers"),
    Column("covers", "Covers", hint="Where no time is chosen."),
    Column("name", "Name", hint="For `farebox report NAME` and the API."),
)

COVERS: Final = {"30d": "30 days", "month": "this month", "12 months": "12 months", "none": "all, or the present"}


async def show(visit: Visit) -> View:
    rows = [
        {"name": report.name, "title": report.title, "question": report.question, "covers": COVERS[report.period]}
        for report in visit.parts.reports
    ]
    sentence = f"{len(rows)} reports; each is a page, a command, a route of the API and a CSV file."
    answer = Answer(sentence=sentence, columns=COLUMNS, rows=rows)
    return View("Reports", answer, empty="This installation has no reports.")


REPORTS: Final = Page("/reports", "analyst", "Reports", show, group="Money", key="r")
