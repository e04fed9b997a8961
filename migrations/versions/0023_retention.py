"""retention: policies, what was cleared, reports

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("policy_id", sa.String(31), nullable=False),
        sa.Column("kind", sa.String(31), nullable=False),
        sa.Column("country", sa.String(2)),
        sa.Column("queue_id", sa.String(63)),
        sa.Column("keep_days", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", name=op.f("pk_retention_policies")),
    )
    op.create_table(
        "cleared_calls",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(31), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "kind", name=op.f("pk_cleared_calls")),
    )
    op.create_table(
        "retention_runs",
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.Column("alarms", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_retention_runs")),
    )
    op.create_index(op.f("ix_retention_runs_began_at"), "retention_runs", ["began_at"])


def downgrade() -> None:
    for table in ("retention_runs", "cleared_calls", "retention_policies"):
        op.drop_table(table)
