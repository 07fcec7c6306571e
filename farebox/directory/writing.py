"""One change to the directory: its transaction, revision, moment and author."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec
from sqlalchemy import Connection, insert

from farebox.directory import schema


@dataclass(frozen=True, slots=True)
class Change:
    """An open write transaction. `revision` is what the directory's becomes with it."""

    connection: Connection
    revision: int
    at_us: int
    by: str

    def log(self, action: str, subject: str, **detail: object) -> None:
        """Note it in the audit log. Never pass a secret."""
        self.connection.execute(
            insert(schema.audit_log).values(
                at_us=self.at_us, by=self.by, action=action, subject=subject, detail=json(detail)
            )
        )


class Database(Protocol):
    """What the nouns of the directory need of it."""

    def reading(self) -> AbstractContextManager[Connection]: ...
    def changing(self, by: str) -> AbstractContextManager[Change]: ...
    def writing(self) -> AbstractContextManager[Connection]: ...


def json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def now_us() -> int:
    return time.time_ns() // 1000
