"""Links by which a customer sees its own usage.

A token says whom it is for and until when, and is signed, so that a forged or expired one is refused without a look at
the directory. Its id stands here, so that it can be revoked. The token is not kept.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from farebox.core.attribution import VALUE_CHARS_MAX
from farebox.core.book_text import checked_name
from farebox.core.origins import checked_frame
from farebox.directory import schema
from farebox.directory.rows import PortalRow
from farebox.directory.vault import Vault, new_id
from farebox.directory.writing import Database, json
from farebox.errors import DirectoryError, NotFound

PORTAL_PREFIX: Final = "fbp_"
SECRET_CHARS_MAX: Final = 4096
ORIGINS_MAX: Final = 16
VALID_S: Final = 3600
"""How long a link works unless said."""
VALID_S_MAX: Final = 366 * 86_400
KEPT_US: Final = 30 * 86_400_000_000
"""How long one that is over stays in the list."""


class _Said(msgspec.Struct, frozen=True, array_like=True):
    """What stands in a token."""

    id: str
    tenant: str
    user: str | None
    expires_at_us: int


class PortalTokens:
    """`token` arguments are ids (`ptl_…`), never secrets."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def create(
        self,
        tenant: str,
        expires_at_us: int,
        user: str | None = None,
        origins: Sequence[str] = (),
        by: str = "shell",
    ) -> tuple[PortalRow, str]:
        """The stored link and its token, which is never shown again. Links that have long been over are swept away.
        Raises DirectoryError, SettingsError for an origin that is none, InvalidBooks for a name that no call has."""
        checked_name(tenant, "a customer")
        if user is not None and not (1 <= len(user) <= VALUE_CHARS_MAX and user.isprintable()):
            raise DirectoryError(f"a user is named by 1 to {VALUE_CHARS_MAX} printable characters")
        if len(origins) > ORIGINS_MAX:
            raise DirectoryError(f"{len(origins)} origins: at most {ORIGINS_MAX} can show one link")
        tokens = schema.portal_tokens
        with self._database.changing(by) as change:
            if not change.at_us < expires_at_us <= change.at_us + (VALID_S_MAX + 60) * 1_000_000:
                raise DirectoryError("a link to the portal works for a year at most, and not in the past: such as 24h")
            allowed = tuple(checked_frame(origin) for origin in origins)
            row = PortalRow(new_id("ptl_"), tenant, change.at_us, expires_at_us, user, allowed)
            change.connection.execute(delete(tokens).where(tokens.c.expires_at_us < change.at_us - KEPT_US))
            values = {**msgspec.structs.asdict(row), "origins": json(allowed)}
            change.connection.execute(insert(tokens).values(**values))
            change.log("portal.create", row.id, tenant=tenant, user=user)
        return row, self._signed(_Said(row.id, tenant, user, expires_at_us))

    def list(self, tenant: str) -> "list[PortalRow]":
        """Those of a customer, revoked and expired ones too, oldest first."""
        tokens = schema.portal_tokens
        query = select(tokens).where(tokens.c.tenant == tenant).order_by(tokens.c.created_at_us, tokens.c.id)
        with self._database.reading() as connection:
            return [_row(row) for row in connection.execute(query).all()]

    def revoke(self, tenant: str, token: str, by: str = "shell") -> PortalRow:
        """End a link at once. Raises NotFound; revoking twice changes nothing."""
        tokens = schema.portal_tokens
        with self._database.changing(by) as change:
            query = select(tokens).where(tokens.c.id == token, tokens.c.tenant == tenant)
            found = change.connection.execute(query).one_or_none()
            if found is None:
                raise NotFound(f"{tenant[:80]!r} has no portal link {token[:80]!r}")
            row = _row(found)
            if row.revoked_at_us is not None:
                return row
            change.connection.execute(update(tokens).where(tokens.c.id == token).values(revoked_at_us=change.at_us))
            change.log("portal.revoke", token, tenant=tenant)
            return msgspec.structs.replace(row, revoked_at_us=change.at_us)

    def verify(self, secret: str, at_us: int) -> PortalRow | None:
        """The active link of a token, None for any other."""
        said = self._read(secret)
        if said is None or at_us >= said.expires_at_us:
            return None
        tokens = schema.portal_tokens
        with self._database.reading() as connection:
            found = connection.execute(select(tokens).where(tokens.c.id == said.id)).one_or_none()
        if found is None:
            return None
        row = _row(found)
        agrees = (row.tenant, row.user, row.expires_at_us) == (said.tenant, said.user, said.expires_at_us)
        return row if agrees and row.is_active(at_us) else None

    def _signed(self, said: _Said) -> str:
        text = _text(msgspec.json.encode(said))
        return f"{PORTAL_PREFIX}{text}.{_text(self._vault.signature(text))}"

    def _read(self, secret: str) -> _Said | None:
        """What a token says; None where it is not one that was signed here. The signature is compared in constant
        time, before anything else of it is read."""
        if not secret.startswith(PORTAL_PREFIX) or len(secret) > SECRET_CHARS_MAX or not secret.isascii():
            return None
        text, _, signature = secret.removeprefix(PORTAL_PREFIX).partition(".")
        if not hmac.compare_digest(_text(self._vault.signature(text)).encode(), signature.encode()):
            return None
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Said)
        except (msgspec.DecodeError, binascii.Error):
            return None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _row(row: Row[Any]) -> PortalRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    origins = msgspec.json.decode(row.origins, type=tuple[str, ...])
    return PortalRow(row.id, row.tenant, row.created_at_us, row.expires_at_us, row.user, origins, row.revoked_at_us)
