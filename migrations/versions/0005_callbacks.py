"""callbacks

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "callbacks",
        sa.Column("callback_id", sa.String(length=26), nullable=False),
        sa.Column("pop_id", sa.String(length=31), nullable=False),
        sa.Column("queue_id", sa.String(length=63), nullable=False),
        sa.Column("did", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=15), nullable=False),
        sa.Column("requested_by", sa.String(length=15), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=True),
        sa.Column("asked_in", sa.String(length=26), nullable=True),
        sa.Column("call_id", sa.String(length=26), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("agent_id", sa.String(length=26), nullable=True),
        sa.Column("reason", sa.String(length=31), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("journal_id", sa.String(length=26), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("callback_id", name=op.f("pk_callbacks")),
    )
    for column in ("pop_id", "queue_id", "number", "state"):
        op.create_index(op.f(f"ix_callbacks_{column}"), "callbacks", [column])


def downgrade() -> None:
    for column in ("pop_id", "queue_id", "number", "state"):
        op.drop_index(op.f(f"ix_callbacks_{column}"), table_name="callbacks")
    op.drop_table("callbacks")
