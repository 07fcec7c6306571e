from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Farebox as Server
from harness import Key

from farebox import Farebox


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., Farebox]]:
    """Clients of a server, by one of its keys; closed at the end."""
    made: list[Farebox] = []

    def connected(server: Server, key: Key, kind: type[Farebox] = Farebox, **options: Any) -> Farebox:
        made.append(kind(server.url, key.secret, spool=tmp_path / "spool", **options))
        return made[-1]

    yield connected
    for client in made:
        client.close()


@pytest.fixture
def fb(connect: Callable[..., Farebox], server: Server, key: Key) -> Farebox:
    return connect(server, key)
