"""Alembic's environment. The caller hands over its connection; from the command line (``alembic revision``) the
URL of the configuration is used instead.
"""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.adapters.db.models import Base

LOCK_TIMEOUT = "5s"
"""A migration that waits longer for a table fails, instead of blocking every reader behind it."""


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Centres that start at once take turns; the second finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(1667329132)"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_by_url(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(_run_by_url(context.config.get_main_option("sqlalchemy.url") or ""))
