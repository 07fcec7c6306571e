"""An answer as a message for a channel, and as the parts of it that a picture or page is made from."""

from typing import Final

from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding
from farebox.reports.cells import shown
from farebox.reports.report import Answer, Report
from farebox.reports.words import named

LINES: Final = 10
CELLS: Final = 4
"""Values of a row that a line has."""


def finding(report: Report, now_us: int) -> Finding:
    """What a webhook is told beside the text."""
    return Finding("", "report", report.name, report.name, now_us, {"report": report.name})


def message(report: Report, answer: Answer) -> Message:
    """The sentence, the first rows, and what is not sure."""
    columns = [column for column in answer.columns if any(row.get(column.name) is not None for row in answer.rows)]
    lines = [
        " · ".join(named(shown(column.kind, row.get(column.name))) for column in columns[:CELLS])
        for row in answer.rows[:LINES]
    ]
    more = len(answer.rows) - LINES
    rest = [f"… and {more:,} more rows"] if more > 0 else []
    text = "\n".join([answer.sentence, *lines, *rest, *answer.notes])
    return Message(report.title, text, f"/reports/{report.name}", "info")
