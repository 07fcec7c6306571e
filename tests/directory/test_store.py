import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from farebox.directory import schema, sqlite
from farebox.directory.migrating import HEAD, SCRIPTS
from farebox.directory.rows import KeySpec
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.errors import AlreadyExists, DirectoryError, FareboxError, NotFound, SecretsError
from farebox.settings import Settings

NOW = time.time_ns() // 1000
DAY_US = 86_400_000_000


def test_files_are_readable_by_their_owner_only(directory: Directory, settings: Settings) -> None:
    directory.keys.create(KeySpec(name="a"))
    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700
    for path in settings.data.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_secret_is_kept_only_as_its_hash(directory: Directory, settings: Settings, vault: Vault) -> None:
    _, secret = directory.keys.create(KeySpec(name="a"))
    _, token = directory.tokens.create("t", "admin")
    directory.providers.set("openai", credential="sk-very-secret-credential")
    directory.close()
    stored = b"".join(path.read_bytes() for path in settings.data.glob("directory.sqlite3*"))
    assert vault.key_hash(secret) in stored
    for raw in (secret, token, "sk-very-secret-credential"):
        assert raw.encode() not in stored


def test_a_key_is_found_by_its_secret_until_it_is_revoked(directory: Directory) -> None:
    row, secret = directory.keys.create(KeySpec(name="app", bind={"tenant": "acme"}))
    assert directory.keys.verify(secret, NOW) == row
    assert directory.keys.verify(secret + "x", NOW) is None
    directory.keys.revoke(row.id)
    assert directory.keys.verify(secret, NOW) is None
    assert directory.keys.revoke(row.id).revoked_at_us is not None


def test_a_key_ends_when_it_expires(directory: Directory) -> None:
    row, secret = directory.keys.create(KeySpec(name="app", expires_at_us=NOW + DAY_US))
    assert directory.keys.verify(secret, NOW) == row
    assert directory.keys.verify(secret, NOW + DAY_US) is None
    with pytest.raises(DirectoryError, match="expired already"):
        directory.keys.create(KeySpec(name="late", expires_at_us=1))


def test_a_rotated_key_works_with_both_secrets_until_the_overlap_ends(directory: Directory) -> None:
    row, old = directory.keys.create(KeySpec(name="app"))
    _, new = directory.keys.rotate(row.id, overlap_s=3600)
    soon, later = NOW + 60_000_000, NOW + 2 * 3_600_000_000
    assert directory.keys.verify(old, soon) == directory.keys.verify(new, soon) == row
    assert directory.keys.verify(old, later) is None
    assert directory.keys.verify(new, later) == row


def test_without_overlap_the_old_secret_ends_at_once(directory: Directory) -> None:
    row, old = directory.keys.create(KeySpec(name="app"))
    _, between = directory.keys.rotate(row.id, overlap_s=3600)
    _, new = directory.keys.rotate(row.id)
    assert [directory.keys.verify(raw, NOW) for raw in (old, between)] == [None, None]
    assert directory.keys.verify(new, NOW) == row


def test_at_most_two_secrets_of_a_key_work(directory: Directory) -> None:
    row, first = directory.keys.create(KeySpec(name="app"))
    _, second = directory.keys.rotate(row.id, overlap_s=3600)
    _, third = directory.keys.rotate(row.id, overlap_s=3600)
    assert directory.keys.verify(first, NOW) is None
    assert directory.keys.verify(second, NOW) == directory.keys.verify(third, NOW) == row


def test_a_revoked_key_cannot_be_brought_back(directory: Directory) -> None:
    row, _ = directory.keys.create(KeySpec(name="app"))
    directory.keys.revoke(row.id)
    with pytest.raises(DirectoryError):
        directory.keys.rotate(row.id)
    with pytest.raises(DirectoryError):
        directory.keys.update(row.id, KeySpec(name="app"))


def test_a_key_can_be_named_where_only_one_has_the_name(directory: Directory) -> None:
    row, _ = directory.keys.create(KeySpec(name="app"))
    assert directory.keys.get("app") == row
    directory.keys.create(KeySpec(name="app"))
    with pytest.raises(DirectoryError, match="2 keys"):
        directory.keys.get("app")
    with pytest.raises(NotFound):
        directory.keys.get("other")


def test_a_change_of_a_key_keeps_its_secret(directory: Directory) -> None:
    row, secret = directory.keys.create(KeySpec(name="app", models=("gpt-*",)))
    changed = directory.keys.update(row.id, KeySpec(name="app", bind={"tenant": "acme"}))
    assert directory.keys.verify(secret, NOW) == changed
    assert (changed.bind, changed.models) == ({"tenant": "acme"}, ())


