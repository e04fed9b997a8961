"""What a media server's test file supplies to the contract: fixtures, and nothing that is tested.

A backend is a running server with the product's configuration, its far ends, and its leak check. How to add one: write
a subclass of ``Backend``, and a test file with

    class TestFreeswitch(MediaEngineContract):
        @pytest.fixture
        def backend(self, freeswitch: FreeswitchBackend) -> Backend:
            return freeswitch
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from pbx.domain.commands import OriginateLeg, Prompt, ToAgent, ToPhone, ToTrunk
from pbx.domain.consent import RecordingGrant, Regime, grant
from pbx.domain.e164 import UNKNOWN, Cli, e164
from pbx.domain.events import LegAnswered, LegEnded, LegOffered, LegRinging, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, CallId, LegId, PhoneId, PlayId, RecordingId, derive
from pbx.ports.media_engine import LegSnapshot, MediaEngine, PhoneAccount
from tests.contract.far_end import AGENT_HZ, CALLEE, CALLER, CALLER_HZ, LOOK_S, FarEnd, OtherPop
from tests.contract.listener import Listener

TRUNK = "carrier"
HERE, OTHER = "lab-1", "lab-2"
"""The POP under test, and another of its site."""
_numbers = itertools.count(1)


def fresh() -> str:
    """An id that no other test has used, of the kind the core makes."""
    return derive(time.time(), "contract", next(_numbers))


def account(phone_id: str, password: str = "secret") -> PhoneAccount:
    ha1 = hashlib.md5(f"{phone_id}:callplane:{password}".encode(), usedforsecurity=False).hexdigest()
    return PhoneAccount(PhoneId(phone_id), ha1, display_name="A phone")


def prompt(name: str) -> Prompt:
    return Prompt(name, "de")


def allowed(leg_id: LegId) -> RecordingGrant:
    made = grant(CallId("C"), leg_id, Regime.NONE, None, 0.0)
    assert made is not None
    return made


@dataclass(slots=True)
class Controller:
    """A connected engine, what it says, and the steps that many tests begin with."""

    engine: MediaEngine
    listener: Listener

    async def offered(self, count: int = 1) -> LegId:
        """The ``count``-th leg that was offered."""
        return (await self.listener.wait_for(LegOffered, count=count)).leg_id

    async def taken(self, count: int = 1) -> LegId:
        """The ``count``-th leg that was offered, answered."""
        leg_id = await self.offered(count)
        await self.engine.answer(leg_id)
        await self.answered(leg_id)
        return leg_id

    async def called_by(self, caller: FarEnd) -> LegId:
        """``caller`` dials and is answered."""
        count = len(self.listener.of(LegOffered))
        await caller.dial()
        leg_id = await self.taken(count + 1)
        await caller.talks()
        return leg_id

    async def rung(self, far_end: FarEnd, peer: LegId, timeout_s: float = 10) -> LegId:
        """``far_end``, a registered phone, rings."""
        leg_id = await self.originate(ToPhone(PhoneId(far_end.name)), peer, timeout_s)
        await far_end.rings()
        await self.listener.wait_for(LegRinging, lambda e: e.leg_id == leg_id)
        return leg_id

    async def reached(self, far_end: FarEnd, peer: LegId) -> LegId:
        """``far_end``, a registered phone, has answered."""
        leg_id = await self.rung(far_end, peer)
        await far_end.answer()
        await self.answered(leg_id)
        return leg_id

    async def originate(
        self, to: ToPhone | ToTrunk | ToAgent, peer: LegId | None, timeout_s: float = 10, cli: Cli = UNKNOWN
    ) -> LegId:
        leg_id = LegId(fresh())
        await self.engine.originate(OriginateLeg(leg_id, to, cli, timeout_s, peer))
        return leg_id

    async def answered(self, leg_id: LegId) -> None:
        """Wait until a leg is answered."""
        await self.listener.wait_for(LegAnswered, lambda e: e.leg_id == leg_id)

    async def bridged(self, first: LegId, second: LegId) -> BridgeId:
        bridge_id = BridgeId(fresh())
        await self.engine.bridge(bridge_id, (first, second))
        return bridge_id

    async def talk(self, caller: FarEnd, agent: FarEnd) -> tuple[LegId, LegId, BridgeId]:
        """A caller and an agent in a conversation, and both hear it."""
        first = await self.called_by(caller)
        second = await self.reached(agent, first)
        bridge_id = await self.bridged(first, second)
        await caller.hears(agent.hz)
        await agent.hears(caller.hz)
        return first, second, bridge_id

    async def play(self, leg_id: LegId, *names: str) -> PlayId:
        play_id = PlayId(fresh())
        await self.engine.play(leg_id, play_id, [prompt(name) for name in names])
        return play_id

    async def record(self, leg_id: LegId, path: Path) -> RecordingId:
        recording_id = RecordingId(fresh())
        await self.engine.start_recording(recording_id, leg_id, allowed(leg_id), path)
        return recording_id

    async def outcome(self, leg_id: LegId, deadline_s: float = 10) -> HangupCause:
        """Why the leg ended, once it has."""
        return (await self.listener.wait_for(LegEnded, lambda e: e.leg_id == leg_id, deadline_s)).cause

    def reachable(self, phone_id: str) -> bool:
        """What a listener knows: the last snapshot at a connection, and what was said since (or, at worst, before)."""
        said = [event.reachable for event in self.listener.of(PhoneReachable) if event.phone_id == phone_id]
        return said[-1] if said else phone_id in self.listener.ups[-1].reachable_phones

    async def settled(self, deadline_s: float = 10) -> None:
        """Wait until the engine has no leg and no bridge: the far ends have left, and it has cleaned up after them."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while (snapshot := await self.engine.snapshot()).legs or snapshot.bridges:
            assert loop.time() < end, f"left after the test: {snapshot}"
            await asyncio.sleep(LOOK_S)

    async def leg(self, leg_id: LegId) -> LegSnapshot | None:
        """The leg in a snapshot made now."""
        return next((leg for leg in (await self.engine.snapshot()).legs if leg.leg_id == leg_id), None)


