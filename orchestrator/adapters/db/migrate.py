"""Brings a database to the newest schema from the package's own files; nothing is read from the working directory."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations

# Alembic is imported when there is something to migrate: most starts find the newest schema and do without.
if TYPE_CHECKING:
    from alembic.config import Config

_REVISION = re.compile(r'^(revision|down_revision)\b.*= "(\w+)"', re.MULTILINE)


def alembic_config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


@cache
def _said() -> list[tuple[str, str]]:
    """``("revision", name)`` and ``("down_revision", name)`` of every migration."""
    files = (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    return [found for file in files for found in _REVISION.findall(file.read_text())]


def newest() -> str:
    """The revision that no other one follows."""
    said = _said()
    (last,) = {name for kind, name in said if kind == "revision"} - {name for kind, name in said if kind != "revision"}
    return last


async def upgrade(engine: AsyncEngine) -> None:
    """All or nothing: the migrations run in one transaction."""
    async with engine.connect() as connection:
        if await connection.run_sync(_current) == newest():
            return
    from alembic import command

    async with engine.execution_options(callplane_write=True).begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))


async def is_behind(engine: AsyncEngine) -> bool:
    """Whether migrations of this version are still to be done. A schema that only a newer version knows is not behind:
    it was made so that this one goes on working."""
    async with engine.connect() as connection:
        found = await connection.run_sync(_current)
    return found is None or (found != newest() and found in {name for kind, name in _said() if kind == "revision"})


def _current(connection: Connection) -> str | None:
    """None for a database that has no schema yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version
