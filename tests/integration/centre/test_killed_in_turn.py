"""Calls go on while the centre's processes are killed one after the other; afterwards nothing is missing or doubled.

The POP is a whole controller on the simulated media server, in real time, with its journal on disk and its real link;
centre, PostgreSQL and nats-server are processes of their own. ``CALLPLANE_OUTAGE_S=60`` makes it a minute of calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest

from pbx.adapters.link.nats import NatsLink
from pbx.adapters.memory.far_ends import Caller
from pbx.domain.e164 import cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId
from pbx.wire.codec import project_call
from tests.integration.centre.busy_hour import envelopes
from tests.integration.centre.conftest import Postgres
from tests.integration.centre.support import Api, agent, did, until
from tests.integration.centre.test_process import Running, _alive, _environment, started
from tests.support.ports import free_port
from tests.support.world import DID, SHORT_FLOW, World

SECONDS = float(os.environ.get("CALLPLANE_OUTAGE_S", "6"))
CALLS_S = 6.0
AGENTS = 24
TALK_S = 1.0


class Killer:
    """Kills each part in its turn and has it back; ``log`` says what was done."""

    def __init__(self, postgres: Postgres, environment: dict[str, str], stack: AsyncExitStack) -> None:
        self._postgres, self._environment, self._stack = postgres, environment, stack
        self.centre: Running | None = None
        self.log: list[str] = []

    async def start_centre(self) -> Running:
        self.centre = await self._stack.enter_async_context(started(self._environment))
        return self.centre

    async def run(self) -> None:
        """A quarter of the time passes before each."""
        for kill in (self._orchestrator, self._database, self._bus):
            await asyncio.sleep(SECONDS / 4)
            await kill()
            self.log.append(kill.__name__)

    async def _orchestrator(self) -> None:
        assert self.centre is not None
        self.centre.process.kill()
        await self.centre.process.wait()
        await asyncio.sleep(SECONDS / 12)
        await self.start_centre()

    async def _database(self) -> None:
        self._postgres.kill()
        await asyncio.sleep(SECONDS / 12)
        await until(self._database_is_back, 30)

    async def _database_is_back(self) -> bool:
        try:
            await asyncio.to_thread(self._postgres.start)
        except subprocess.CalledProcessError:
            return False  # children of the killed one still hold its memory
        return True

    async def _bus(self) -> None:
        assert self.centre is not None
        pid = self.centre.nats_pid()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not _alive(pid), 10)


async def _one_caller(world: World, number: int) -> Caller:
    """Waits, talks, hangs up."""
    caller = world.engine.call(DID, cli_of(f"+4917{number:08}"), "DE")
    await until(lambda: caller.hears == "talk" or caller.cause is not None, 30)
    assert caller.hears == "talk", f"call {number} ended with {caller.cause}"
    await asyncio.sleep(TALK_S)
    assert caller.cause is None, f"call {number} was cut off"
    caller.hang_up()
    return caller


async def _callers(world: World) -> int:
    end, tasks = time.monotonic() + SECONDS, list[asyncio.Task[Caller]]()
    while time.monotonic() < end:
        tasks.append(asyncio.create_task(_one_caller(world, len(tasks))))
        await asyncio.sleep(1 / CALLS_S)
    await asyncio.gather(*tasks)
    return len(tasks)


@pytest.mark.timeout(120 + 3 * SECONDS)
async def test_no_call_fails_and_each_has_one_record(tmp_path: Path) -> None:
    postgres, directory, port = Postgres(options="-c max_connections=60"), tmp_path / "pop", free_port()
    directory.mkdir()
    try:
        url = await postgres.new_database()
        environment = _environment(tmp_path / "centre", database_url=url, bus_port=str(port))
        async with AsyncExitStack() as stack:
            killer = Killer(postgres, environment, stack)
            key, agents = await _configured(await killer.start_centre())
            world = World(directory, SHORT_FLOW, clock=time.time)
            await world.pop.start(NatsLink(f"nats://127.0.0.1:{port}", "de-1", key, world.journal))
            stack.push_async_callback(world.pop.stop)
            await until(lambda: len(world.journal.config()) == AGENTS + 3)
            for phone_id, agent_id in agents.items():
                world.engine.phone(phone_id).answers_after_s = 0.1
                world.status(agent_id, "AVAILABLE")
            killing = asyncio.create_task(killer.run())
            calls = await _callers(world)
            await killing
            assert killer.log == ["_orchestrator", "_database", "_bus"]
            await until(lambda: not world.pop.calls, 20)
            await until(lambda: world.journal.unsent_count() == 0, 60)
            wanted = _records(directory / "journal.sqlite")
            assert len(wanted) == calls
            assert {record["cause"] for record in wanted.values()} == {int(HangupCause.NORMAL_CLEARING)}
            assert all(len(record["talks"]) == 1 for record in wanted.values())
            await until(lambda: _all_ended(url, calls), 60)
            assert await _rows(url) == wanted
    finally:
        postgres.stop()
        postgres.remove()


async def _configured(centre: Running) -> tuple[str, dict[str, str]]:
    """The POP's key, and its agents: phone -> id."""
    assert centre.process.stdout is not None
    token = (await centre.process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port()}", headers=headers) as session:
        api = Api(session)
        key = await api.new_pop("de-1")
        queue = {"queue_id": "support", "name": "Support", "skills": {"support": 1}, "recorded": False, "wrap_up_s": 0}
        await api.made("/queues", queue)
        await api.made("/flows", {"flow_id": "main", "graph": SHORT_FLOW})
        await api.made("/dids", did(number=DID, pop_id="de-1"))
        agents = {}
        for number in range(AGENTS):
            body = agent(pop_id="de-1", phone_id=f"agent{number}", skills={"support": 3})
            agents[f"agent{number}"] = (await api.made("/agents", body))["agent_id"]
        return key, agents


def _records(journal: Path) -> dict[str, Any]:
    """Each call's record, as the POP's own journal gives it."""
    by_call: dict[str, list[Any]] = {}
    for envelope in envelopes(journal):
        if envelope.call_id is not None:
            by_call.setdefault(envelope.call_id, []).append(envelope)
    records = {call: project_call(CallId(call), history) for call, history in by_call.items()}
    derived = ("wait_s", "talk_s", "abandoned")
    made = {
        call: {**msgspec.to_builtins(cdr), **{name: getattr(cdr, name) for name in derived}}
        for call, cdr in records.items()
    }
    found: dict[str, Any] = json.loads(json.dumps(made))
    return found


async def _rows(url: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT call_id, cdr FROM calls")
    await connection.close()
    assert len(rows) == len({row["call_id"] for row in rows})
    return {row["call_id"]: json.loads(row["cdr"]) for row in rows}


async def _all_ended(url: str, calls: int) -> bool:
    try:
        rows = await _rows(url)
    except (OSError, asyncpg.PostgresError):
        return False
    return sum(row["ended_at"] is not None for row in rows.values()) >= calls
