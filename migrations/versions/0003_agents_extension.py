"""agents' extension, and who may supervise by feature code

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable, and a default on the server: the version before this one goes on writing agents without them.
    with op.batch_alter_table("agents") as table:
        table.add_column(sa.Column("extension", sa.String(6), nullable=True))
        table.add_column(sa.Column("supervises", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.create_unique_constraint(op.f("uq_agents_pop_id_extension"), ["pop_id", "extension"])


def downgrade() -> None:
    with op.batch_alter_table("agents") as table:
        table.drop_constraint(op.f("uq_agents_pop_id_extension"), type_="unique")
        table.drop_column("supervises")
        table.drop_column("extension")
