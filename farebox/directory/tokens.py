"""Admin tokens: who may use the API, and as what."""

from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update

from farebox.directory import schema
from farebox.directory.rows import TokenRow, check_token
from farebox.directory.vault import TOKEN_PREFIX, Vault, new_id, new_secret
from farebox.directory.writing import Database
from farebox.errors import NotFound


class Tokens:
    """`token` arguments are ids (`tok_…`), never secrets."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def create(self, name: str, role: str, expires_at_us: int | None = None, by: str = "shell") -> tuple[TokenRow, str]:
        """The stored token and its secret, which is never shown again. Raises DirectoryError."""
        check_token(name, role)
        token_id, secret = new_id("tok_"), new_secret(TOKEN_PREFIX)
        with self._database.changing(by) as change:
            row = TokenRow(token_id, name, role, change.at_us, expires_at_us)
            columns = msgspec.structs.asdict(row)
            change.connection.execute(insert(schema.tokens).values(hash=self._vault.key_hash(secret), **columns))
            change.log("token.create", token_id, name=name, role=role)
        return row, secret

    def list(self) -> list[TokenRow]:
        """All of them, revoked ones too, oldest first."""
        tokens = schema.tokens
        with self._database.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.created_at_us, tokens.c.id)).all()
        return [_token(row) for row in rows]

    def revoke(self, token: str, by: str = "shell") -> TokenRow:
        """End a token at once. Raises NotFound; revoking twice changes nothing."""
        tokens = schema.tokens
        with self._database.changing(by) as change:
            row = change.connection.execute(select(tokens).where(tokens.c.id == token)).one_or_none()
            if row is None:
                raise NotFound(f"there is no token {token!r}: `farebox tokens list` shows them")
            if row.revoked_at_us is not None:
                return _token(row)
            change.connection.execute(update(tokens).where(tokens.c.id == token).values(revoked_at_us=change.at_us))
            change.log("token.revoke", token, name=row.name)
            return msgspec.structs.replace(_token(row), revoked_at_us=change.at_us)

    def verify(self, secret: str, at_us: int) -> TokenRow | None:
        """The active token of a secret, None for any other. The whole secret is hashed and looked up."""
        tokens = schema.tokens
        with self._database.reading() as connection:
            query = select(tokens).where(tokens.c.hash == self._vault.key_hash(secret))
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        found = _token(row)
        return found if found.is_active(at_us) else None


def _token(row: Row[Any]) -> TokenRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    return TokenRow(row.id, row.name, row.role, row.created_at_us, row.expires_at_us, row.revoked_at_us)
