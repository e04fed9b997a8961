"""What is away comes back, and nothing is missing afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from orchestrator.config import CentreSettings
from tests.integration.centre.conftest import Postgres, running
from tests.integration.centre.support import Api, pop, until
from tests.integration.centre.test_calls import START, a_call
from tests.support.ports import free_port


async def _answers(api: Api, path: str) -> Any:
    answer = await api.get(path)
    return answer.body if answer.status == 200 else None


async def test_the_database_goes_and_comes_back(tmp_path: Path) -> None:
    server = Postgres()
    up = True
    try:
        settings = CentreSettings(
            state_dir=tmp_path / "centre",
            database_url=SecretStr(await server.new_database()),
            api_port=0,
            bus_port=free_port(),
        )
        async with running(settings) as (centre, said):
            headers = {"Authorization": "Bearer " + said[0].rsplit(" ", 1)[1]}
            async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
                api = Api(session)
                key = await api.new_site()
                async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
                    await until(lambda: len(site.journal.config()) == 3)
                    server.stop()
                    up = False
                    for path in ("/pops", "/health"):
                        away = await api.get(path)
                        assert (away.status, away.error_id) == (503, "database_unavailable"), path
                    calls = []
                    for number in range(20):
                        call, _, events = a_call(f"away-{number}", START + number)
                        calls.append(call)
                        await site.journal.append(call, events)
                        site.link.events_waiting()
                    await until(lambda: site.journal.unsent_count() == 0)
                    assert site.link.connected
                    server.start()
                    up = True
                    for call in calls:
                        found = await until(lambda call=call: _answers(api, f"/calls/{call}"), 30)
                        assert found["end_reason"] == "caller_hung_up"
                    assert len((await api.get("/calls?limit=1000")).body["items"]) == 20
    finally:
        if up:
            server.stop()
        server.remove()


async def test_a_pop_that_outlives_the_centre_sends_what_it_kept(tmp_path: Path) -> None:
    settings = CentreSettings(state_dir=tmp_path / "centre", api_port=0, bus_port=free_port())
    call, _, events = a_call("kept")
    async with running(settings) as (centre, said):
        headers = {"Authorization": "Bearer " + said[0].rsplit(" ", 1)[1]}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
            key = await Api(session).new_site()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(call, events)
        site.link.events_waiting()
        async with (
            running(settings) as (centre, _),
            aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session,
        ):
            await until(lambda: _answers(Api(session), f"/calls/{call}"))
            await until(lambda: len(site.journal.config()) == 3)
