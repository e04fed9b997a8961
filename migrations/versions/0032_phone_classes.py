"""the class of an agent's phone

Revision ID: 0032
Revises: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agents") as agents:
        agents.add_column(sa.Column("phone_class", sa.String(31)))


def downgrade() -> None:
    with op.batch_alter_table("agents") as agents:
        agents.drop_column("phone_class")
