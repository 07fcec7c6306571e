"""Browsers that are logged in. Of a session's secret only the keyed hash is kept."""

from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, update

from farebox.directory import schema
from farebox.directory.rows import SessionRow, UserRow
from farebox.directory.users import to_user
from farebox.directory.vault import Vault, new_id, new_secret
from farebox.directory.writing import Database
from farebox.errors import NotFound

SESSION_PREFIX: Final = "fbs_"
SEEN_EVERY_US: Final = 300 * 1_000_000
"""How exactly it is known when a session was last used: reading a page shall not be a write."""
USER_AGENT_CHARS_MAX: Final = 300
PER_USER_MAX: Final = 50
"""Sessions of one user; beyond them the longest unused ends."""


class Sessions:
    """`session` arguments are ids (`ses_…`), never secrets."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def begin(self, user: UserRow, valid_s: int, user_agent: str, address: str, by: str) -> tuple[SessionRow, str]:
        """A session and its secret. Sessions that are over are swept away with it."""
        session_id, secret = new_id("ses_"), new_secret(SESSION_PREFIX)
        sessions = schema.sessions
        with self._database.changing(by) as change:
            at_us = change.at_us
            row = SessionRow(
                session_id,
                user.id,
                user_agent[:USER_AGENT_CHARS_MAX],
                address[:64],
                at_us,
                at_us,
                at_us + valid_s * 1_000_000,
            )
            change.connection.execute(delete(sessions).where(sessions.c.expires_at_us <= at_us))
            mine = select(sessions.c.id).where(sessions.c.user_id == user.id)
            crowded = change.connection.execute(mine.order_by(sessions.c.seen_at_us.desc()).offset(PER_USER_MAX - 1))
            for (old,) in crowded.all():
                change.connection.execute(delete(sessions).where(sessions.c.id == old))
            values = {name: getattr(row, name) for name in row.__struct_fields__}
            change.connection.execute(insert(sessions).values(hash=self._vault.key_hash(secret), **values))
            change.connection.execute(update(schema.users).where(schema.users.c.id == user.id).values(seen_at_us=at_us))
            change.log("session.begin", session_id, user=user.name)
        return row, secret

    def find(self, secret: str, at_us: int) -> tuple[SessionRow, UserRow] | None:
        """The living session of a secret and whose it is. The whole secret is hashed and looked up."""
        sessions, users = schema.sessions, schema.users
        with self._database.reading() as connection:
            row = connection.execute(
                select(sessions).where(sessions.c.hash == self._vault.key_hash(secret))
            ).one_or_none()
            if row is None or at_us >= row.expires_at_us:
                return None
            owner = connection.execute(select(users).where(users.c.id == row.user_id)).one_or_none()
        if owner is None:
            return None
        if at_us - row.seen_at_us > SEEN_EVERY_US:
            self._see(row.id, row.user_id, at_us)
        return _session(row), to_user(owner)

    def list(self, user_id: str | None = None) -> list[SessionRow]:
        """All of them, or one user's, last used first."""
        sessions = schema.sessions
        query = select(sessions).order_by(sessions.c.seen_at_us.desc(), sessions.c.id)
        if user_id is not None:
            query = query.where(sessions.c.user_id == user_id)
        with self._database.reading() as connection:
            return [_session(row) for row in connection.execute(query).all()]

    def end(self, session: str, by: str, *, of: str | None = None) -> None:
        """End a session at once; only one of the user `of` where given. Raises NotFound."""
        sessions = schema.sessions
        query = delete(sessions).where(sessions.c.id == session)
        if of is not None:
            query = query.where(sessions.c.user_id == of)
        with self._database.changing(by) as change:
            if change.connection.execute(query).rowcount == 0:
                raise NotFound("there is no such session: it has ended already")
            change.log("session.end", session)

    def _see(self, session_id: str, user_id: str, at_us: int) -> None:
        sessions, users = schema.sessions, schema.users
        with self._database.writing() as connection:
            connection.execute(update(sessions).where(sessions.c.id == session_id).values(seen_at_us=at_us))
            connection.execute(update(users).where(users.c.id == user_id).values(seen_at_us=at_us))


def _session(row: Row[Any]) -> SessionRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    return SessionRow(*(getattr(row, name) for name in SessionRow.__struct_fields__))
