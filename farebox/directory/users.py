"""Users of the dashboard, and the links by which one gets in for the first time or back in.

Passwords come here hashed: this floor neither sees one nor knows how it is hashed.
"""

from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from farebox.directory import schema
from farebox.directory.rows import UserRow, checked_user
from farebox.directory.vault import Vault, new_id, new_secret
from farebox.directory.writing import Change, Database
from farebox.errors import AlreadyExists, DirectoryError, NotFound

LINK_PREFIX: Final = "fbl_"
LINK_S: Final = 3600
"""How long a link works."""
OPERATOR: Final = "operator"
"""Under which name the directory remembers who set it up."""
SECOND_US: Final = 1_000_000
LinkKind = Literal["first", "password", "enter"]


class Link(msgspec.Struct, frozen=True):
    """What a link is for. `user` is None for the first one, which makes the first admin."""

    kind: LinkKind
    user: UserRow | None


class Users:
    """`user` arguments are ids (`usr_…`) or names."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def exist(self) -> bool:
        with self._database.reading() as connection:
            return connection.execute(select(schema.users.c.id).limit(1)).first() is not None

    def create(self, name: str, role: str, password_hash: str | None = None, by: str = "shell") -> UserRow:
        """Raises DirectoryError, AlreadyExists."""
        name = checked_user(name, role)
        with self._database.changing(by) as change:
            return self._create(change, name, role, password_hash)

    def list(self) -> list[UserRow]:
        """All of them, oldest first."""
        users = schema.users
        with self._database.reading() as connection:
            rows = connection.execute(select(users).order_by(users.c.created_at_us, users.c.id)).all()
        return [to_user(row) for row in rows]

    def get(self, user: str) -> UserRow:
        """Raises NotFound."""
        with self._database.reading() as connection:
            return to_user(_found(connection, user))

    def credential(self, name: str) -> tuple[UserRow, str] | None:
        """A user and the hash of the password, None where there is no such user or no password yet."""
        users = schema.users
        with self._database.reading() as connection:
            row = connection.execute(select(users).where(users.c.name == name.strip().casefold())).one_or_none()
        return None if row is None or row.password_hash is None else (to_user(row), row.password_hash)

    def set_role(self, user: str, role: str, by: str) -> UserRow:
        """In force with the next request. Raises NotFound, DirectoryError where no admin would be left."""
        with self._database.changing(by) as change:
            row = _found(change.connection, user)
            checked_user(row.name, role)
            if row.role == role:
                return to_user(row)
            if role != "admin":
                _keep_an_admin(change.connection, row)
            change.connection.execute(update(schema.users).where(schema.users.c.id == row.id).values(role=role))
            change.log("user.role", row.id, name=row.name, role=role)
            return msgspec.structs.replace(to_user(row), role=role)

    def known_by_provider(self, name: str, role: str, by: str) -> UserRow:
        """The user that an identity provider vouches for, made where there is none. The role follows the provider,
        unless the user has a password here: then it is what an admin gave."""
        name = checked_user(name, role)
        with self._database.changing(by) as change:
            users = schema.users
            row = change.connection.execute(select(users).where(users.c.name == name)).first()
            if row is None:
                return self._create(change, name, role, None)
            if row.role == role or row.password_hash is not None:
                return to_user(row)
            change.connection.execute(update(users).where(users.c.id == row.id).values(role=role))
            change.log("user.role", row.id, name=name, role=role)
            return msgspec.structs.replace(to_user(row), role=role)

    def remove(self, user: str, by: str = "shell") -> UserRow:
        """End a user with all sessions and links, at once. Raises NotFound, DirectoryError for the last admin."""
        with self._database.changing(by) as change:
            row = _found(change.connection, user)
            _keep_an_admin(change.connection, row)
            for table in (schema.sessions, schema.login_links):
                change.connection.execute(delete(table).where(table.c.user_id == row.id))
            change.connection.execute(delete(schema.users).where(schema.users.c.id == row.id))
            change.log("user.remove", row.id, name=row.name)
            return to_user(row)

    def make_link(self, user: str, kind: LinkKind = "password", by: str = "shell", valid_s: int = LINK_S) -> str:
        """A link's secret, for that user. It takes the place of an earlier one of this kind. Raises NotFound."""
        with self._database.changing(by) as change:
            row = _found(change.connection, user)
            secret = self._add_link(change, row.id, kind, valid_s)
            change.log("user.link", row.id, name=row.name, kind=kind)
        return secret

    def first_link(self, by: str = "shell") -> str | None:
        """The secret of a link that makes the first admin, None where there is one already. Earlier ones end."""
        with self._database.changing(by) as change:
            if _has_admin(change.connection):
                return None
            return self._add_link(change, None, "first", LINK_S)

    def link(self, secret: str, at_us: int) -> Link | None:
        """What a link is for, None for one that is unknown, used or over. It stays usable."""
        with self._database.reading() as connection:
            return self._link(connection, secret, at_us)

    def use_link(
        self, secret: str, at_us: int, *, password_hash: str | None = None, name: str = "", by: str = "link"
    ) -> UserRow | None:
        """Spend a link: the user that it lets in, None where it is none (any more). 'first' makes an admin of that
        name, 'password' needs a hash. Raises DirectoryError."""
        with self._database.changing(by) as change:
            found = self._link(change.connection, secret, at_us)
            if found is None:
                return None
            if password_hash is None and found.kind != "enter":
                raise DirectoryError("this link needs a new password")
            self._spend(change.connection, secret, found)
            if found.user is None:
                made = self._create(change, checked_user(name, "admin"), "admin", password_hash)
                _name_operator(change.connection, made.id)
                return made
            if password_hash is None:
                return found.user
            return self._set_password(change, _found(change.connection, found.user.id), password_hash)

    def operator_id(self) -> str | None:
        """Who set the installation up: the admin that the first link made, or else the first that there was."""
        with self._database.reading() as connection:
            return _operator(connection)

    def _create(self, change: Change, name: str, role: str, password_hash: str | None) -> UserRow:
        users = schema.users
        if change.connection.execute(select(users.c.id).where(users.c.name == name)).first() is not None:
            raise AlreadyExists(f"there is a user {name!r} already: `farebox users list` shows them")
        row = UserRow(new_id("usr_"), name, role, change.at_us, None, password_hash is not None)
        change.connection.execute(
            insert(users).values(
                id=row.id, name=name, role=role, password_hash=password_hash, created_at_us=change.at_us
            )
        )
        if role == "admin" and _operator(change.connection) is None:
            _name_operator(change.connection, row.id)
        change.log("user.create", row.id, name=name, role=role)
        return row

    def _set_password(self, change: Change, row: Row[Any], password_hash: str) -> UserRow:
        users, sessions = schema.users, schema.sessions
        change.connection.execute(update(users).where(users.c.id == row.id).values(password_hash=password_hash))
        change.connection.execute(delete(sessions).where(sessions.c.user_id == row.id))
        change.log("user.password", row.id, name=row.name)
        return msgspec.structs.replace(to_user(row), has_password=True)

    def _add_link(self, change: Change, user_id: str | None, kind: LinkKind, valid_s: int) -> str:
        links, secret = schema.login_links, new_secret(LINK_PREFIX)
        same = links.c.user_id.is_(None) if user_id is None else links.c.user_id == user_id
        change.connection.execute(delete(links).where(same, links.c.kind == kind))
        change.connection.execute(
            insert(links).values(
                hash=self._vault.key_hash(secret),
                user_id=user_id,
                kind=kind,
                expires_at_us=change.at_us + valid_s * SECOND_US,
            )
        )
        return secret

    def _link(self, connection: Connection, secret: str, at_us: int) -> Link | None:
        links = schema.login_links
        row = connection.execute(select(links).where(links.c.hash == self._vault.key_hash(secret))).one_or_none()
        if row is None or at_us >= row.expires_at_us:
            return None
        if row.user_id is None:
            return None if _has_admin(connection) else Link("first", None)
        return Link(row.kind, to_user(_found(connection, row.user_id)))

    def _spend(self, connection: Connection, secret: str, found: Link) -> None:
        """A new password ends every link of its user's; entering ends its own."""
        links = schema.login_links
        if found.user is not None and found.kind == "password":
            connection.execute(delete(links).where(links.c.user_id == found.user.id))
        else:
            connection.execute(delete(links).where(links.c.hash == self._vault.key_hash(secret)))


