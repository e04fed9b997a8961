"""uploaded prompts and their versions

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompts",
        sa.Column("prompt_key", sa.String(100), nullable=False),
        sa.Column("language", sa.String(35), nullable=False),
        sa.Column("prompt_id", sa.String(31), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("prompt_key", name=op.f("pk_prompts")),
    )
    op.create_index(op.f("ix_prompts_language"), "prompts", ["language"])
    op.create_index(op.f("ix_prompts_prompt_id"), "prompts", ["prompt_id"])
    op.create_table(
        "prompt_versions",
        sa.Column("prompt_key", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
        sa.Column("alaw", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_key"], ["prompts.prompt_key"], name=op.f("fk_prompt_versions_prompt_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prompt_key", "version", name=op.f("pk_prompt_versions")),
    )
    op.create_index(op.f("ix_prompt_versions_sha256"), "prompt_versions", ["sha256"])


def downgrade() -> None:
    op.drop_table("prompt_versions")
    op.drop_table("prompts")
