"""The week's report, sent by itself: once a week to each channel that the settings name.

What says that a week was told of is its entry in the outbox, written together with what each channel is to be sent: a
process that ends before it makes the report again, one that ends after it sends what is there. Nothing else is
remembered, so a restart neither doubles nor misses a week.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from farebox.alerts.outbox import Document, Outbox
from farebox.core import asking
from farebox.core.alert_text import Message
from farebox.core.schedules import last_due, read_weekly
from farebox.core.thresholds import Fact, Finding
from farebox.core.windows import zone
from farebox.errors import FareboxError, KeeperUnavailable
from farebox.reports.report import Answer, Asked, Facts
from farebox.reports.weekly import Weekly
from farebox.telemetry import tell

if TYPE_CHECKING:
    from farebox.reports.messages import Picture

TITLE_MAX: Final = 150
LATE_US: Final = 3 * 86_400_000_000
"""How long after its moment a week is still told of."""
RULE: Final = "weekly"
_log = logging.getLogger("farebox.reports")


class WeeklyMail:
    """For one thread. `facts` as a report asks them; may raise FareboxError."""

    def __init__(
        self,
        outbox: Outbox,
        facts: Callable[[], Facts],
        now_us: Callable[[], int],
        *,
        channels: Sequence[str],
        weekly_at: str,
        time_zone: str = "UTC",
        dashboard_url: str = "",
    ) -> None:
        self._outbox = outbox
        self._facts = facts
        self._now_us = now_us
        self._channels = tuple(dict.fromkeys(channels))
        self._weekly_at = read_weekly(weekly_at)
        self._time_zone = time_zone
        self._dashboard_url = dashboard_url.rstrip("/")

    def look(self) -> bool:
        """Make the report if it is due. -> whether it was made. What fails is tried at the next look."""
        now_us = self._now_us()
        due_us, day = last_due(self._weekly_at, now_us, zone(self._time_zone))
        if not self._channels or now_us - due_us > LATE_US:
            return False
        finding = self._finding(day)
        if self._outbox.knows(finding):
            return False
        try:
            kept = self._make(finding, now_us)
        except KeeperUnavailable:
            return False  # the rule on the ledger's lag tells of it
        except FareboxError as error:
            tell(_log, "reports.weekly_failed", logging.WARNING, error=str(error))
            return False
        if kept:
            tell(_log, "reports.weekly_made", week=finding.threshold, channels=len(self._channels))
        return kept

    def _finding(self, day: date) -> Finding:
        """Named after the week that is told of, so that another moment of the week tells nothing twice."""
        monday = day - timedelta(days=7 + day.weekday())
        start_us = asking.instant(monday.isoformat(), 0, self._time_zone)
        facts: dict[str, Fact] = {"report": Weekly.name, "week": monday.isoformat()}
        return Finding(RULE, "report", Weekly.name, monday.isoformat(), start_us, facts)

    def _make(self, finding: Finding, now_us: int) -> bool:
        from farebox.reports import messages  # with what draws: for once a week

        week = finding.threshold
        asked = Asked(
            since_us=0, until_us=now_us, now_us=now_us, time_zone=self._time_zone, options={"week": week}
        )  # fmt: skip
        answer = Weekly().answer(asked, self._facts())
        path = f"/reports/{Weekly.name}?week={week}"
        pictures = _pictures(answer)
        link = f"{self._dashboard_url}{path}" if self._dashboard_url else ""
        html = messages.html_mail(Weekly.title, answer, pictures, link)
        text = messages.plain_text("", answer).strip()
        document = Document(html, {picture.name: picture.png for picture in pictures})
        message = Message(f"{Weekly.title}: {answer.sentence}"[:TITLE_MAX], text, path, "info")
        return self._outbox.post(finding, message, document, self._channels, now_us) is not None


def _pictures(answer: Answer) -> "Sequence[Picture]":
    """No pictures where this installation cannot draw: the figures are worth sending all the same."""
    from farebox.reports import messages

    try:
        return messages.pictures(answer)
    except FareboxError as error:
        tell(_log, "reports.not_drawn", logging.WARNING, error=str(error))
        return ()
