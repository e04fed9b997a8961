"""voicemails, and the kind of a recording

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A default on the server: the version before this one goes on writing recordings without it.
    with op.batch_alter_table("recordings") as table:
        table.add_column(sa.Column("kind", sa.String(15), server_default="conversation", nullable=False))
    op.create_table(
        "voicemails",
        sa.Column("voicemail_id", sa.String(26), nullable=False),
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("mailbox", sa.String(63), nullable=False),
        sa.Column("did", sa.String(16), nullable=True),
        sa.Column("cli", sa.String(16), nullable=True),
        sa.Column("left_at", sa.Double(), nullable=False),
        sa.Column("ended_by", sa.String(31), nullable=False),
        sa.Column("region", sa.String(31), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("heard_at", sa.Double(), nullable=True),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("voicemail_id", name=op.f("pk_voicemails")),
    )
    op.create_index(op.f("ix_voicemails_call_id"), "voicemails", ["call_id"])
    op.create_index(op.f("ix_voicemails_mailbox"), "voicemails", ["mailbox"])


def downgrade() -> None:
    op.drop_table("voicemails")
    with op.batch_alter_table("recordings") as table:
        table.drop_column("kind")
