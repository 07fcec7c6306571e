"""One report as a page: whatever it answers, drawn and listed."""

from typing import Final

from farebox.dashboard.filters import Filters, read_filters
from farebox.dashboard.page import Page, View, Visit
from farebox.errors import NotFound
from farebox.reports.report import Answer, Asked, Report

PERIODS: Final = {"30d": "30d", "month": "month", "12 months": "12-months", "none": "all"}


async def show(visit: Visit) -> View:
    report = _found(visit)
    filters = _filters(visit, report)
    asked = filters.asked([option.name for option in report.options])
    answer = await visit.run(_answer, visit, report, asked)
    return _view(report, filters, answer)


async def unanswered(visit: Visit) -> View:
    """The report's question and its options, to be filled in."""
    report = _found(visit)
    return _view(report, _filters(visit, report), Answer(sentence="Say below what to answer for.", columns=(), rows=[]))


def _view(report: Report, filters: Filters, answer: Answer) -> View:
    more = {"report": report, "report_filters": filters, "options": _options(report, filters)}
    return View(report.title, answer, template="report.html", more=more)


def _filters(visit: Visit, report: Report) -> Filters:
    filters = visit.filters
    if not any(name in ("period", "since") for name, _ in filters.given):
        filters = read_filters([*filters.given, *filters.query.items()], visit.now_us, PERIODS[report.period])
    return filters


def _answer(visit: Visit, report: Report, asked: Asked) -> Answer:
    """In the thread that then asks."""
    facts = visit.parts.facts
    if facts is None:
        raise NotFound("This installation has no reports.")
    return report.answer(asked, facts())


def _found(visit: Visit) -> Report:
    name = visit.names["name"]
    for report in visit.parts.reports:
        if report.name == name:
            return report
    raise NotFound(f"There is no report {name!r}: the list of reports names all of them.")


def _options(report: Report, filters: Filters) -> list[dict[str, str]]:
    return [
        {"name": option.name, "hint": option.hint, "value": filters.query.get(option.name, option.default)}
        for option in report.options
    ]


REPORT: Final = Page("/reports/{name}", "analyst", "Report", show, period="30d", unanswered=unanswered)
