"""Links by which customers see their usage; what was bought where Farebox is sold, and who runs the installation."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "portal_tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("user", sa.Text),
        sa.Column("origins", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_portal_tokens"),
    )
    op.create_index("ix_portal_tokens_tenant", "portal_tokens", ["tenant"])
    op.create_table(
        "purchases",
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("confirmed_at_us", sa.BigInteger, nullable=False),
        sa.Column("redeemed_at_us", sa.BigInteger),
        sa.Column("hash", sa.LargeBinary),
        sa.PrimaryKeyConstraint("session_id", name="pk_purchases"),
        sa.UniqueConstraint("hash", name="uq_purchases_hash"),
    )
    op.create_table(
        "paid_subscriptions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("told_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_paid_subscriptions"),
    )
    first_admin = "SELECT id FROM users WHERE role = 'admin' ORDER BY created_at_us, id LIMIT 1"
    op.execute(f"INSERT INTO meta (name, value) SELECT 'operator', id FROM ({first_admin}) AS first")  # noqa: S608
