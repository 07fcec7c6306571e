"""Brings a directory's tables to this version's. Alembic is loaded only where there is something to do."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from farebox.directory.sqlite import WRITES
from farebox.errors import DirectoryError

HEAD: Final = "0008"
"""The newest file in migrations/versions."""
SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Idempotent, and safe when several processes start at once. Raises DirectoryError for a newer version's tables."""
    with engine.connect() as connection:
        if _current(connection) == HEAD:
            return
    writing = engine.execution_options(**{WRITES: True})
    with writing.begin() as connection:  # takes the write lock: a second process waits here and finds it done
        current = _current(connection)
        if current == HEAD:
            return
        if current is not None and current > HEAD:
            raise DirectoryError(
                f"this directory was written by a newer Farebox (tables {current}, here {HEAD}): upgrade"
            )
        _upgrade(connection)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
