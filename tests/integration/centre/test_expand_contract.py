"""Expand, migrate, contract: after each migration, the version of the code before it still reads and writes its rows.

The code before is known by its schema: the tables as the database had them one revision earlier, reflected from it.
What it does to them is what the centre does: insert with all columns that it knows, read them, change them, delete.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Double,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import alembic_config
from orchestrator.config import CentreSettings

REVISIONS = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
DROPPED: dict[str, set[str]] = {}
"""Revision -> tables that it drops, and that the version before has neither read nor written any more. Say so here."""


@pytest.fixture
def database(empty_database_url: str, tmp_path: Path) -> Database:
    return Database(CentreSettings(state_dir=tmp_path, database_url=SecretStr(empty_database_url)).sqlalchemy_url())


def value_of(column: Column[Any], *, changed: bool = False) -> Any:
    """The same for all columns of one type, so that references hold."""
    if isinstance(column.type, Boolean):
        return changed
    if isinstance(column.type, JSON):
        return {"changed": changed}
    if isinstance(column.type, LargeBinary):
        return b"2" if changed else b"1"
    if isinstance(column.type, Float | Double | Integer):
        return 2 if changed else 1
    return "b" if changed else "a"


def works(connection: Connection, tables: MetaData) -> None:
    """Raises DBAPIError where the code that knows ``tables`` does not work on what is there; changes nothing."""
    rows = {
        table.name: {c.name: value_of(c) for c in table.columns}
        for table in tables.sorted_tables
        if table.name != "alembic_version"
    }
    known = [table for table in tables.sorted_tables if table.name in rows]
    with connection.begin_nested() as attempt:
        for table in reversed(known):
            connection.execute(delete(table))  # rows that migrations made
        for table in known:
            connection.execute(insert(table), rows[table.name])
        for table in known:
            found = connection.execute(select(table)).mappings().all()
            assert [dict(row) for row in found] == [rows[table.name]], table.name
            free = [c for c in table.columns if not c.primary_key and not c.foreign_keys]
            if free:
                connection.execute(update(table).values({c.name: value_of(c, changed=True) for c in free}))
        for table in reversed(known):
            connection.execute(delete(table))
        attempt.rollback()


def reflected(connection: Connection) -> MetaData:
    tables = MetaData()
    tables.reflect(connection)
    return tables


async def _in_turn(database: Database, step: Callable[[Connection, str], None]) -> None:
    """Bring the database up one revision at a time."""
    for revision in REVISIONS:
        async with database.engine.execution_options(callplane_write=True).begin() as connection:
            await connection.run_sync(step, revision)


async def test_the_version_before_works_on_each_new_schema(database: Database) -> None:
    checked: list[str] = []

    def step(connection: Connection, revision: str) -> None:
        before = reflected(connection)
        command.upgrade(alembic_config(connection), revision)
        for name in DROPPED.get(revision, ()):
            before.remove(before.tables[name])
        works(connection, before)
        checked.append(revision)

    await _in_turn(database, step)
    await database.close()
    assert checked == REVISIONS
    assert len(checked) > 5


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tokens ADD COLUMN scope VARCHAR(9) NOT NULL DEFAULT 'x'; ALTER TABLE tokens DROP COLUMN role",
        "ALTER TABLE tokens RENAME COLUMN role TO job",
        "DROP TABLE callbacks",
    ],
)
async def test_a_migration_that_breaks_it_is_seen(database: Database, change: str) -> None:
    def check(connection: Connection) -> None:
        command.upgrade(alembic_config(connection), "head")
        before = reflected(connection)
        works(connection, before)
        for statement in change.split("; "):
            connection.execute(text(statement))
        with pytest.raises(DBAPIError):
            works(connection, before)

    async with database.engine.execution_options(callplane_write=True).connect() as connection:
        await connection.run_sync(check)
        await connection.rollback()
    await database.close()
