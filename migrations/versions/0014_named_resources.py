"""regions, skills, schedules, trunks, webhooks; agents may refer to named shifts

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for noun, key, length in (("regions", "region_id", 31), ("skills", "skill_id", 63)):
        op.create_table(
            noun,
            sa.Column(key, sa.String(length), nullable=False),
            sa.Column("name", sa.String(200), nullable=False),
            sa.Column("description", sa.String(1000), nullable=False),
            sa.Column("created_at", sa.Double(), nullable=False),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{noun}")),
        )
    op.create_table(
        "schedules",
        sa.Column("kind", sa.String(15), nullable=False),
        sa.Column("schedule_id", sa.String(31), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "schedule_id", name=op.f("pk_schedules")),
    )
    op.create_table(
        "trunks",
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("name", sa.String(31), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["pop_id"], ["pops.pop_id"], name=op.f("fk_trunks_pop_id")),
        sa.PrimaryKeyConstraint("pop_id", "name", name=op.f("pk_trunks")),
    )
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.String(26), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    # Nullable: the version before this one goes on writing agents without it.
    with op.batch_alter_table("agents") as table:
        table.add_column(sa.Column("shifts_id", sa.String(31), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("agents") as table:
        table.drop_column("shifts_id")
    for name in ("webhooks", "trunks", "schedules", "skills", "regions"):
        op.drop_table(name)
