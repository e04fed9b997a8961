"""drafts of flows; who published a version, and which one it put back

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable: versions published before this one do not say it, and the version before goes on writing without them.
    with op.batch_alter_table("flow_versions") as table:
        table.add_column(sa.Column("created_by", sa.String(200), nullable=True))
        table.add_column(sa.Column("copy_of", sa.Integer(), nullable=True))
    op.create_table(
        "flow_drafts",
        sa.Column("flow_id", sa.String(63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("graph", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.Column("saved_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("flow_id", name=op.f("pk_flow_drafts")),
    )


def downgrade() -> None:
    op.drop_table("flow_drafts")
    with op.batch_alter_table("flow_versions") as table:
        table.drop_column("copy_of")
        table.drop_column("created_by")
