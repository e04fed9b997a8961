"""agents' cost and weight

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Defaults on the server: the version before this one goes on writing agents without them.
    with op.batch_alter_table("agents") as table:
        table.add_column(sa.Column("cost", sa.Double(), server_default="0", nullable=False))
        table.add_column(sa.Column("weight", sa.Double(), server_default="1", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("agents") as table:
        table.drop_column("weight")
        table.drop_column("cost")
