"""how a POP was last seen

Revision ID: 0030
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pops") as pops:
        pops.add_column(sa.Column("state", sa.String(31)))
        pops.add_column(sa.Column("state_since", sa.Double()))


def downgrade() -> None:
    with op.batch_alter_table("pops") as pops:
        pops.drop_column("state_since")
        pops.drop_column("state")
