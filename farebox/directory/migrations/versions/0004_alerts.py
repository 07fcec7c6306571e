"""Channels and alert rules. The rules that every directory begins with are made here, so that they are made once."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

DEFAULTS = (
    ("alr_limit", "limit"),
    ("alr_unpriced", "unpriced"),
    ("alr_provider_down", "provider_down"),
    ("alr_ledger_lag", "ledger_lag"),
)
"""(id, kind), each with the numbers of its kind and no channel."""


def upgrade() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("to", sa.Text, nullable=False),
        sa.Column("allow_private", sa.Boolean, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_us", sa.BigInteger),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.UniqueConstraint("name", name="uq_channels_name"),
    )
    rules = op.create_table(
        "alert_rules",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("channels", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("hourly_max", sa.Integer, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_rules"),
    )
    now_us = time.time_ns() // 1000
    made = {"spec": "{}", "channels": "[]", "enabled": True, "hourly_max": 100}
    moments = {"created_at_us": now_us, "changed_at_us": now_us}
    op.bulk_insert(rules, [{"id": rule_id, "kind": kind, **made, **moments} for rule_id, kind in DEFAULTS])
