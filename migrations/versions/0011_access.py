"""units, users, grants of tokens, regions of POPs

Revision ID: 0011
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None

OF_A_UNIT = ("queues", "flows", "flow_versions", "flow_drafts", "dids", "agents")


def upgrade() -> None:
    # All of it may be empty: the version before this one goes on writing without it, and that belongs to no unit.
    for table in OF_A_UNIT:
        op.add_column(table, sa.Column("unit_id", sa.String(31), nullable=True))
    op.add_column("pops", sa.Column("region", sa.String(31), nullable=True))
    op.add_column("tokens", sa.Column("grants", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("tokens", sa.Column("user_id", sa.String(26), nullable=True))
    op.add_column("tokens", sa.Column("expires_at", sa.Double(), nullable=True))
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"])
    op.create_table(
        "units",
        sa.Column("unit_id", sa.String(31), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_units")),
    )
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(26), nullable=False),
        sa.Column("login", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("grants", sa.JSON(), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("login", name=op.f("uq_users_login")),
    )
    op.create_table(
        "call_units",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("unit_id", sa.String(31), nullable=True),
        sa.Column("origin", sa.String(81), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_call_units")),
    )
    op.create_index(op.f("ix_call_units_unit_id_call_id"), "call_units", ["unit_id", "call_id"])


def downgrade() -> None:
    for table in ("call_units", "users", "units"):
        op.drop_table(table)
    op.drop_index(op.f("ix_tokens_user_id"), table_name="tokens")
    for table, column in (
        *((table, "unit_id") for table in OF_A_UNIT),
        ("pops", "region"),
        ("tokens", "grants"),
        ("tokens", "user_id"),
        ("tokens", "expires_at"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
