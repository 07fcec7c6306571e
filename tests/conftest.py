"""Fixtures that more than one folder uses: simulated providers, and a real server on them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Farebox, Key

from farebox.demo.simulated import SimulatedProviders


@pytest.fixture(scope="session")
def simulated() -> Iterator[SimulatedProviders]:
    """The simulated providers, in a thread of this process."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture(scope="session")
def server(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farebox]:
    """One server for all tests that do not hurt it; it must drain and exit 0 at the end."""
    with Farebox(tmp_path_factory.mktemp("farebox"), simulated) as running:
        yield running
        assert running.stop() == 0, running.errors()


@pytest.fixture(scope="session")
def key(server: Farebox) -> Key:
    """A key without bindings or restrictions."""
    return server.key("everything")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Callable[..., Farebox]]:
    """Makes installations of a test's own, each in a directory of its own; ends what still runs."""
    made: list[Farebox] = []

    def make(simulated: SimulatedProviders | None = None, **options: object) -> Farebox:
        home = tmp_path / f"installation-{len(made)}"
        home.mkdir()
        made.append(Farebox(home, simulated, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.close()
