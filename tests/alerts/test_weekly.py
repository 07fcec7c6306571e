"""The week's report by itself: once a week and channel, by mail with pictures and as text, whatever is restarted."""

import email
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email import policy
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from mailbox_smtp import Mailbox
from receiving import Receiver
from scripted import until
from slack_api import Slack

from farebox.alerts.apprise import unlinked
from farebox.alerts.dispatcher import Dispatcher
from farebox.alerts.outbox import FILE_NAME, Document, Outbox
from farebox.alerts.targets import Target
from farebox.control.scheduled import WeeklyMail
from farebox.core.alert_text import Message
from farebox.core.customers import Books
from farebox.core.thresholds import Finding
from farebox.errors import KeeperUnavailable, NotFound
from farebox.reports.facts import AskedFacts

ZONE = ZoneInfo("Europe/Berlin")
NASTY = '=HYPERLINK("http://x")<b onmouseover=x>@everyone [a](http://x) <!channel>\u202e{\\rtf1' + "z" * 256


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1_000_000


DUE = us("2026-11-23 07:00")  # a Monday


class Ledger:
    """Every customer, feature and model has the same sums, and the day two of them."""

    def __init__(self) -> None:
        self.fails = False
        self.asked = 0

    def __call__(self, method: str, params: Any) -> Any:
        self.asked += 1
        if self.fails:
            raise KeeperUnavailable("the keeper does not answer")
        if method != "sums":
            raise NotFound(method)
        groups, measures = list(params.group_by), list(params.measures)
        values = {"spend": "12.500000000000", "spend_estimated": "0", "calls": 4}
        times = {"day": ["2026-11-16", "2026-11-17"], "month": ["2026-11", "2026-11"]}
        group = [times.get(name, [NASTY, "globex"]) for name in groups]
        rows = 2 if groups else 1
        return {
            "columns": [*groups, *measures],
            "values": [*group, *([values.get(name, 0)] * rows for name in measures)],
        }


class Desk:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.ledger = Ledger()
        self.now_us = DUE
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.home / FILE_NAME)

    def restart(self) -> None:
        self.outbox.close()
        self.open()

    def mail(self, *channels: str, weekly_at: str = "mon 07:00", zone: str = "Europe/Berlin") -> WeeklyMail:
        facts = AskedFacts(self.ledger, list, lambda _as_of: Books({}, {}))
        return WeeklyMail(
            self.outbox, lambda: facts, lambda: self.now_us, channels=channels, weekly_at=weekly_at, time_zone=zone,
            dashboard_url="https://farebox.example",
        )  # fmt: skip

    def told(self) -> list[tuple[str, str]]:
        return sorted((alert.threshold, row.channel) for alert, rows in self.outbox.history(100) for row in rows)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.outbox.close()


def test_each_channel_is_told_of_a_week_once_from_its_moment_on(desk: Desk) -> None:
    desk.now_us = DUE - 1_000_000
    assert not desk.mail("ops", "mail").look()  # the one before is further back than three days
    desk.now_us = DUE
    assert desk.mail("ops", "mail", "ops").look()
    for hours in range(0, 7 * 24, 5):
        desk.now_us = DUE + hours * 3_600_000_000
        desk.restart()
        assert not desk.mail("ops", "mail").look()
    assert desk.told() == [("2026-11-16", "mail"), ("2026-11-16", "ops")]
    desk.now_us = us("2026-11-30 07:00")
    assert desk.mail("ops").look()
    assert desk.told()[2:] == [("2026-11-23", "ops")]


def test_after_a_rest_the_last_one_is_sent_within_three_days_and_no_other(desk: Desk) -> None:
    for days, sent in ((2.9, True), (3.1, False)):
        desk.now_us = DUE + int(days * 86_400_000_000)
        desk.outbox.close()
        (desk.home / FILE_NAME).unlink()
        desk.open()
        assert desk.mail("ops").look() is sent
        assert desk.told() == ([("2026-11-16", "ops")] if sent else [])


def test_another_moment_of_the_week_tells_nothing_twice(desk: Desk) -> None:
    assert desk.mail("ops").look()
    desk.now_us = DUE + timedelta(days=2) // timedelta(microseconds=1)
    assert not desk.mail("ops", weekly_at="wed 07:00").look()
    assert not desk.mail("ops", weekly_at="tue 01:30").look()


def test_without_channels_nothing_is_asked(desk: Desk) -> None:
    assert not desk.mail().look()
    assert desk.ledger.asked == 0


def test_what_cannot_be_made_is_made_at_a_later_look(desk: Desk) -> None:
    desk.ledger.fails = True
    assert not desk.mail("ops").look()
    assert desk.told() == []
    desk.ledger.fails = False
    desk.now_us += 3_600_000_000
    assert desk.mail("ops").look()


