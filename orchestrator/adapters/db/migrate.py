"""Brings a database to the newest schema from the package's own files; nothing is read from the working directory."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


async def upgrade(engine: AsyncEngine) -> None:
    """All or nothing: the migrations run in one transaction."""
    async with engine.execution_options(callplane_write=True).begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))


async def is_behind(engine: AsyncEngine) -> bool:
    """Whether migrations of this version are still to be done. A schema that only a newer version knows is not behind:
    it was made so that this one goes on working."""
    async with engine.connect() as connection:
        found = frozenset(await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_heads()))
    head, known = _revisions()
    return not found or (head not in found and found <= known)


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The head, and all."""
    script = ScriptDirectory.from_config(alembic_config())
    return script.get_current_head(), frozenset(one.revision for one in script.walk_revisions())
