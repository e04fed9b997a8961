"""what is sent to webhooks

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

ADDED = ("former_secret", "former_until", "unit_id", "listens", "stopped_at", "stopped_why")


def upgrade() -> None:
    with op.batch_alter_table("webhooks") as table:
        table.add_column(sa.Column("former_secret", sa.LargeBinary()))
        table.add_column(sa.Column("former_until", sa.Double()))
        table.add_column(sa.Column("unit_id", sa.String(31)))
        table.add_column(sa.Column("listens", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("stopped_at", sa.Double()))
        table.add_column(sa.Column("stopped_why", sa.String(31)))
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("webhook_id", sa.String(26), nullable=False),
        sa.Column("message_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(31), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(15), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("next_at", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.String(31)),
        sa.Column("attempted_at", sa.Double()),
        sa.Column("took_ms", sa.BigInteger()),
        sa.Column("ended_at", sa.Double()),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.webhook_id"], name=op.f("fk_webhook_deliveries_webhook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("webhook_id", "message_id", name=op.f("uq_webhook_deliveries_webhook_id_message_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_id_state_next_at"),
        "webhook_deliveries",
        ["webhook_id", "state", "next_at"],
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_id_subject_id"), "webhook_deliveries", ["webhook_id", "subject", "id"]
    )
    op.create_index(op.f("ix_webhook_deliveries_ended_at"), "webhook_deliveries", ["ended_at"])


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    with op.batch_alter_table("webhooks") as table:
        for name in ADDED:
            table.drop_column(name)
