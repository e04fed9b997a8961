"""Reads by the driver itself are the reads of a session, and whatever ails them ails nobody who asks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Integer, bindparam, column, literal, or_, select, text

from orchestrator.adapters.db.direct import Direct, Fixed
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import SettingRow
from tests.integration.centre.conftest import Postgres

SETTING = select(SettingRow.key, SettingRow.value).where(SettingRow.key == bindparam("key"))


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    made = Database((await postgres.migrated_database()).replace("postgresql://", "postgresql+asyncpg://"))
    yield made
    await made.close()


async def direct(database: Database, statement: Any, given: dict[str, Any]) -> Any:
    assert database._direct is not None
    return await database._direct.rows(Fixed(statement), given)


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        (SETTING, {"key": "colour"}),
        (SETTING, {"key": "size"}),
        (SETTING.where(or_(SettingRow.key == "colour", SettingRow.key == "size")), {"key": "colour"}),
        (text("SELECT key, value FROM settings WHERE key = :key OR :key = key"), {"key": "colour"}),
        (text("SELECT CAST(NULL AS BIGINT), CAST('{\"a\": [1, null]}' AS JSON), CAST('[2]' AS JSONB), 1.5e0"), {}),
        (select(literal(7, Integer).label("seven"), column("n")).select_from(text("generate_series(1, 3) AS n")), {}),
    ],
)
async def test_the_same_is_read(database: Database, statement: Any, given: dict[str, Any]) -> None:
    async with database.write() as session:
        session.add(SettingRow(key="colour", value="red"))
    usual = await database.rows(statement, given)
    found = await direct(database, statement, given)
    assert [tuple(row) for row in found] == [tuple(row) for row in usual]
    assert await database.rows(Fixed(statement), given) == found
    if usual and not isinstance(statement, type(text(""))):
        assert found[0]._asdict() == dict(usual[0]._mapping)


async def test_a_connection_that_was_cut_is_made_anew(
    database: Database, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    mine = Fixed(text("SELECT pg_backend_pid(), :n + 0"))
    ((first, _),) = await database.rows(mine, {"n": 1})
    other = await asyncpg.connect(database.url.replace("+asyncpg", ""))
    try:
        assert await other.fetchval("SELECT pg_terminate_backend($1)", first)
    finally:
        await other.close()
    for n in (1, 2):
        ((pid, answer),) = await database.rows(mine, {"n": n})
        assert (pid != first, answer) == (True, n)
    assert await direct(database, text("SELECT 1"), {}) is not None


async def test_what_cannot_be_read_so_is_read_the_ordinary_way(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Refused(Direct):
        async def _open(self) -> Any:
            raise ConnectionRefusedError

    database._direct = Refused(database.engine)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [tuple(row) for row in await database.rows(Fixed(text("SELECT 1")))] == [(1,)]
    assert len([one for one in caplog.records if "direct reads fail" in one.message]) == 1


async def test_each_read_is_planned_for_what_it_asks(database: Database) -> None:
    shown = text("SELECT current_setting('plan_cache_mode')")
    assert [tuple(row) for row in await direct(database, shown, {})] == [("force_custom_plan",)]
    assert [tuple(row) for row in await database.rows(shown)] == [("auto",)], "of its own connections only"


async def test_a_list_is_not_fixed(database: Database) -> None:
    some = select(SettingRow.key).where(SettingRow.key.in_(bindparam("keys", expanding=True)))
    with pytest.raises(ValueError, match="no fixed statement"):
        await direct(database, some, {"keys": ["a"]})
