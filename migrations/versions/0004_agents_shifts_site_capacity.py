"""agents' shifts, site and capacity

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The version before this one goes on writing agents without them.
    with op.batch_alter_table("agents") as table:
        table.add_column(sa.Column("shifts", sa.JSON(), nullable=True))
        table.add_column(sa.Column("site", sa.String(31), nullable=True))
        table.add_column(sa.Column("capacity", sa.JSON(), server_default='{"voice": 1}', nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("agents") as table:
        table.drop_column("capacity")
        table.drop_column("site")
        table.drop_column("shifts")
