"""What was found is kept once; what must be told is told until it was taken or is given up."""

import subprocess
import sys
from pathlib import Path

import pytest

from farebox.alerts.outbox import DAY_US, HOUR_US, Outbox
from farebox.core.alert_rules import Rule, read_spec
from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding
from farebox.errors import AlertsError, NotFound

NOW = 1_790_000_000_000_000
RULE = Rule("alr_1", read_spec("limit", {}), ("chn_1", "chn_2"))
SAID = Message("title", "text", "/limits", "warning")


def finding(subject: str = "acme", threshold: str = "0.8", start_us: int = NOW) -> Finding:
    return Finding("alr_1", "limit", subject, threshold, start_us, {"used": "4.02"})


def test_a_finding_is_kept_once_and_told_to_each_channel(outbox: Outbox) -> None:
    alert = outbox.record(RULE, finding(), SAID, NOW)
    assert alert is not None
    assert outbox.record(RULE, finding(), SAID, NOW + 1) is None
    ((found, deliveries),) = outbox.history(10)
    assert found == alert
    assert [entry.channel for entry in sorted(deliveries, key=lambda entry: entry.channel)] == ["chn_1", "chn_2"]
    assert outbox.counts() == {"pending": 2, "sent": 0, "dead": 0}


def test_another_threshold_subject_or_window_is_another_finding(outbox: Outbox) -> None:
    others = [finding(), finding("globex"), finding(threshold="1"), finding(start_us=NOW + 1)]
    assert all(outbox.record(RULE, other, SAID, NOW) for other in others)


def test_without_channels_there_is_only_the_history(outbox: Outbox) -> None:
    assert outbox.record(Rule("alr_1", RULE.spec), finding(), SAID, NOW)
    assert outbox.channels_due(NOW) == []
    assert len(outbox.history(10)) == 1


def test_a_restart_changes_nothing(outbox: Outbox, tmp_path: Path) -> None:
    outbox.record(RULE, finding(), SAID, NOW)
    again = Outbox(tmp_path / "alerts.sqlite3")
    assert again.record(RULE, finding(), SAID, NOW) is None
    assert sorted(again.channels_due(NOW)) == ["chn_1", "chn_2"]
    again.close()


def test_several_processes_keep_a_finding_once(outbox: Outbox, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from farebox.alerts.outbox import Outbox
from farebox.core.alert_rules import Rule, read_spec
from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding
outbox = Outbox(Path({str(tmp_path / "alerts.sqlite3")!r}))
rule = Rule("alr_1", read_spec("limit", {{}}), ("chn_1",), hourly_max=1000)
for number in range(50):
    outbox.record(rule, Finding("alr_1", "limit", str(number), "1", 0), Message("t", "t", "/"), {NOW})
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(outbox.history(1000)) == outbox.counts()["pending"] == 50


def test_a_failed_delivery_waits_for_its_time(outbox: Outbox) -> None:
    outbox.record(RULE, finding(), SAID, NOW)
    delivery = outbox.next_due("chn_1", NOW)
    assert delivery is not None
    outbox.failed(delivery, "no answer", NOW + 30, NOW)
    assert outbox.next_due("chn_1", NOW + 29) is None
    again = outbox.next_due("chn_1", NOW + 30)
    assert again is not None
    assert (again.id, again.attempts, again.error) == (delivery.id, 1, "no answer")
    outbox.sent(again, NOW + 31)
    assert outbox.counts() == {"pending": 1, "sent": 1, "dead": 0}


def test_dead_letters_are_sent_again_by_their_id_or_their_alert(outbox: Outbox) -> None:
    alert = outbox.record(RULE, finding(), SAID, NOW)
    assert alert is not None
    delivery = outbox.next_due("chn_1", NOW)
    assert delivery is not None
    outbox.failed(delivery, "gone", None, NOW)
    assert outbox.bury("chn_2", "the channel was removed", NOW) == 1
    assert {letter.error for letter in outbox.dead()} == {"gone", "the channel was removed"}
    assert [entry.id for entry in outbox.retry(delivery.id, NOW + 5)] == [delivery.id]
    assert outbox.next_due("chn_1", NOW + 5) is not None
    assert len(outbox.retry(alert.id, NOW + 5)) == 1
    with pytest.raises(NotFound, match="alerts dead"):
        outbox.retry(delivery.id, NOW)


def test_a_flood_is_told_once_an_hour(outbox: Outbox) -> None:
    rule = Rule("alr_1", RULE.spec, ("chn_1",), hourly_max=3)
    for number in range(10):
        outbox.record(rule, finding(str(number)), SAID, NOW)
    history = outbox.history(100)
    assert sum(alert.held_back for alert, _ in history) == 7
    assert outbox.counts()["pending"] == 4
    assert any("3 alerts" in alert.message.text for alert, _ in history)
    outbox.record(rule, finding("later"), SAID, NOW + HOUR_US)
    assert outbox.counts()["pending"] == 5


def test_history_is_read_in_pages_newest_first(outbox: Outbox) -> None:
    for number in range(5):
        outbox.record(RULE, finding(str(number)), SAID, NOW + number)
    first = outbox.history(2)
    second = outbox.history(10, first[-1][0].id)
    assert [alert.subject for alert, _ in (*first, *second)] == ["4", "3", "2", "1", "0"]
    assert outbox.history(10, kind="unpriced") == []
    with pytest.raises(NotFound):
        outbox.history(1, "al_none")


def test_what_is_old_is_forgotten_unless_it_waits_or_could_be_found_again(outbox: Outbox) -> None:
    rule = Rule("alr_1", RULE.spec)
    outbox.record(rule, finding("told"), SAID, NOW)
    outbox.record(rule, finding("lifetime", start_us=0), SAID, NOW)
    outbox.record(RULE, finding("waiting"), SAID, NOW)
    assert outbox.retain(0, NOW + 100 * DAY_US) == 0
    assert outbox.retain(50, NOW + 49 * DAY_US) == 0
    assert outbox.retain(50, NOW + 51 * DAY_US) == 1
    assert {alert.subject for alert, _ in outbox.history(10)} == {"lifetime", "waiting"}


def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "alerts.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(AlertsError, match="cannot be used"):
        Outbox(tmp_path / "alerts.sqlite3")


def test_a_damaged_outbox_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "alerts.sqlite3"
    path.write_bytes(b"this is not a database" * 100)
    outbox = Outbox.usable(path)
    assert outbox.record(RULE, finding(), SAID, NOW)
    assert (tmp_path / "alerts.sqlite3.damaged").read_bytes().startswith(b"this is not")
    outbox.close()
    again = Outbox.usable(path)
    assert len(again.history(10)) == 1
    again.close()


def test_only_its_owner_may_read_it(outbox: Outbox, tmp_path: Path) -> None:
    assert (tmp_path / "alerts.sqlite3").stat().st_mode & 0o077 == 0
