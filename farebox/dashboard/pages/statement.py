"""A customer's statement, at an address of its own and fit to be printed: every line is on the page."""

from dataclasses import replace
from typing import Final

from farebox.dashboard.page import Page, View, Visit
from farebox.dashboard.pages import report
from farebox.reports.statement import Statement
from farebox.reports.statement_calls import CALLS_MAX

LINES: Final = ("days", "calls")


async def show(visit: Visit) -> View:
    return _view(visit, await report.show(_named(visit)))


async def unanswered(visit: Visit) -> View:
    return _view(visit, await report.unanswered(_named(visit)))


def _named(visit: Visit) -> Visit:
    return replace(visit, names={**visit.names, "name": Statement.name})


def _view(visit: Visit, view: View) -> View:
    said = {name: visit.filters.query.get(name, "") for name in ("month", "lines")}
    tenant = (visit.filters.where.get("tenant") or ("",))[0]
    more = {**view.more, "tenant": tenant, "said": said, "lines": LINES}
    return replace(view, template="statement.html", more=more, caption="Line by line", rows=CALLS_MAX)


STATEMENT: Final = Page("/reports/statement", "analyst", "Statement", show, period="month", unanswered=unanswered)
