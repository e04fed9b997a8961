"""when POPs' revisions were written

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pop_revisions",
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pop_id"], ["pops.pop_id"], name=op.f("fk_pop_revisions_pop_id_pops"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pop_id", "revision", name=op.f("pk_pop_revisions")),
    )


def downgrade() -> None:
    op.drop_table("pop_revisions")
