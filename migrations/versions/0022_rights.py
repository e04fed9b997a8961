"""rights of persons: erasures, legal holds, corrections

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.String(26), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("number", sa.LargeBinary()),
        sa.Column("grants", sa.JSON(), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("caller_id", sa.String(26), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", sa.String(15), nullable=False),
        sa.Column("holds", sa.JSON(), nullable=False),
        sa.Column("completed_at", sa.Double()),
        sa.Column("issued", sa.Integer(), nullable=False),
        sa.Column("certificate", sa.JSON()),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_digest"), "erasures", ["digest"])
    op.create_index(op.f("ix_erasures_state"), "erasures", ["state"])
    op.create_table(
        "erasure_steps",
        sa.Column("erasure_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(15), nullable=False),
        sa.Column("thing", sa.String(31), nullable=False),
        sa.Column("pop_id", sa.String(31)),
        sa.Column("call_id", sa.String(26)),
        sa.Column("state", sa.String(15), nullable=False),
        sa.Column("why", sa.String(63)),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasures.erasure_id"], name=op.f("fk_erasure_steps_erasure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("erasure_id", "kind", "thing", name=op.f("pk_erasure_steps")),
    )
    op.create_index(op.f("ix_erasure_steps_call_id"), "erasure_steps", ["call_id"])
    op.create_table(
        "erased_numbers",
        sa.Column("erasure_id", sa.String(26), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasures.erasure_id"], name=op.f("fk_erased_numbers_erasure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("erasure_id", "digest", name=op.f("pk_erased_numbers")),
    )
    op.create_index(op.f("ix_erased_numbers_before"), "erased_numbers", ["before"])
    op.create_table(
        "legal_holds",
        sa.Column("hold_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(15), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("number", sa.LargeBinary()),
        sa.Column("call_id", sa.String(26)),
        sa.Column("recording_id", sa.String(26)),
        sa.Column("pop_id", sa.String(31)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("authority", sa.String(200), nullable=False),
        sa.Column("until", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("lifted_at", sa.Double()),
        sa.Column("lifted_by", sa.String(200)),
        sa.Column("lifted_why", sa.Text()),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_legal_holds")),
    )
    op.create_index(op.f("ix_legal_holds_digest"), "legal_holds", ["digest"])
    op.create_index(op.f("ix_legal_holds_call_id"), "legal_holds", ["call_id"])
    op.create_table(
        "corrections",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("number", sa.String(16)),
        sa.Column("name", sa.String(200)),
        sa.Column("note", sa.Text()),
        sa.Column("corrected_at", sa.Double(), nullable=False),
        sa.Column("corrected_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_corrections")),
    )
    op.create_index(op.f("ix_corrections_number"), "corrections", ["number"])


def downgrade() -> None:
    for table in ("corrections", "legal_holds", "erased_numbers", "erasure_steps", "erasures"):
        op.drop_table(table)
