"""The order in which events reach the database: that of their POP's journal, whatever was away in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from orchestrator.adapters.bus.accounts import Listen, Login
from orchestrator.adapters.bus.client import Address, Bus, Delivered
from orchestrator.adapters.bus.server import EmbeddedServer
from orchestrator.adapters.db.engine import Database
from orchestrator.services import ingest
from orchestrator.services.ingest import Ingest
from pbx.wire import pop_key, subjects
from pbx.wire.messages import PromptChunk, PromptRequest
from tests.integration.centre.support import until
from tests.support.ports import free_port

POP = "de-fra-1"


async def _no_prompt(_asked: PromptRequest) -> PromptChunk:
    raise LookupError("nobody uploads prompts here")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    (tmp_path / "bus").mkdir()
    made = EmbeddedServer(tmp_path / "bus", Listen("127.0.0.1", free_port()))
    await made.start([Login(POP, pop_key.public_nkey(pop_key.new_key()))])
    yield made
    await made.stop()


@asynccontextmanager
async def connected(server: EmbeddedServer) -> AsyncIterator[Bus]:
    """Of one centre, until it dies: what it has not acknowledged then, it never will."""
    bus = Bus(Address(server.url, *server.credentials()), lambda beat: None, _no_prompt)
    running = asyncio.create_task(bus.run())
    await asyncio.wait_for(bus.wait_connected(), 10)
    yield bus
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def publish(bus: Bus, *numbers: int) -> None:
    assert bus._js is not None
    for number in numbers:
        await bus._js.publish(subjects.events(POP), str(number).encode())


async def fetched(bus: Bus) -> list[Delivered]:
    async with asyncio.timeout(5):
        while not (found := await bus.next_batches()):
            pass
    return found


def numbers(messages: list[Delivered]) -> list[int]:
    return [int(message.data) for message in messages]


async def test_what_a_centre_that_was_killed_had_in_its_hands_comes_first(server: EmbeddedServer) -> None:
    async with connected(server) as first:
        await publish(first, 1, 2, 3, 4)
        [one, *_] = held = await fetched(first)
        assert numbers(held) == [1, 2, 3, 4]
        await one.ack()
    async with connected(server) as second:
        await publish(second, 5, 6)
        got = numbers(await fetched(second))
        while got[-1] != 6:
            got += numbers(await fetched(second))
    assert got == [2, 3, 4, 5, 6]


class Refusing(Ingest):
    """Stands before a database that is away at first."""

    def __init__(self, times: int) -> None:
        super().__init__(cast(Database, None), lambda: None)
        self.times, self.stored = times, list[int]()

    async def store(self, messages: list[Delivered]) -> int:
        if self.times:
            self.times -= 1
            raise OSError("away")
        self.stored += numbers(messages)
        return len(messages)


async def test_what_the_database_refused_comes_first(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RETRY_S", 0.05)
    async with connected(server) as bus:
        await publish(bus, 1, 2, 3)
        refusing = Refusing(3)
        running = asyncio.create_task(refusing.run(bus))
        await until(lambda: refusing.times < 3)
        await publish(bus, 4, 5)
        await until(lambda: len(refusing.stored) == 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert refusing.stored == [1, 2, 3, 4, 5]
