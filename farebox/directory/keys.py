"""Farebox keys: made, listed, changed, rotated, revoked. A secret is returned once and kept only as a hash."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from farebox.directory import schema
from farebox.directory.rows import KeyRow, KeySpec, checked_spec
from farebox.directory.vault import KEY_PREFIX, Vault, new_id, new_secret
from farebox.directory.views import json_names, json_tags
from farebox.directory.writing import Change, Database, json
from farebox.errors import DirectoryError, InvalidEntry, NotFound

_LISTS = ("providers", "models", "routes", "require", "trust")
_PLAIN = ("name", "audience", "allow_objects", "expires_at_us")


class Keys:
    """`key` arguments are an id (`key_…`) or a name that only one active key has."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def create(self, spec: KeySpec, by: str = "shell") -> tuple[KeyRow, str]:
        """The stored key and its secret, which is never shown again. Raises DirectoryError."""
        spec = checked_spec(spec)
        key_id, secret = new_id("key_"), new_secret(KEY_PREFIX)
        with self._database.changing(by) as change:
            if spec.expires_at_us is not None and spec.expires_at_us <= change.at_us:
                raise InvalidEntry("this key would have expired already: give a later time")
            fixed = {"id": key_id, "created_at_us": change.at_us, "revision": change.revision}
            change.connection.execute(insert(schema.keys).values(**fixed, **_columns(spec)))
            self._add_hash(change, key_id, secret)
            change.log("key.create", key_id, name=spec.name, bind=spec.bind)
            return _find(change.connection, key_id), secret

    def list(self) -> list[KeyRow]:
        """All of them, revoked ones too, oldest first."""
        keys = schema.keys
        with self._database.reading() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at_us, keys.c.id)).all()
        return [_key(row) for row in rows]

    def exist(self) -> bool:
        """Whether there is any key that is not revoked."""
        keys = schema.keys
        with self._database.reading() as connection:
            return (
                connection.execute(select(keys.c.id).where(keys.c.revoked_at_us.is_(None)).limit(1)).first() is not None
            )

    def get(self, key: str) -> KeyRow:
        """Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, key)

    def update(self, key: str, spec: KeySpec, by: str = "shell") -> KeyRow:
        """Replace what a key may do; its secret stays. Raises NotFound, DirectoryError."""
        spec = checked_spec(spec)
        with self._database.changing(by) as change:
            found = _active(change, key)
            self._touch(change, found.id, **_columns(spec))
            change.log("key.update", found.id, name=spec.name, bind=spec.bind)
            return _find(change.connection, found.id)

    def rotate(self, key: str, overlap_s: float = 0, by: str = "shell") -> tuple[KeyRow, str]:
        """A new secret; the one before works on for `overlap_s`. Raises NotFound, DirectoryError."""
        secret = new_secret(KEY_PREFIX)
        hashes = schema.key_hashes
        with self._database.changing(by) as change:
            found = _active(change, key)
            ends_at_us = change.at_us + int(max(0.0, overlap_s) * 1_000_000)
            own = hashes.c.key_id == found.id
            change.connection.execute(delete(hashes).where(own, hashes.c.expires_at_us.is_not(None)))
            if overlap_s > 0:
                change.connection.execute(update(hashes).where(own).values(expires_at_us=ends_at_us))
            else:
                change.connection.execute(delete(hashes).where(own))
            self._add_hash(change, found.id, secret)
            self._touch(change, found.id)
            change.log("key.rotate", found.id, overlap_s=overlap_s)
            return found, secret

    def revoke(self, key: str, by: str = "shell") -> KeyRow:
        """End a key at once, for good. Raises NotFound; revoking twice changes nothing."""
        with self._database.changing(by) as change:
            found = _find(change.connection, key)
            if found.revoked_at_us is not None:
                return found
            change.connection.execute(delete(schema.key_hashes).where(schema.key_hashes.c.key_id == found.id))
            self._touch(change, found.id, revoked_at_us=change.at_us)
            change.log("key.revoke", found.id, name=found.name)
            return msgspec.structs.replace(found, revoked_at_us=change.at_us)

    def verify(self, secret: str, at_us: int) -> KeyRow | None:
        """The active key of a secret, None for any other. Reads the database: the data plane has its snapshot."""
        keys, hashes = schema.keys, schema.key_hashes
        query = select(keys, hashes.c.expires_at_us.label("ends_at_us")).join(hashes, hashes.c.key_id == keys.c.id)
        with self._database.reading() as connection:
            row = connection.execute(query.where(hashes.c.hash == self._vault.key_hash(secret))).one_or_none()
        if row is None or (row.ends_at_us is not None and row.ends_at_us <= at_us):
            return None
        found = _key(row)
        return found if found.is_active(at_us) else None

    def _add_hash(self, change: Change, key_id: str, secret: str) -> None:
        change.connection.execute(insert(schema.key_hashes).values(hash=self._vault.key_hash(secret), key_id=key_id))

    def _touch(self, change: Change, key_id: str, **columns: object) -> None:
        keys = schema.keys
        change.connection.execute(update(keys).where(keys.c.id == key_id).values(revision=change.revision, **columns))


def _columns(spec: KeySpec) -> dict[str, object]:
    return {
        "bind": json(spec.bind),
        **{name: json(getattr(spec, name)) for name in _LISTS},
        **{name: getattr(spec, name) for name in _PLAIN},
    }


def _key(row: Row[Any]) -> KeyRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    return KeyRow(
        id=row.id,
        bind=json_tags(row.bind),
        created_at_us=row.created_at_us,
        revoked_at_us=row.revoked_at_us,
        name=row.name,
        audience=row.audience,
        allow_objects=row.allow_objects,
        expires_at_us=row.expires_at_us,
        **{name: json_names(getattr(row, name)) for name in _LISTS},
    )


def _find(connection: Connection, key: str) -> KeyRow:
    keys = schema.keys
    row = connection.execute(select(keys).where(keys.c.id == key)).one_or_none()
    if row is not None:
        return _key(row)
    named = connection.execute(select(keys).where(keys.c.name == key, keys.c.revoked_at_us.is_(None))).all()
    if len(named) > 1:
        raise DirectoryError(f"{len(named)} keys are called {key!r}: give the id, as `farebox keys list` shows it")
    if not named:
        raise NotFound(f"there is no key {key!r}: `farebox keys list` shows them")
    return _key(named[0])


def _active(change: Change, key: str) -> KeyRow:
    found = _find(change.connection, key)
    if found.revoked_at_us is not None:
        raise DirectoryError(f"key {found.id} is revoked for good: make a new one with `farebox keys create`")
    return found
