"""Accounts that the media server does not take at once: they stay pending, are said to be, and come in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pbx.adapters.memory.engine import SimulatedEngine
from pbx.controller.phone_book import RETRY_S
from pbx.domain.errors import BadValue, EngineError, EngineGone, EngineUnknown
from pbx.domain.ids import PhoneId
from pbx.ports.link import LinkHandler
from pbx.ports.media_engine import PhoneAccount
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World


class HeartbeatLink:
    """A link that keeps what the POP says whenever it has something new to say."""

    def __init__(self) -> None:
        self.connected = True
        self.pending: list[int] = []

    async def start(self, handler: LinkHandler) -> None:
        self.handler = handler

    async def stop(self) -> None:
        self.connected = False

    async def erased(self, after: int) -> None:
        return None

    async def prompt(self, sha256: str) -> None:
        return None

    def events_waiting(self) -> None:
        return

    def heartbeat_changed(self) -> None:
        self.pending.append(self.handler.heartbeat().phones_pending)


class SlowToTake:
    """Puts itself between the phone book and the simulated server: accounts wait for ``open``, or meet ``error``."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self.open = asyncio.Event()
        self.error: EngineError | BadValue | None = None
        self.put, self.remove, self.asked = engine.put_phone, engine.remove_phone, 0
        engine.put_phone, engine.remove_phone = self.put_phone, self.remove_phone  # type: ignore[method-assign]

    async def _wait(self) -> None:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error

    async def put_phone(self, account: PhoneAccount) -> None:
        await self._wait()
        await self.put(account)

    async def remove_phone(self, phone_id: PhoneId) -> None:
        await self._wait()
        await self.remove(phone_id)


def agent(name: str, ha1: str = "0" * 32) -> wire.AgentConfig:
    return wire.AgentConfig(agent_id=name, name=name, phone_id=name, ha1=ha1, skills={}, country="DE")


async def test_pending_until_the_media_server_has_the_account(tmp_path: Path) -> None:
    link = HeartbeatLink()
    async with World(tmp_path, SHORT_FLOW, link=link) as world:
        await world.until(lambda: world.pop.heartbeat().engine_up)
        slow = SlowToTake(world.engine)
        link.pending.clear()
        for name in ("anna", "bela"):
            world.configure(f"agent.{name}", agent(name))
        assert world.pop.heartbeat().phones_pending == 2
        await world.run(60)
        assert world.pop.heartbeat().phones_pending == 2, "under way is not there"
        assert not world.engine.accounts
        slow.open.set()
        await world.until(lambda: not world.pop.heartbeat().phones_pending)
        assert world.engine.accounts.keys() == {"anna", "bela"}
        assert link.pending == [0], "the centre is told once, when all is there"


async def test_what_the_server_did_not_answer_is_asked_again(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        slow = SlowToTake(world.engine)
        slow.error = EngineUnknown("no answer within 5 s")
        slow.open.set()
        world.configure("agent.anna", agent("anna"))
        await world.until(lambda: slow.asked > 0)
        beat = world.pop.heartbeat()
        assert (beat.phones_pending, beat.config_errors) == (1, {"agent.anna": "no answer within 5 s"})
        slow.error = None
        await world.run(RETRY_S + 1)
        beat = world.pop.heartbeat()
        assert (beat.phones_pending, beat.config_errors) == (0, {})
        assert world.engine.accounts.keys() == {"anna"}


async def test_what_cannot_be_an_account_does_not_keep_the_others_away(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        slow = SlowToTake(world.engine)
        slow.error = BadValue("phone_id", "is not a SIP user name")
        slow.open.set()
        world.configure("agent.anna", agent("anna"))
        await world.until(lambda: slow.asked > 0)
        slow.error = None
        world.configure("agent.bela", agent("bela"))
        await world.until(lambda: world.engine.accounts.keys() == {"bela"})
        assert world.pop.heartbeat().config_errors == {"agent.anna": "phone_id: is not a SIP user name"}
        world.configure("agent.anna", agent("anna", "1" * 32))
        await world.until(lambda: world.engine.accounts.keys() == {"anna", "bela"})
        assert not world.pop.heartbeat().config_errors


async def test_an_account_removed_while_the_server_was_away_is_removed_when_it_is_back(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.configure("agent.anna", agent("anna"))
        await world.until(world.pop.phones.settled.is_set)
        slow = SlowToTake(world.engine)
        slow.error = EngineGone("the media server is not connected")
        slow.open.set()
        world.pop.config_changed("agent.anna", None)
        await world.run(60)
        assert world.pop.heartbeat().phones_pending == 1
        assert world.engine.accounts.keys() == {"anna"}
        slow.error = None
        world.pop.engine_up(await world.engine.snapshot())
        await world.until(world.pop.phones.settled.is_set)
        assert not world.engine.accounts
        assert world.pop.heartbeat().phones_pending == 0
