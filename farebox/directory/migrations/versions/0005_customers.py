"""Plans, customers, what they are subscribed to, their revenue, and which notices of it were taken."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.Column("removed_at_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", name="pk_plans"),
    )
    op.create_table(
        "plan_versions",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("from_day", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("entered_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_plan_versions"),
        sa.ForeignKeyConstraint(["plan"], ["plans.name"], name="fk_plan_versions_plan"),
    )
    op.create_index("ix_plan_versions_plan", "plan_versions", ["plan"])
    _customers()
    op.create_table(
        "revenue",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("month", sa.Text, nullable=False),
        sa.Column("amount", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text, nullable=False),
        sa.Column("booked_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_revenue"),
        sa.ForeignKeyConstraint(["tenant"], ["customers.tenant"], name="fk_revenue_tenant"),
        sa.UniqueConstraint("source", "external_id", name="uq_revenue_source"),
    )
    op.create_index("ix_revenue_tenant", "revenue", ["tenant"])
    op.create_table(
        "notices",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("taken_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("source", "id", name="pk_notices"),
    )


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("anchor_day", sa.Integer),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.Column("removed_at_us", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_customers"),
    )
    op.create_index("ix_customers_revision", "customers", ["revision"])
    op.create_table(
        "customer_versions",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sa.Column("entered_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_customer_versions"),
        sa.ForeignKeyConstraint(["tenant"], ["customers.tenant"], name="fk_customer_versions_tenant"),
    )
    op.create_index("ix_customer_versions_tenant", "customer_versions", ["tenant"])
    op.create_table(
        "subscriptions",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("from_day", sa.Text, nullable=False),
        sa.Column("plan", sa.Text),
        sa.Column("entered_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(["tenant"], ["customers.tenant"], name="fk_subscriptions_tenant"),
        sa.ForeignKeyConstraint(["plan"], ["plans.name"], name="fk_subscriptions_plan"),
    )
    op.create_index("ix_subscriptions_tenant", "subscriptions", ["tenant"])
