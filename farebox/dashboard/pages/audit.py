"""Audit log: who changed what, newest first."""

from typing import Any, Final

from farebox.core.events import iso_us
from farebox.dashboard.forms import Field
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

ROWS: Final = 500
COLUMNS: Final = (
    Column("at", "When", "moment"),
    Column("by", "Who"),
    Column("action", "What", "flag"),
    Column("subject", "Of"),
    Column("detail", "Detail"),
)
ASKED: Final = ("by", "action", "subject")


async def show(visit: Visit) -> View:
    asked = {name: visit.filters.query.get(name, "") for name in ASKED}
    found = await visit.run(visit.parts.directory.audit, ROWS, **asked)
    rows = [
        {
            "at": iso_us(row.at_us),
            "by": row.by,
            "action": row.action,
            "subject": row.subject,
            "detail": _told(row.detail),
        }
        for row in found
    ]
    more = f"The newest {ROWS} changes." if len(rows) == ROWS else f"{len(rows)} changes."
    labels = {"by": "Who", "action": "What", "subject": "Of"}
    search = [Field(name, labels[name], text) for name, text in asked.items()]
    return View("Audit log", Answer(sentence=more, columns=COLUMNS, rows=rows), template="manage.html",
                more={"managed": [], "up": False, "search": search}, caption="Changes",
                empty="No change matches.")  # fmt: skip


def _told(detail: dict[str, Any]) -> str | None:
    """Before and after side by side; the rest as it was logged."""
    before, after = detail.get("before"), detail.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        changed = [name for name in after if before.get(name) != after[name]]
        return "; ".join(f"{name}: {before.get(name)} → {after[name]}" for name in changed) or None
    said = [f"{name}: {value}" for name, value in detail.items() if value not in (None, "", [], {})]
    return "; ".join(said) or None


AUDIT: Final = Page("/audit", "analyst", "Audit log", show, group="Setup")
