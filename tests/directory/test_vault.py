import stat
import threading
from pathlib import Path

import pytest

from farebox.directory.vault import KEY_PREFIX, Vault, master_key_path, new_secret
from farebox.errors import SecretsError
from farebox.settings import Secrets, Settings

HEX = "ab" * 32


def settings_at(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", secrets=Secrets(master_key_file=str(tmp_path / "keys" / "master.key")))


def test_a_missing_master_key_is_made_for_its_owner_only(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    first, second = Vault.load(settings, {}), Vault.load(settings, {})
    path = master_key_path(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert first.key_hash("fbx_a") == second.key_hash("fbx_a")
    assert [each.name for each in path.parent.iterdir()] == ["master.key"]


def test_processes_that_start_at_once_end_up_with_one_key(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(Vault.load(settings, {}).check_value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    assert Vault.load(settings, {"FAREBOX_MASTER_KEY": HEX}).check_value == Vault(bytes.fromhex(HEX)).check_value
    assert not master_key_path(settings).exists()


@pytest.mark.parametrize(
    "text", ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "00" * 32]
)
def test_a_key_may_be_written_as_base64_or_hex(text: str, tmp_path: Path) -> None:
    assert Vault.load(settings_at(tmp_path), {"FAREBOX_MASTER_KEY": text}).check_value == Vault(bytes(32)).check_value


@pytest.mark.parametrize("text", ["secret", "AAAA", "zz" * 32, "!" * 43, "é" * 44])
def test_what_is_no_key_is_refused_without_showing_it(text: str, tmp_path: Path) -> None:
    with pytest.raises(SecretsError) as caught:
        Vault.load(settings_at(tmp_path), {"FAREBOX_MASTER_KEY": text})
    assert text not in str(caught.value)
    assert "openssl rand" in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    Vault.load(settings, {})
    master_key_path(settings).chmod(0o644)
    with pytest.raises(SecretsError, match="chmod 600"):
        Vault.load(settings, {})


def test_a_key_inside_the_data_directory_is_refused(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, secrets=Secrets(master_key_file=str(tmp_path / "run" / "k")))
    with pytest.raises(SecretsError, match="inside the data directory"):
        Vault.load(settings, {})


def test_a_sealed_secret_opens_only_in_its_context_and_under_its_key() -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal("sk-secret", "provider/openai")
    assert vault.open(sealed, "provider/openai") == "sk-secret"
    assert b"sk-secret" not in sealed
    assert vault.seal("sk-secret", "provider/openai") != sealed
    for other, context, changed in [
        (vault, "provider/groq", sealed),
        (Vault(bytes(31) + b"1"), "provider/openai", sealed),
        (vault, "provider/openai", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (vault, "provider/openai", b""),
    ]:
        with pytest.raises(SecretsError):
            other.open(changed, context)


def test_a_hash_depends_on_the_whole_key_and_on_the_master_key() -> None:
    raw = new_secret(KEY_PREFIX)
    vault = Vault(bytes(32))
    assert len(vault.key_hash(raw)) == 32
    assert vault.key_hash(raw) != vault.key_hash(raw[:-1])
    assert vault.key_hash(raw) != Vault(bytes(31) + b"1").key_hash(raw)


def test_secrets_hold_256_random_bits() -> None:
    made = {new_secret(KEY_PREFIX) for _ in range(100)}
    assert len(made) == 100
    assert all(len(raw) == 4 + 43 for raw in made)
