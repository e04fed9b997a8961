"""when POPs' revisions were written; pages of calls by queue, agent, number

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

NAMES = ("did", "queue_id", "agent_id")


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
    for name in NAMES:
        op.create_index(op.f(f"ix_calls_{name}_call_id"), "calls", [name, "call_id"])
        op.drop_index(op.f(f"ix_calls_{name}"), "calls")


def downgrade() -> None:
    for name in NAMES:
        op.create_index(op.f(f"ix_calls_{name}"), "calls", [name])
        op.drop_index(op.f(f"ix_calls_{name}_call_id"), "calls")
    op.drop_table("pop_revisions")