def _found(connection: Connection, user: str) -> Row[Any]:  # Any: SQLAlchemy's rows of whole tables are untyped
    users = schema.users
    query = select(users).where((users.c.id == user) | (users.c.name == user.strip().casefold()))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"there is no user {user!r}: `farebox users list` shows them")
    return row


def _operator(connection: Connection) -> str | None:
    meta = schema.meta
    found = connection.execute(select(meta.c.value).where(meta.c.name == OPERATOR)).scalar()
    return None if found is None else str(found)


def _name_operator(connection: Connection, user_id: str) -> None:
    meta = schema.meta
    connection.execute(delete(meta).where(meta.c.name == OPERATOR))
    connection.execute(insert(meta).values(name=OPERATOR, value=user_id))


def _has_admin(connection: Connection, *further: ColumnElement[bool]) -> bool:
    users = schema.users
    return connection.execute(select(users.c.id).where(users.c.role == "admin", *further).limit(1)).first() is not None


def _keep_an_admin(connection: Connection, row: Row[Any]) -> None:
    users = schema.users
    if row.role == "admin" and not _has_admin(connection, users.c.id != row.id):
        raise DirectoryError(f"{row.name} is the last admin: make another one first")


def to_user(row: Row[Any]) -> UserRow:
    return UserRow(row.id, row.name, row.role, row.created_at_us, row.seen_at_us, row.password_hash is not None)
