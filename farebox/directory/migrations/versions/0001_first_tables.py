"""Keys, tokens, providers, price rows, audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.bulk_insert(meta, [{"name": "revision", "value": "0"}])
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("name", "bind", "providers", "models", "routes", "require", "trust", "audience")
        ),
        sa.Column("allow_objects", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("revoked_at_us", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_revision", "keys", ["revision"])
    op.create_index("ix_keys_name", "keys", ["name"])
    op.create_table(
        "key_hashes",
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("hash", name="pk_key_hashes"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_key_hashes_key_id"),
    )
    op.create_index("ix_key_hashes_key_id", "key_hashes", ["key_id"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("revoked_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "providers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("wire", sa.Text, nullable=False),
        sa.Column("credential", sa.LargeBinary),
        sa.Column("credential_hint", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("ca_file", sa.Text, nullable=False),
        sa.Column("tls_verify", sa.Boolean),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_providers"),
    )
    op.create_table(
        "price_rows",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("row", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_price_rows"),
        sa.UniqueConstraint("id", name="uq_price_rows_id"),
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
    )
