"""consent policies

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent_policies",
        sa.Column("consent_policy_id", sa.String(31), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("consent_policy_id", name=op.f("pk_consent_policies")),
    )


def downgrade() -> None:
    op.drop_table("consent_policies")
