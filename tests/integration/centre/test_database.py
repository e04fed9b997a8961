"""The schema: what the migrations make is what the models say, on both databases."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, delete, text
from sqlalchemy.exc import IntegrityError

from orchestrator.adapters.db.engine import LOCK_WAIT_S, Database
from orchestrator.adapters.db.migrate import alembic_config, newest, upgrade
from orchestrator.adapters.db.models import Base, DidRow, RejectedBatchRow
from orchestrator.config import CentreSettings


@pytest.fixture
def url(empty_database_url: str, tmp_path: Path) -> str:
    return CentreSettings(state_dir=tmp_path, database_url=SecretStr(empty_database_url)).sqlalchemy_url()


async def test_migrations_and_models_agree(url: str) -> None:
    database = Database(url)
    await upgrade(database.engine)
    await upgrade(database.engine)

    def difference(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": Base.metadata})
        return list(compare_metadata(context, Base.metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(difference) == []
    await database.close()


def test_the_newest_revision_is_found_without_alembic() -> None:
    assert newest() == ScriptDirectory.from_config(alembic_config()).get_current_head()


async def test_a_failed_block_writes_nothing_and_references_are_held(url: str) -> None:
    database = Database(url)
    await upgrade(database.engine)
    row = DidRow(number="+4930555010", pop_id="nowhere", flow_id="nothing", country="DE", language="de")
    row.time_zone, row.region, row.created_at = "UTC", "eu", 0.0

    async def half() -> None:
        async with database.write(config=True) as session:
            await session.execute(text("INSERT INTO settings (key, value) VALUES ('a', '1')"))
            session.add(row)

    with pytest.raises(IntegrityError):
        await half()
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM settings"))).scalar() == 0
    await database.close()


async def test_writers_wait_for_one_another(url: str) -> None:
    """Read, think, write: no update is lost and nobody is told that the database is locked."""
    database = Database(url)
    await upgrade(database.engine)
    async with database.write() as session:
        await session.execute(text("INSERT INTO settings (key, value) VALUES ('n', '0')"))

    async def add_one() -> None:
        async with database.write(config=True) as session:
            value = (await session.execute(text("SELECT value FROM settings WHERE key = 'n'"))).scalar_one()
            await asyncio.sleep(0)
            statement = text("UPDATE settings SET value = :v WHERE key = 'n'")
            if not database.is_sqlite:
                statement = text("UPDATE settings SET value = CAST(:v AS json) WHERE key = 'n'")
            await session.execute(statement, {"v": str(int(value) + 1)})

    await asyncio.gather(*(add_one() for _ in range(20)))
    async with database.read() as session:
        value = (await session.execute(text("SELECT value FROM settings WHERE key = 'n'"))).scalar_one()
    assert int(value) == 20
    await database.close()


async def test_what_is_deleted_is_overwritten_in_the_file(tmp_path: Path, migrated_file: Path) -> None:
    path = tmp_path / "centre.db"
    shutil.copy(migrated_file, path)
    database = Database(f"sqlite+aiosqlite:///{path}")
    row = RejectedBatchRow(subject="s", reason="r", payload=b"very secret " * 2000, received_at=1.0)
    async with database.write() as session:
        session.add(row)
    await database.overwrite_log()
    assert b"very secret" in _contents(tmp_path)
    async with database.write() as session:
        await session.execute(delete(RejectedBatchRow))
    await database.overwrite_log()
    await database.close()
    assert b"very secret" not in _contents(tmp_path)


async def test_who_reads_an_older_state_keeps_the_log(tmp_path: Path, migrated_file: Path) -> None:
    path = tmp_path / "centre.db"
    shutil.copy(migrated_file, path)
    database = Database(f"sqlite+aiosqlite:///{path}")
    row = RejectedBatchRow(subject="s", reason="r", payload=b"very secret " * 2000, received_at=1.0)
    async with database.read() as reader:
        await reader.execute(text("SELECT count(*) FROM rejected_batches"))
        async with database.write() as session:
            session.add(row)
        async with database.write() as session:
            await session.execute(delete(RejectedBatchRow))
        assert not await database.overwrite_log()
        assert b"very secret" in _contents(tmp_path)
    assert await database.overwrite_log()
    assert b"very secret" not in _contents(tmp_path)
    async with database.write() as session:
        waits = (await session.execute(text("PRAGMA busy_timeout"))).scalar_one()
    assert waits == LOCK_WAIT_S * 1000
    await database.close()


def _contents(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())
