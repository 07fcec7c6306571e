"""Of a provider: the models behind its deployments, its region, how far data may travel."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name, default in (("deployments", "{}"), ("region", ""), ("region_class", "")):
        op.add_column("providers", sa.Column(name, sa.Text, nullable=False, server_default=default))
