"""What the journal promises: order, wholeness, and a loud word where something is not whole."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from farebox.errors import JournalFull
from farebox.ledger.journal import JournalWriter, is_alive
from farebox.ledger.reader import JournalReader, Position
from farebox.ledger.segments import HEADER, MAGIC, segment_numbers, segment_path
from farebox.ledger.slots import read_slot

ID = "01930000-0000-7000-8000-00000000000"


def records(count: int, size: int = 100) -> list[bytes]:
    return [f"{index:08d}".encode() + os.urandom(size + index % 37) for index in range(count)]


def read_all(reader: JournalReader, *, alive: bool) -> list[bytes]:
    found: list[bytes] = []
    while True:
        batch = reader.read(1000, alive=alive)
        found += batch.records
        if batch.ended or not batch.records:
            return found


def test_what_is_appended_is_read_in_order_over_segments(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", segment_bytes=4096)
    reader = JournalReader(writer.directory)
    written = records(500)
    found = []
    for index, record in enumerate(written):
        writer.append(record)
        if index % 50 == 0:
            found += read_all(reader, alive=True)
    writer.close()
    found += read_all(reader, alive=False)
    assert found == written
    assert writer.records_written == 500
    assert reader.read(10, alive=False).ended


def test_a_record_larger_than_a_segment_is_kept(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a", segment_bytes=4096)
    written = [b"small", os.urandom(20_000), b"small again", os.urandom(9_000_000), b"last"]
    for record in written:
        writer.append(record)
    assert read_all(JournalReader(writer.directory), alive=True) == written
    writer.close()


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a")
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700
    assert stat.S_IMODE(writer.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in writer.directory.iterdir()} == {0o600}
    writer.close()


def test_a_clean_end_gives_back_unused_space_and_the_lock(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a")
    writer.append(b"x" * 100)
    assert is_alive(writer.directory)
    writer.close()
    writer.close()
    assert not is_alive(writer.directory)
    assert segment_numbers(writer.directory) == [1]
    assert segment_path(writer.directory, 1).stat().st_size < 200


def test_reading_goes_on_from_a_kept_position(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a", segment_bytes=4096)
    written = records(200)
    for record in written:
        writer.append(record)
    first = JournalReader(writer.directory).read(70, alive=True)
    rest = read_all(JournalReader(writer.directory, first.position), alive=True)
    assert first.records + rest == written
    writer.close()


def killed_journal(directory: Path, count: int) -> Path:
    """A journal whose writer was killed (-9) after `count` records of 100 bytes."""
    program = """
        import sys, time
        from pathlib import Path
        from farebox.ledger.journal import JournalWriter
        writer = JournalWriter(Path(sys.argv[1]), segment_bytes=1 << 16)
        for index in range(int(sys.argv[2])):
            writer.append(b"%08d" % index + b"." * 92)
        print("ready", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(directory), str(count)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        assert is_alive(directory)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not is_alive(directory)
    return directory


def test_nothing_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 5000)
    reader = JournalReader(directory)
    found: list[bytes] = []
    faults = []
    ended = False
    while not ended:
        batch = reader.read(700, alive=False)
        found += batch.records
        faults += batch.faults
        ended = batch.ended
    assert [int(record[:8]) for record in found] == list(range(5000))
    assert faults == []


def test_a_torn_tail_is_cut_and_reported(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 10)
    reader = JournalReader(directory)
    end = reader.read(100, alive=True).position
    with segment_path(directory, 1).open("r+b") as file:
        file.seek(end.offset)
        file.write(HEADER.pack(100, 12345) + b"half a record")
    batch = JournalReader(directory).read(100, alive=False)
    assert len(batch.records) == 10
    assert batch.ended
    assert [fault.kind for fault in batch.faults] == ["torn"]


def test_a_record_in_progress_is_waited_for_while_the_writer_lives(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 3)
    end = JournalReader(directory).read(100, alive=True).position
    with segment_path(directory, 1).open("r+b") as file:
        file.seek(end.offset)
        file.write(HEADER.pack(100, 12345) + b"half")
    batch = JournalReader(directory).read(100, alive=True)
    assert (len(batch.records), batch.ended, batch.faults) == (3, False, ())


def test_damage_in_the_middle_is_reported_and_the_rest_recovered(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 2000)
    with segment_path(directory, 1).open("r+b") as file:
        file.seek(len(MAGIC) + 112 * 5 + 20)  # inside the sixth record
        file.write(b"?")
    batch = JournalReader(directory).read(5000, alive=False)
    assert [int(record[:8]) for record in batch.records] == [*range(5), *range(6, 2000)]
    assert [(fault.kind, fault.segment) for fault in batch.faults] == [("corrupt", 1)]
    assert batch.ended


def test_a_missing_segment_is_reported(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 2000)
    segment_path(directory, 2).unlink()
    batch = JournalReader(directory).read(5000, alive=False)
    assert [fault.kind for fault in batch.faults] == ["missing"]
    assert batch.records[-1][:8] == b"00001999"


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    directory = killed_journal(tmp_path / "a", 400)
    path = segment_path(directory, 1)
    whole = path.read_bytes()
    for seed in range(60):
        at = (seed * 7919) % 40_000
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 + seed)]) + whole[at + 1 :])
        batch = JournalReader(directory).read(5000, alive=False)
        assert batch.ended
        assert len(batch.records) >= 398
    path.write_bytes(whole)
    assert JournalReader(directory).read(5000, alive=False).position > Position()


def test_a_full_disk_refuses_and_then_recovers_by_itself(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a", segment_bytes=8192)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = []
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(JournalFull, match="free disk space"):
            for index in range(1000):
                record = b"%08d" % index + b"." * 92
                writer.append(record)
                written.append(record)
        assert writer.full
        assert writer.last_error is not None
        assert os.strerror(errno.EFBIG) in writer.last_error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    time.sleep(0.11)
    writer.append(b"again")
    assert not writer.full
    assert read_all(JournalReader(writer.directory), alive=True) == [*written, b"again"]
    writer.close()


def test_fsync_each_syncs_within_the_append(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a", segment_bytes=4096, fsync_each=True)
    for record in records(100):
        writer.append(record)
    writer.sync()
    writer.close()
    assert writer.last_error is None


def test_slots_keep_the_last_counts_of_a_killed_process(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "a", slots_max=2)
    first, second = writer.slots.open(f"{ID}1"), writer.slots.open(f"{ID}2")
    assert writer.slots.open(f"{ID}3") == -1
    writer.slots.update(first, 1200, 34, True)
    path = writer.directory / "open.slots"
    view = read_slot(path, first, f"{ID}1")
    assert view is not None
    assert (view.input_tokens, view.output_tokens, view.sent) == (1200, 34, True)
    unsent = read_slot(path, second, f"{ID}2")
    assert unsent is not None
    assert not unsent.sent
    assert read_slot(path, second, f"{ID}9") is None
    assert read_slot(path, -1, f"{ID}1") is None
    writer.slots.close(second)
    assert read_slot(path, second, f"{ID}2") is None
    assert writer.slots.open(f"{ID}4") == second
    writer.close()
