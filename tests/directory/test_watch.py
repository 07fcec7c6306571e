import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farebox.directory.rows import KeySpec
from farebox.directory.snapshot import Snapshot
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.errors import DirectoryError, SecretsError
from farebox.settings import ProviderSettings, Settings

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.settings import Settings

vault = Vault(bytes(32))
wanted = vault.key_hash(sys.argv[2])
gone = []
settings = Settings(data=Path(sys.argv[1]))
watcher = SnapshotWatcher(settings, lambda seen: gone.append(wanted not in seen.keys), vault=vault, env={})
watcher.start()
print(wanted in watcher.current.keys, flush=True)
while not (gone and gone[-1]):
    time.sleep(0.005)
print(time.time(), "sqlalchemy" in sys.modules, flush=True)
"""


@pytest.fixture
def changes() -> list[Snapshot]:
    return []


@pytest.fixture
def watcher(
    directory: Directory, settings: Settings, vault: Vault, changes: list[Snapshot]
) -> Iterator[SnapshotWatcher]:
    made = SnapshotWatcher(settings, changes.append, vault=vault, env={})
    made.start()
    yield made
    made.stop()


def until(condition: Callable[[], object], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_revoked_key_is_out_of_force_in_another_process_within_a_second(
    directory: Directory, settings: Settings
) -> None:
    row, secret = directory.keys.create(KeySpec(name="app"))
    command = [sys.executable, "-c", OTHER_PROCESS, str(settings.data), secret]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        revoked_at = time.time()
        directory.keys.revoke(row.id)
        seen_at, has_sqlalchemy = other.stdout.readline().split()
    assert float(seen_at) - revoked_at < 1
    assert has_sqlalchemy == "False", "a worker stays lean"


def test_each_change_arrives_as_a_whole_new_snapshot(
    watcher: SnapshotWatcher, directory: Directory, vault: Vault, changes: list[Snapshot]
) -> None:
    before = watcher.current
    row, secret = directory.keys.create(
        KeySpec(name="app", bind={"tenant": "acme"}, models=("gpt-*",), trust=("tier",))
    )
    until(lambda: changes)
    view = changes[-1].keys[vault.key_hash(secret)]
    assert (view.id, view.bind, view.models, view.trust) == (
        row.id,
        {"tenant": "acme"},
        ("gpt-*",),
        frozenset({"tier"}),
    )
    assert before.keys == {}
    assert watcher.current.revision == directory.revision


def test_changes_add_up(watcher: SnapshotWatcher, directory: Directory, vault: Vault) -> None:
    made = [directory.keys.create(KeySpec(name=str(number))) for number in range(5)]
    until(lambda: len(watcher.current.keys) == 5)
    directory.keys.revoke(made[0][0].id)
    _, new = directory.keys.rotate(made[1][0].id, overlap_s=60)
    directory.keys.update(made[2][0].id, KeySpec(name="renamed"))
    until(lambda: watcher.current.revision == directory.revision)
    keys = watcher.current.keys
    assert vault.key_hash(made[0][1]) not in keys
    assert keys[vault.key_hash(made[1][1])].expires_at_s == pytest.approx(time.time() + 60, abs=10)
    assert keys[vault.key_hash(new)].expires_at_s is None
    assert keys[vault.key_hash(made[2][1])].name == "renamed"
    assert len(keys) == 5


def test_providers_and_prices_follow_too(watcher: SnapshotWatcher, directory: Directory) -> None:
    directory.providers.set("local", base_url="http://127.0.0.1:1", credential="sk-1")
    directory.add_price_rows([{"id": "a"}])
    until(lambda: watcher.current.revision == directory.revision)
    assert watcher.current.providers["local"].credential == "sk-1"
    assert watcher.current.price_overrides == ({"id": "a"},)


def test_a_key_never_outlives_its_own_expiry_through_an_overlap(
    watcher: SnapshotWatcher, directory: Directory, vault: Vault
) -> None:
    end_us = time.time_ns() // 1000 + 60_000_000
    row, old = directory.keys.create(KeySpec(name="a", expires_at_us=end_us))
    directory.keys.rotate(row.id, overlap_s=3600)
    until(lambda: watcher.current.revision == directory.revision)
    assert watcher.current.keys[vault.key_hash(old)].expires_at_s == end_us / 1_000_000


def test_the_watcher_outlives_a_listener_that_fails(directory: Directory, settings: Settings, vault: Vault) -> None:
    failures = [True]
    arrived = threading.Event()

    def listen(_: Snapshot) -> None:
        if failures:
            failures.pop()
            raise ValueError("not yet")
        arrived.set()

    watcher = SnapshotWatcher(settings, listen, vault=vault, env={})
    watcher.start()
    directory.keys.create(KeySpec(name="a"))
    until(lambda: not failures)
    directory.keys.create(KeySpec(name="b"))
    assert arrived.wait(5)
    until(lambda: watcher.error is None)
    watcher.stop()


def test_a_file_that_was_replaced_is_read_anew(
    watcher: SnapshotWatcher, directory: Directory, settings: Settings, vault: Vault, tmp_path: Path
) -> None:
    for number in range(3):
        directory.keys.create(KeySpec(name=str(number)))
    until(lambda: len(watcher.current.keys) == 3)
    backup = Settings(data=tmp_path / "backup")
    other = Directory.open(backup, vault)
    row, _ = other.keys.create(KeySpec(name="from the backup"))
    other.close()
    directory.close()
    for suffix in ("-wal", "-shm"):
        (settings.data / f"directory.sqlite3{suffix}").unlink(missing_ok=True)
    (backup.data / "directory.sqlite3").rename(settings.data / "directory.sqlite3")
    until(lambda: [view.id for view in watcher.current.keys.values()] == [row.id])


def test_without_a_directory_or_with_another_key_it_does_not_start(settings: Settings, vault: Vault) -> None:
    with pytest.raises(DirectoryError, match="no directory"):
        SnapshotWatcher(settings, vault=vault, env={})
    Directory.open(settings, vault).close()
    with pytest.raises(SecretsError):
        SnapshotWatcher(settings, vault=Vault(bytes(31) + b"1"), env={})


def test_a_credential_that_cannot_be_opened_leaves_the_rest_in_force(
    directory: Directory, settings: Settings, vault: Vault
) -> None:
    directory.providers.set("a", base_url="http://a", credential="sk-1")
    directory.providers.set("b", base_url="http://b", credential="sk-2")
    with directory.changing("test") as change:
        change.connection.exec_driver_sql("UPDATE providers SET credential = x'00' WHERE name = 'a'")
    watcher = SnapshotWatcher(settings, vault=vault, env={})
    assert watcher.current.providers["a"].credential is None
    assert watcher.current.providers["b"].credential == "sk-2"
    assert "provider/a" in (watcher.error or "")
    watcher.stop()


def test_a_worker_reads_the_same_directory_that_settings_name(
    directory: Directory, settings: Settings, vault: Vault
) -> None:
    custom = Settings(data=settings.data, providers={"x": ProviderSettings(base_url="http://x", credential="sk-x")})
    watcher = SnapshotWatcher(custom, vault=vault, env={})
    assert watcher.current.providers["x"].credential == "sk-x"
    watcher.stop()