def to_trunk(number: str = CALLEE) -> ToTrunk:
    return ToTrunk(TRUNK, e164(number))


class Crowd(ABC):
    """Many callers, who dialled at once and wait until the POP hangs up."""

    @abstractmethod
    async def finished(self) -> None:
        """Wait until all calls are over. Raises AssertionError unless each was answered and ended in order."""


class Backend(ABC):
    """A media server in the lab. It has the prompts of ``far_end.PROMPT_HZ`` in language ``de``, ``music`` being the
    only file of music class ``default``; callers come by the trunk ``TRUNK`` and are taken to be in Germany."""

    name: str
    recording_dir: Path
    """Where recordings may be written."""

    @abstractmethod
    def controller(self) -> AbstractAsyncContextManager[Controller]:
        """A controller's engine from its start, connected, until it is stopped in order."""

    @abstractmethod
    async def crash(self, controller: Controller) -> None:
        """End the controller's side as kill -9 would: nothing is said, no lease is given back."""

    @abstractmethod
    def caller(self, name: str = "caller", hz: int = CALLER_HZ) -> AbstractAsyncContextManager[FarEnd]:
        """A caller at the carrier whose CLI is ``far_end.CALLER``; it has not dialled yet."""

    @abstractmethod
    def phone(self, controller: Controller, phone_id: str, hz: int = AGENT_HZ) -> AbstractAsyncContextManager[FarEnd]:
        """An agent's phone: its account is put, it has registered, and the engine has said so. Afterwards the account
        is removed, if there is still a controller."""

    @abstractmethod
    def callee(self) -> AbstractAsyncContextManager[FarEnd]:
        """Who answers to ``far_end.CALLEE`` at the carrier."""

    @abstractmethod
    def refusing_callee(self, status: int) -> AbstractAsyncContextManager[None]:
        """In place of the callee: every call is refused with that SIP status at once."""

    @abstractmethod
    def other_pop(self, cli: str = CALLER) -> AbstractAsyncContextManager[OtherPop]:
        """POP ``OTHER``, whose caller has that CLI (``withheld`` and ``unknown`` are the words between POPs)."""

    @abstractmethod
    def crowd(self, count: int) -> AbstractAsyncContextManager[Crowd]:
        """``count`` callers who dial at once."""

    @abstractmethod
    async def restart_server(self, controller: Controller) -> None:
        """Kill the server, wait until the engine has said ``engine_down``, and start it again."""

    @abstractmethod
    async def leak_check(self) -> None:
        """Waits until the server has no leg, no bridge and no channel of its own, and says by AssertionError what is
        left otherwise. Empty files in ``recording_dir`` are looked for by the contract."""
