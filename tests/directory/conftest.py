from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def vault() -> Vault:
    return Vault(bytes(32))


@pytest.fixture
def directory(settings: Settings, vault: Vault) -> Iterator[Directory]:
    made = Directory.open(settings, vault)
    yield made
    made.close()