@contextmanager
def delivering(desk: Desk, *targets: Target, **options: Any) -> Iterator[dict[str, str]]:
    disabled: dict[str, str] = {}
    table = {target.id: target for target in targets}
    dispatcher = Dispatcher(
        desk.outbox, table.get, disabled.__setitem__, lambda: time.time_ns() // 1000, base_s=0.02,
        dashboard_url="https://farebox.example", **options,
    )  # fmt: skip
    dispatcher.start()
    try:
        yield disabled
    finally:
        dispatcher.stop()


def counts(desk: Desk, **wanted: int) -> Callable[[], bool]:
    return lambda: {name: desk.outbox.counts()[name] for name in wanted} == wanted


def test_mail_is_a_page_with_its_pictures_inside(desk: Desk) -> None:
    assert desk.mail("mail").look()
    with Mailbox() as mailbox:
        url = f"mailto://127.0.0.1:{mailbox.port}?from=farebox@example.com&to=ops@example.com"
        with delivering(desk, Target("mail", "mail", "apprise", url)):
            assert until(counts(desk, sent=1), 30)
    assert mailbox.recipients == ["<ops@example.com>"]
    message = email.message_from_string(mailbox.text, policy=policy.default)
    parts = {part.get_content_type(): part for part in message.walk()}
    html = parts["text/html"].get_content()
    assert "The week" in html and "$12.50" in html and "cid:chart1.png" in html
    assert "<b onmouseover" not in html and "\u202e" not in html and "z" * 90 not in html
    assert "href='https://farebox.example/reports/weekly?week=2026-11-16'" in html
    picture = parts["image/png"]
    assert picture["content-id"] == "<chart1.png>" and picture.get_content().startswith(b"\x89PNG")
    assert "AI cost $12.50 from 16 Nov to 22 Nov 2026" in message["subject"]


def test_other_services_get_text_and_a_failure_is_retried_then_a_dead_letter(desk: Desk) -> None:
    with Receiver() as good, Receiver() as bad:
        good.statuses = [500, 503]
        bad.statuses = [500] * 50
        assert desk.mail("good", "bad", "gone").look()
        hooks = [
            Target(name, name, "webhook", receiver.url, "fbw_secret", allow_private=True)
            for name, receiver in (("good", good), ("bad", bad))
        ]
        with delivering(desk, *hooks, attempts_max=4):
            assert until(counts(desk, sent=1, dead=2, pending=0), 30)
        assert len(good.got) == 3 and len(bad.got) == 4
        assert len({got.headers["x-farebox-delivery"] for got in good.got}) == 1
        said = good.got[-1].data
    assert said["kind"] == "report" and said["facts"] == {"report": "weekly", "week": "2026-11-16"}
    assert said["text"].startswith("AI cost $12.50") and "globex" in said["text"]
    assert said["link"] == "https://farebox.example/reports/weekly?week=2026-11-16"
    assert {letter.channel for letter in desk.outbox.dead()} == {"bad", "gone"}


def test_chats_are_not_called_and_not_linked_by_a_name() -> None:
    text = unlinked("@everyone <!channel> <@U1> <#C1> [a](http://x) @acme u@example.com a<b")
    assert text == (
        "@\u200beveryone <\u200b!channel> <\u200b@U1> <\u200b#C1> [a]\u200b(http://x) @acme u@example.com a<b"
    )


def test_an_outbox_of_before_takes_documents(tmp_path: Path) -> None:
    import sqlite3

    Outbox(tmp_path / FILE_NAME).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DROP TABLE documents")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    outbox = Outbox(tmp_path / FILE_NAME)
    finding = Finding("weekly", "report", "weekly", "2026-11-16", 1)
    said = Message("t", "x", "/p"), Document("<p>", {"a.png": b"\x89"})
    assert outbox.post(finding, *said, ["ops"], 5) is not None
    assert outbox.post(finding, *said, ["ops"], 6) is None
    delivery = outbox.next_due("ops", 9)
    assert delivery is not None and delivery.document == said[1]
    outbox.close()


BOT = "slack://xoxb-1234567890-1234567890123-abcdefghijklmnopqrstuvwx/#founders"


@pytest.mark.parametrize("may_upload", [True, False])
def test_a_slack_bot_says_it_once_and_shows_the_pictures(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, may_upload: bool
) -> None:
    from apprise.plugins.slack import NotifySlack

    with Slack(may_upload=may_upload) as slack:
        monkeypatch.setattr(NotifySlack, "api_url", f"{slack.url}/api/{{}}")
        assert desk.mail("founders").look()
        with delivering(desk, Target("founders", "founders", "apprise", BOT)):
            assert until(counts(desk, sent=1, dead=0, pending=0), 30)
    texts = [json.dumps(said) for said in slack.said]
    assert sum("AI cost $12.50" in text for text in texts) == 1
    assert any("https://farebox.example/reports/weekly" in text for text in texts)
    if may_upload:
        assert slack.files and all(picture.find(b"\x89PNG") >= 0 for picture in slack.files.values())
        assert {shared["channel_id"] for shared in slack.shared} == {"C0123456789"}
    else:
        assert slack.files == {}
