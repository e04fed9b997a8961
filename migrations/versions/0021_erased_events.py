"""what was erased at a POP, for the POP to ask

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ERASED = sa.text("kind = 'RecordingErased'")


def upgrade() -> None:
    op.create_index("ix_events_erased", "events", ["pop_id", "id"], postgresql_where=ERASED, sqlite_where=ERASED)


def downgrade() -> None:
    op.drop_index("ix_events_erased", "events")
