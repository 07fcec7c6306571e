"""What waits on disk: whole or not there, bounded, and never in the way of an app."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from scripted import until

from farebox.client.door import Door
from farebox.client.sender import QUEUE_MAX, UNREAD_MAX, Sender
from farebox.client.spool import BYTES_MAX, Spool, usual_place
from farebox.core.posting import EVENTS_MAX

ITEM = ("event", {"id": "e1"})


def test_a_batch_is_read_back_as_it_was(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert spool.put([ITEM, ("outcome", {"id": "o1"})])
    (file,) = spool.files()
    assert file.stat().st_mode & 0o077 == 0
    assert spool.read(file) == [ITEM, ("outcome", {"id": "o1"})]
    spool.done(file)
    assert spool.files() == []


def test_beyond_its_bound_nothing_is_kept_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "1.events.json").touch()
    with (tmp_path / "1.events.json").open("r+b") as file:
        file.truncate(BYTES_MAX)
    assert not spool.put([ITEM])
    assert "1 events are lost" in caplog.text
    assert len(spool.files()) == 1


def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "1.events.json").write_bytes(b"[[")
    assert spool.read(spool.files()[0]) == []
    assert spool.files() == []
    assert spool.read(tmp_path / "gone.events.json") == []


def test_what_is_more_than_memory_may_hold_goes_to_disk(tmp_path: Path) -> None:
    door = Door("http://127.0.0.1:1", "fbx_none", fail_open=True)
    sender = Sender(door, Spool(tmp_path))
    for number in range(QUEUE_MAX + 300):
        sender.put("event", {"id": str(number)})
    sender.close(1)
    batches = [Spool(tmp_path).read(file) for file in Spool(tmp_path).files()]
    assert max(len(batch) for batch in batches) <= EVENTS_MAX
    kept = [document["id"] for batch in batches for _, document in batch]
    assert sorted(kept, key=int) == [str(number) for number in range(QUEUE_MAX + 300)]
    door.close()


def test_without_a_home_to_write_to_events_wait_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert usual_place() == tmp_path / f"farebox-{os.getuid()}"
    assert usual_place().stat().st_mode & 0o077 == 0
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert usual_place() == tmp_path / "home" / ".cache" / "farebox"


def test_a_directory_that_somebody_else_laid_out_is_not_sent_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc/nowhere")
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"farebox-{os.getuid()}").symlink_to(tmp_path / "theirs")
    place = usual_place()
    assert place.parent == tmp_path
    assert place not in (tmp_path / f"farebox-{os.getuid()}", tmp_path / "theirs")


class Listening(Door):
    """Takes all that is sent, and keeps how much came each time."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "fbx_none", fail_open=True)
        self.batches: list[list[str]] = []

    def post(self, path: str, body: object) -> dict[str, Any]:
        assert isinstance(body, dict)
        self.batches.append([event["id"] for event in body["events"]])
        return {}


def test_calls_that_follow_each_other_are_sent_together(tmp_path: Path) -> None:
    door = Listening()
    sender = Sender(door, Spool(tmp_path))
    for number in range(20):
        sender.put("event", {"id": str(number)})
        time.sleep(0.001)
    assert until(lambda: bool(door.batches))
    assert sender.flush(5)
    assert [name for batch in door.batches for name in batch] == [str(number) for number in range(20)]
    assert len(door.batches) <= 5, "they did not set off one by one"
    sender.close(1)


def test_what_comes_after_a_pause_wakes_the_sender_again(tmp_path: Path) -> None:
    door = Listening()
    sender = Sender(door, Spool(tmp_path))
    for number in range(2):
        sender.put("event", {"id": str(number)})
        assert until(lambda wanted=number + 1: len(door.batches) == wanted)  # type: ignore[misc]
        assert until(lambda: sender._is_idle)
    sender.close(1)
    assert door.batches == [["0"], ["1"]]


def test_nothing_is_lost_of_what_several_threads_put_while_it_is_closed(tmp_path: Path) -> None:
    door = Listening()
    sender = Sender(door, Spool(tmp_path))

    def work(thread: int) -> None:
        for number in range(500):
            sender.put("event", {"id": f"{thread}-{number}"})

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    sender.close(5)
    for thread in threads:
        thread.join()
    spool = Spool(tmp_path)
    kept = [str(document["id"]) for file in spool.files() for _, document in spool.read(file)]
    sent = [name for batch in door.batches for name in batch]
    assert sorted(sent + kept) == sorted(f"{thread}-{number}" for thread in range(4) for number in range(500))


class Call:
    """One whose answer is read when its event is asked for."""

    def __init__(self, number: int, *, broken: bool = False) -> None:
        self.id = str(number)
        self.broken = broken
        self.read_in: str | None = None

    def event(self) -> dict[str, object]:
        self.read_in = threading.current_thread().name
        if self.broken:
            raise ValueError("no reader is for this")
        return {"id": self.id}


def test_answers_are_read_by_who_sends_their_events(tmp_path: Path) -> None:
    door = Listening()
    sender = Sender(door, Spool(tmp_path))
    calls = [Call(number) for number in range(5)]
    for call in calls:
        sender.put("event", call)
    assert sender.flush(5)
    sender.close(1)
    assert [name for batch in door.batches for name in batch] == ["0", "1", "2", "3", "4"]
    assert {call.read_in for call in calls} == {"farebox-sender"}


def test_a_call_that_cannot_be_read_takes_no_other_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    door = Listening()
    sender = Sender(door, Spool(tmp_path))
    for number in range(3):
        sender.put("event", Call(number, broken=number == 1))
    assert sender.flush(5)
    sender.close(1)
    assert [name for batch in door.batches for name in batch] == ["0", "2"]
    assert "call 1 cannot be metered" in caplog.text


def test_what_waits_unread_is_bounded_and_goes_to_disk_with_the_rest(tmp_path: Path) -> None:
    door = Door("http://127.0.0.1:1", "fbx_none", fail_open=True)
    sender = Sender(door, Spool(tmp_path))
    sender._is_idle = False  # nobody wakes the thread: all of it waits
    calls = [Call(number) for number in range(UNREAD_MAX + 3)]
    for call in calls:
        sender.put("event", call)
    here = threading.current_thread().name
    assert [call.id for call in calls if call.read_in == here] == [str(UNREAD_MAX + more) for more in range(3)]
    sender.close(0)
    spool = Spool(tmp_path)
    kept = [str(document["id"]) for file in spool.files() for _, document in spool.read(file)]
    assert sorted(kept, key=int) == [call.id for call in calls]
    door.close()
