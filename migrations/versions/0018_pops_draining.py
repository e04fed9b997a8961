"""since when a POP drains

Revision ID: 0018
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pops", sa.Column("draining_since", sa.Double()))


def downgrade() -> None:
    op.drop_column("pops", "draining_since")
