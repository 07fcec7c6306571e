import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))
from reports_ledger import Made, made_ledger


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A few thousand calls of every kind, in roll-ups and not; closed at the end."""
    ledger = made_ledger(tmp_path_factory.mktemp("reports"))
    yield ledger
    ledger.close()
