"""which POP takes over

Revision ID: 0031
Revises: 0030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pops") as pops:
        pops.add_column(sa.Column("backup_pop_id", sa.String(31)))
    op.create_index(op.f("ix_pops_backup_pop_id"), "pops", ["backup_pop_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_pops_backup_pop_id"), "pops")
    with op.batch_alter_table("pops") as pops:
        pops.drop_column("backup_pop_id")
