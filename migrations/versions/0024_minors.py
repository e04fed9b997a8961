"""what is of minors

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "minor_marks",
        sa.Column("mark_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(15), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("number", sa.LargeBinary()),
        sa.Column("call_id", sa.String(26)),
        sa.Column("recording_id", sa.String(26)),
        sa.Column("pop_id", sa.String(31)),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("mark_id", name=op.f("pk_minor_marks")),
    )
    for column in ("digest", "call_id", "recording_id"):
        op.create_index(op.f(f"ix_minor_marks_{column}"), "minor_marks", [column])
    op.create_table(
        "protected_recordings",
        sa.Column("recording_id", sa.String(26), nullable=False),
        sa.Column("at", sa.Double()),
        sa.Column("why", sa.String(63)),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_protected_recordings")),
    )


def downgrade() -> None:
    for table in ("protected_recordings", "minor_marks"):
        op.drop_table(table)
