"""Who erases may die at any moment: the next one goes on, and in the end it is as if nobody had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.services.erasing import Eraser
from orchestrator.services.guards import _Session
from tests.integration.centre.conftest import running
from tests.integration.centre.rights_world import PERSON, ended, everything, site_of
from tests.integration.centre.support import Api, until
from tests.integration.centre.test_erasure import TAIL, erase, holding
from tests.integration.centre.test_process import _environment, started
from tests.support.ports import free_port


class Killed(Exception):
    """The process is gone."""


class Dying(_Session):
    """Dies at its ``left``th write: just before the commit, or just after it."""

    def __init__(self, real: Database) -> None:
        self.url, self.engine, self.hooks = real.url, real.engine, real.hooks
        self.real, self.left, self.committed = real, 0, True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self.real.read() as session:
            yield session

    @asynccontextmanager
    async def write(self, *, config: bool = False, projections: bool = False) -> AsyncIterator[AsyncSession]:
        self.left -= 1
        dies = self.left <= 0
        async with self.real.write(config=config, projections=projections) as session:
            yield session
            if dies and not self.committed:
                raise Killed
        if dies:
            raise Killed


async def test_killed_at_every_write(settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Eraser] = []

    async def idle(eraser: Eraser) -> None:
        made.append(eraser)
        await asyncio.Event().wait()

    monkeypatch.setattr(Eraser, "run", idle)
    async with running(settings) as (centre, said), client(centre, said) as api:
        database = centre.database
        assert database is not None
        [eraser] = made
        await _killed(api, settings, database, eraser, tmp_path)


@asynccontextmanager
async def client(centre: Centre, said: list[str]) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {said[0].rsplit(' ', 1)[1]}", "X-Purpose": "a test"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
        yield Api(session)


async def _killed(api: Api, settings: CentreSettings, database: Database, eraser: Eraser, tmp_path: Path) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        erasure_id = await erase(api)
        dying = Dying(database)
        deaths = 0
        over = False
        while not over:
            deaths += 1
            dying.left, dying.committed = min(deaths, 3), deaths % 2 == 0
            try:
                over = await Eraser(dying, eraser._bus, eraser._keys).advance(erasure_id)
            except Killed:
                assert deaths < 60, "it does not come forward"
        assert deaths > 10
        await ended(api, erasure_id, "done")
        assert holding(await everything(database)) == set()
        assert not site.journal_holds(TAIL)
        assert not site.opens(site.recording)


async def test_log_is_empty_before_it_is_said_to_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody can be killed between the certificate and what it says. A long read is waited for."""
    settings = CentreSettings(state_dir=tmp_path / "centre", api_port=0, bus_port=free_port())
    looks: list[tuple[str, bool, bool]] = []
    overwrite = Database.overwrite_log

    async def watched(database: Database) -> bool:
        done = await overwrite(database)
        async with database.read() as session:
            states = list(await session.scalars(text("SELECT state FROM erasures")))
        if states:
            looks.append((states[0], done, _in_files(tmp_path)))
        return done

    monkeypatch.setattr(Database, "overwrite_log", watched)
    async with running(settings) as (centre, said), client(centre, said) as api:
        assert centre.database is not None
        async with site_of(api, tmp_path / "pop", settings.bus_port):
            async with centre.database.read() as reader:
                assert (await reader.execute(text("SELECT count(*) FROM events"))).scalar_one()
                erasure_id = await erase(api)
                await until(lambda: _said(looks))
                assert (await api.get(f"/erasures/{erasure_id}")).body["state"] == "running"
            await ended(api, erasure_id, "done")
            await until(lambda: _said([one for one in looks if one[0] == "done"]))
    assert looks[0] == ("running", False, True)
    assert looks[-2:] == [("running", True, False), ("done", True, False)]


async def _said(looks: list[tuple[str, bool, bool]]) -> bool:
    return bool(looks)


def _in_files(directory: Path) -> bool:
    return any(PERSON.encode() in file.read_bytes() for file in (directory / "centre").glob("centre.db*"))


async def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    port = free_port()
    environment = _environment(tmp_path / "centre", bus_port=str(port))
    token = ""
    async with started(environment) as first:
        assert first.process.stdout is not None
        token = (await first.process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
        headers = {"Authorization": f"Bearer {token}", "X-Purpose": "asked for"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{first.port()}", headers=headers) as session:
            api = Api(session)
            async with site_of(api, tmp_path / "pop", port) as site:
                erasure_id = await erase(api)
                first.process.kill()
                await first.process.wait()
                async with (
                    started(environment) as again,
                    aiohttp.ClientSession(f"http://127.0.0.1:{again.port()}", headers=headers) as second,
                ):
                    await ended(Api(second), erasure_id, "done")
                    document = (await Api(second).get(f"/erasures/{erasure_id}/certificate")).body
                    assert document["certificate"]["result"] == "erased"
                assert not site.journal_holds(TAIL)
                assert not site.opens(site.recording)
    assert list((tmp_path / "centre").glob("centre.db*"))
    assert not _in_files(tmp_path), "nor is it in the database's file"