def test_dimensions_go_by_their_own_names(directory: Directory) -> None:
    spec = KeySpec(name="a", bind={"customer_id": "acme", "tag.region": "eu"}, require=("user_id",), trust=("plan",))
    row, _ = directory.keys.create(spec)
    assert row.bind == {"tenant": "acme", "tag.region": "eu"}
    assert (row.require, row.trust) == (("user",), ("tier",))


@pytest.mark.parametrize(
    "spec",
    [
        KeySpec(name=""),
        KeySpec(name=" a"),
        KeySpec(name="a\nb"),
        KeySpec(name="x" * 201),
        KeySpec(name="a", bind={"region": "eu"}),
        KeySpec(name="a", bind={"tenant": ""}),
        KeySpec(name="a", bind={"tenant": "x" * 257}),
        KeySpec(name="a", bind={"tenant": "a\r\nb"}),
        KeySpec(name="a", require=("nothing",)),
        KeySpec(name="a", trust=("nothing",)),
        KeySpec(name="a", audience="everyone"),
        KeySpec(name="a", models=("",)),
        KeySpec(name="a", models=("x",) * 65),
    ],
)
def test_a_key_that_cannot_be_is_refused(spec: KeySpec, directory: Directory) -> None:
    with pytest.raises(DirectoryError):
        directory.keys.create(spec)
    assert directory.keys.list() == []
    assert directory.revision == 0


def test_a_token_is_found_by_its_secret_until_it_is_revoked(directory: Directory) -> None:
    row, secret = directory.tokens.create("ops", "analyst", NOW + DAY_US)
    assert directory.tokens.verify(secret, NOW) == row
    assert directory.tokens.verify(secret, NOW + DAY_US) is None
    directory.tokens.revoke(row.id)
    assert directory.tokens.verify(secret, NOW) is None
    with pytest.raises(NotFound):
        directory.tokens.revoke("tok_none")
    with pytest.raises(DirectoryError):
        directory.tokens.create("ops", "owner")


def test_a_credential_is_sealed_and_opens_again(directory: Directory) -> None:
    row = directory.providers.set("openai", credential=" sk-0123456789abcdef \n")
    assert directory.providers.credential(row) == "sk-0123456789abcdef"
    assert row.credential_hint == "…cdef"
    assert directory.providers.get("openai") == row


def test_a_new_address_clears_the_stored_credential(directory: Directory) -> None:
    directory.providers.set("openai", credential="sk-0123456789abcdef")
    row = directory.providers.set("openai", base_url="https://elsewhere.example/")
    assert row.base_url == "https://elsewhere.example"
    assert row.credential is None
    both = directory.providers.set("openai", base_url="https://third.example", credential="sk-new")
    assert directory.providers.credential(both) == "sk-new"
    same = directory.providers.set("openai", base_url="https://third.example/")
    assert same.credential == both.credential


def test_what_is_not_given_stays_and_an_empty_text_takes_back(directory: Directory) -> None:
    directory.providers.set("x", base_url="http://a", headers={"h": "1"}, tls_verify=False)
    row = directory.providers.set("x", credential="sk-1")
    assert (row.base_url, row.headers, row.tls_verify) == ("http://a", {"h": "1"}, False)
    assert directory.providers.set("x", credential="").credential is None
    assert directory.providers.set("x", base_url="").base_url == ""


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "http://169.254.169.254"},
        {"base_url": "nowhere"},
        {"credential": "a\r\nb"},
        {"credential": "schlüssel"},
        {"headers": {"x\r\ny": "1"}},
        {"headers": {"x": "1\r\ny: 2"}},
        {"headers": {"host": "evil"}},
        {"wire": "no-such-format"},
    ],
)
def test_a_provider_that_cannot_be_is_refused(given: dict[str, str], directory: Directory) -> None:
    with pytest.raises(FareboxError):
        directory.providers.set("openai", **given)
    assert directory.providers.get("openai") is None


def test_a_removed_provider_is_forgotten(directory: Directory) -> None:
    directory.providers.set("x", base_url="http://a")
    directory.providers.remove("x")
    assert directory.providers.list() == []
    with pytest.raises(NotFound):
        directory.providers.remove("x")


