"""A database that comes back from a backup is what POPs follow from then on, though they have heard of more since."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from orchestrator.config import CentreSettings
from pbx.adapters.journal.again import send_again
from pbx.domain.errors import BadValue
from tests.integration.centre.conftest import Postgres, running
from tests.integration.centre.support import QUEUE, Api, agent, pop, until
from tests.integration.centre.test_calls import START, a_call


@asynccontextmanager
async def centre_on(settings: CentreSettings, headers: dict[str, str]) -> AsyncIterator[Api]:
    async with running(settings) as (centre, said):
        headers.update({"Authorization": "Bearer " + said[0].rsplit(" ", 1)[1]} if said else {})
        async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
            yield Api(session)


async def _copy(url: str, to: Path, request: pytest.FixtureRequest) -> str:
    if url.startswith("sqlite"):
        return f"sqlite:///{await asyncio.to_thread(shutil.copy, url.removeprefix('sqlite:///'), to)}"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.new_database(url.removeprefix(server.prefix))


async def test_a_restored_database_is_what_pops_follow(
    settings: CentreSettings, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    headers = dict[str, str]()
    async with centre_on(settings, headers) as api:
        key = await api.new_site()
        kept = (await api.made("/agents", agent()))["agent_id"]
    backup = await _copy(database_url, tmp_path / "backup.db", request)
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        async with centre_on(settings, headers) as api:
            later = (await api.made("/agents", agent(name="Later", extension=None)))["agent_id"]
            assert (await api.delete(f"/agents/{kept}")).status == 204
            for number in range(3):
                await api.made("/queues", {**QUEUE, "queue_id": f"later-{number}"})
            await until(lambda: f"agent.{later}" in site.journal.config() and "queue.later-2" in site.journal.config())
            newest = (await api.get("/pops/de-fra-1")).body["config_revision"]
        restored = settings.model_copy(update={"database_url": SecretStr(backup)})
        async with centre_on(restored, headers) as api:

            def as_it_was() -> bool:
                there = site.journal.config()
                return f"agent.{kept}" in there and not any("later" in key or later in key for key in there)

            await until(as_it_was)
            assert (await api.get("/pops/de-fra-1")).body["config_revision"] > newest
            await api.made("/queues", {**QUEUE, "queue_id": "new"})
            await until(lambda: "queue.new" in site.journal.config())
            settled = (await api.get("/pops/de-fra-1")).body["config_revision"]
        async with centre_on(restored, headers) as api:  # and then it is like any other
            await api.made("/queues", {**QUEUE, "queue_id": "newer"})
            await until(lambda: "queue.newer" in site.journal.config())
            assert (await api.get("/pops/de-fra-1")).body["config_revision"] == settled + 1


async def test_what_the_backup_does_not_have_pops_send_again(
    settings: CentreSettings, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A call that it has, one that it has in part, one that it never heard of: afterwards all are as they were."""
    headers = dict[str, str]()
    path = tmp_path / "j.db"
    calls = {name: a_call(name, START + 60 * number) for number, name in enumerate(("before", "during", "after"))}

    async def ended(api: Api, name: str) -> Any:
        found = await api.get(f"/calls/{calls[name][0]}")
        return found.body if found.status == 200 and found.body["ended_at"] else None

    async with centre_on(settings, headers) as api:
        key = await api.new_site()
        async with pop(path, settings.bus_port, key) as site:
            await site.journal.append(calls["before"][0], calls["before"][2])
            await site.journal.append(calls["during"][0], calls["during"][2][:6])
            await until(lambda: ended(api, "before"))
            await until(lambda: _there(api, f"/calls/{calls['during'][0]}"))
    backup = await _copy(database_url, tmp_path / "backup.db", request)
    async with centre_on(settings, headers) as api, pop(path, settings.bus_port, key) as site:
        # At once, so that they are one batch, which is sent again within the two minutes in which the bus knows it.
        rest = (calls["during"][0], calls["during"][2][6:]), calls["after"][::2]
        await asyncio.gather(*(site.journal.append(call, events) for call, events in rest))
        was = {name: await until(lambda name=name: ended(api, name)) for name in calls}
        await until(lambda: site.journal.unsent_count() == 0)
    restored = settings.model_copy(update={"database_url": SecretStr(backup)})
    async with centre_on(restored, headers) as api:
        async with pop(path, settings.bus_port, key) as site:
            assert (await api.get(f"/calls/{calls['after'][0]}")).status == 404
            with pytest.raises(BadValue, match="stop the controller"):
                send_again(path, START)
        since = calls["during"][2][6].at
        assert since > calls["during"][2][5].at
        assert send_again(path, since) == sum(len(events) for _, events in rest)
        async with pop(path, settings.bus_port, key):
            assert {name: await until(lambda name=name: ended(api, name)) for name in calls} == was


async def _there(api: Api, path: str) -> bool:
    return (await api.get(path)).status == 200
