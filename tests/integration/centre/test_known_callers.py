"""A token that was looked up a moment ago is not looked up again; what revokes it still counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from orchestrator.adapters.db.access_models import UserRow
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from orchestrator.config import CentreSettings
from orchestrator.domain.grants import EVERYTHING
from orchestrator.services import tokens
from orchestrator.services.known_callers import KEPT_S, MOST, KnownCallers

START = 1_790_000_000.0


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(CentreSettings(state_dir=tmp_path, database_url=SecretStr(database_url)).sqlalchemy_url())
    await upgrade(made.engine)
    yield made
    await made.close()


class Scene:
    def __init__(self, database: Database) -> None:
        self.database, self.now = database, START
        self.callers = KnownCallers(database, lambda: self.now, lambda: self.now)

    async def token(self, expires_at: float | None = None) -> str:
        async with self.database.write() as session:
            return (await tokens.create(session, "someone", START, None, expires_at))[1]

    async def elsewhere(self, statement: str) -> None:
        """As another process writes."""
        async with self.database.engine.begin() as connection:
            await connection.execute(text(statement))


async def test_what_another_process_revoked_counts_a_moment_later(database: Database) -> None:
    scene = Scene(database)
    token = await scene.token()
    assert await scene.callers.find(token) is not None
    await scene.elsewhere("DELETE FROM tokens")
    scene.now += KEPT_S - 0.1
    kept = await scene.callers.find(token)
    assert kept is not None  # it was not looked up
    scene.now += 0.1
    assert await scene.callers.find(token) is None


async def test_what_this_process_revoked_counts_at_once(database: Database) -> None:
    scene = Scene(database)
    token = await scene.token()
    found = await scene.callers.find(token)
    assert found is not None
    async with database.write() as session:
        await tokens.delete(session, found.caller_id)
    assert await scene.callers.find(token) is None


async def test_a_users_session_ends_with_the_user(database: Database) -> None:
    scene = Scene(database)
    async with database.write() as session:
        user = UserRow(user_id="u", login="ada", name="Ada", grants=[one.to_json() for one in EVERYTHING])
        user.created_at, user.disabled = START, False
        session.add(user)
        await session.flush()
        _, token = tokens.begin_session(session, user, START, START + 100)
    found = await scene.callers.find(token)
    assert found is not None
    assert (found.name, found.user_id, found.expires_at) == ("Ada", "u", START + 100)
    async with database.write() as session:
        (await session.get_one(UserRow, "u")).disabled = True
    assert await scene.callers.find(token) is None


async def test_it_expires_in_its_very_moment(database: Database) -> None:
    scene = Scene(database)
    token = await scene.token(expires_at=START + KEPT_S / 2)
    assert await scene.callers.find(token) is not None
    scene.now += KEPT_S / 2 - 0.01
    assert await scene.callers.find(token) is not None
    scene.now += 0.01
    assert await scene.callers.find(token) is None


async def test_requests_share_nothing_that_they_note(database: Database) -> None:
    scene = Scene(database)
    token = await scene.token()
    one, two = await scene.callers.find(token), await scene.callers.find(token)
    assert one is not None
    assert two is not None
    one.entries.append("done")
    one.enter((), whole=False)
    assert (two.entries, two.grants) == ([], EVERYTHING)


async def test_who_guesses_fills_nothing(database: Database) -> None:
    scene = Scene(database)
    token = await scene.token()
    assert await scene.callers.find(token) is not None
    for number in range(MOST + 1):
        assert await scene.callers.find(f"cp_{number}") is None
    await scene.elsewhere("DELETE FROM tokens")
    assert await scene.callers.find(token) is not None  # still known