def test_price_rows_are_only_ever_added(directory: Directory) -> None:
    directory.add_price_rows([{"id": "a", "n": 1}, {"id": "b"}])
    with pytest.raises(AlreadyExists):
        directory.add_price_rows([{"id": "c"}, {"id": "a", "n": 2}])
    with pytest.raises(AlreadyExists):
        directory.add_price_rows([{"id": "d"}, {"id": "d"}])
    with pytest.raises(DirectoryError):
        directory.add_price_rows([{"n": 1}])
    assert directory.list_price_rows() == [{"id": "a", "n": 1}, {"id": "b"}]


def test_each_change_counts_the_revision_up_and_is_logged_without_secrets(directory: Directory) -> None:
    row, secret = directory.keys.create(KeySpec(name="app"), by="shell:ann")
    directory.providers.set("openai", credential="sk-0123456789abcdef", by="tok_1")
    directory.keys.revoke(row.id, by="shell:bob")
    assert directory.revision == 3
    log = directory.audit()
    assert [(entry.by, entry.action) for entry in log] == [
        ("shell:bob", "key.revoke"),
        ("tok_1", "provider.set"),
        ("shell:ann", "key.create"),
    ]
    assert secret not in repr(log)
    assert "sk-0123" not in repr(log)


def test_a_change_that_fails_leaves_nothing(directory: Directory) -> None:
    with pytest.raises(RuntimeError), directory.changing("x") as change:
        change.log("key.create", "k")
        raise RuntimeError
    assert directory.revision == 0
    assert directory.audit() == []


def test_writers_in_several_places_wait_for_each_other(settings: Settings, vault: Vault) -> None:
    places = [Directory.open(settings, vault) for _ in range(4)]

    def work(place: Directory) -> None:
        for number in range(10):
            place.keys.create(KeySpec(name=str(number)))

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places[0].revision == len(places[0].keys.list()) == 40
    for place in places:
        place.close()


def test_another_master_key_is_refused_by_what_to_do(directory: Directory, settings: Settings) -> None:
    with pytest.raises(SecretsError, match="FAREBOX_MASTER_KEY"):
        Directory.open(settings, Vault(bytes(31) + b"1"))


def test_a_data_directory_may_stand_for_its_file(directory: Directory, settings: Settings, vault: Vault) -> None:
    row, _ = directory.keys.create(KeySpec(name="a"))
    other = Directory(settings.data, vault)
    assert other.keys.list() == [row]
    other.close()


def test_the_steps_lead_to_the_tables_that_the_code_uses(directory: Directory, settings: Settings) -> None:
    engine = sqlite.engine(settings.data / "directory.sqlite3")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    newest = sorted(path.name for path in (SCRIPTS / "versions").glob("[0-9]*.py"))[-1]
    assert newest.startswith(HEAD)


def test_a_directory_of_a_newer_version_is_left_alone(settings: Settings, vault: Vault, directory: Directory) -> None:
    directory.close()
    connection = sqlite3.connect(settings.data / "directory.sqlite3")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(DirectoryError, match="newer"):
        Directory.open(settings, vault)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, vault: Vault) -> None:
    (tmp_path / "directory.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(DirectoryError, match="cannot be"):
        Directory(tmp_path / "directory.sqlite3", vault)


def test_reading_never_waits_for_a_writer(directory: Directory, settings: Settings, vault: Vault) -> None:
    other = Directory.open(settings, vault)
    with directory.changing("slow") as change:
        change.log("test", "x")
        started = time.monotonic()
        third = Directory.open(settings, vault)
        third.close()
        assert other.revision == 0
        assert other.keys.list() == []
        assert time.monotonic() - started < 1
    assert other.revision == 1
    other.close()


def test_deployments_are_changed_one_by_one(directory: Directory) -> None:
    providers = directory.providers
    providers.set("azure", base_url="https://r.example", deployments={"a": "gpt-4.1", "b": "gpt-5"})
    providers.set("azure", deployments={"b": "", "c": "gpt-6-sol"})
    row = providers.set("azure", region_class="data_zone")
    assert (row.deployments, row.region_class) == ({"a": "gpt-4.1", "c": "gpt-6-sol"}, "data_zone")
    assert providers.get("azure") == row
    assert providers.set("azure", deployments={}).deployments == {}


def test_a_region_becomes_part_of_an_address_and_is_checked(directory: Directory) -> None:
    for region in ("evil.example/", "us-east-1.evil", "US-EAST-1", "x"):
        with pytest.raises(FareboxError, match="region"):
            directory.providers.set("bedrock", region=region)
    with pytest.raises(DirectoryError, match="data_zone"):
        directory.providers.set("azure", base_url="https://r.example", region_class="moon")
