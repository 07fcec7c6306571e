from collections.abc import Iterator
from pathlib import Path

import pytest
from receiving import Receiver

from farebox.alerts.outbox import FILE_NAME, Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / FILE_NAME)
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
