"""answers to Idempotency-Keys

Revision ID: 0013
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotent_requests",
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("attempt", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("state", sa.String(15), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_idempotent_requests")),
    )
    op.create_index(op.f("ix_idempotent_requests_started_at"), "idempotent_requests", ["started_at"])


def downgrade() -> None:
    op.drop_table("idempotent_requests")
