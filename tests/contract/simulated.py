"""The simulated engine as a backend: its own callers and phones behind the contract's far ends. Needs virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np

from pbx.adapters.memory.engine import Answer, Callee, Caller, Phone, SimulatedEngine
from pbx.adapters.memory.legs import RINGING, Tone, samples
from pbx.domain.commands import OriginateLeg, ToAgent
from pbx.domain.e164 import cli_of
from pbx.domain.events import DigitPressed, GuestOffered
from pbx.domain.hangup_cause import HangupCause, cause_of_sip, sip_status
from pbx.domain.ids import LegId, PhoneId, PopId
from pbx.wire.offer_header import offer_text
from tests.contract.backend import HERE, OTHER, TRUNK, Backend, Controller, Crowd, account, fresh
from tests.contract.far_end import (
    AGENT_HZ,
    CALLEE,
    CALLER,
    CALLER_HZ,
    DID,
    LOOK_S,
    PROMPT_HZ,
    PROMPT_S,
    RINGING_HZ,
    SECOND_HZ,
    FarEnd,
    OtherPop,
)
from tests.contract.listener import Listener
from tests.lab.audio import Samples

PRESS_S = 0.1


class SimulatedFarEnd(FarEnd):
    """``caller``, ``phone`` or ``callee``: whichever of them it is."""

    def __init__(self, engine: SimulatedEngine, name: str, hz: int) -> None:
        super().__init__(name, hz)
        self._engine = engine
        self.caller: Caller | None = None
        self.phone: Phone | None = None
        self.callee: Callee | None = None

    @property
    def _leg_id(self) -> LegId | None:
        if self.caller is not None:
            return self.caller.leg_id
        rung = self.phone or self.callee
        return rung.leg_id if rung is not None else None

    def _track(self) -> None:
        leg_id = self._leg_id
        if leg_id is not None and leg_id in self._engine.legs:
            self._leg = self._engine.legs[leg_id]
            self._engine.tones[f"leg:{leg_id}"] = Tone(self.hz)

    async def dial(self, did: str = DID) -> None:
        if self.phone is not None:
            dialled = self._engine.dial_feature if did.startswith("*") else self._engine.dial_number
            self.caller = dialled(self.phone, did)
        else:
            self.caller = self._engine.call(did, cli_of(CALLER), "DE", TRUNK)
        self._track()

    async def rings(self) -> None:
        await until(lambda: self._leg_id in self._engine.legs, f"{self.name} rings")
        self._track()

    async def answer(self) -> None:
        self._engine.pick_up(self._leg.leg_id)

    async def refuse(self) -> None:
        self._engine.end_leg(self._leg, HangupCause.USER_BUSY)

    async def hang_up(self) -> None:
        self._engine.end_leg(self._leg, HangupCause.NORMAL_CLEARING)

    async def talks(self) -> None:
        await until(lambda: self.answered, f"{self.name} is answered")

    @property
    def answered(self) -> bool:
        return self._leg.answered

    async def is_over(self, deadline_s: float = 10) -> int:
        await until(lambda: self._leg.cause is not None, f"the call of {self.name} is over", deadline_s)
        assert self._leg.cause is not None
        return 0 if self.answered else sip_status(self._leg.cause)

    async def press(self, digits: str) -> None:
        for digit in digits:
            await asyncio.sleep(PRESS_S)
            self._engine.emit(DigitPressed(at=self._engine.clock(), leg_id=self._leg.leg_id, digit=digit))

    async def left(self) -> None:
        """The far end is switched off."""
        if self._leg_id in self._engine.legs:
            await self.hang_up()

    def heard(self, last_s: float | None = None) -> Samples:
        now = self._engine.clock()
        hearing = self._leg.hearing
        since = now - last_s if last_s is not None else hearing[0][0] if hearing else now
        made = samples(hearing, since, now, self._engine.tones)
        return made.astype(np.float64) / 32768


class SimulatedOtherPop(SimulatedFarEnd, OtherPop):
    """An engine of its own on the other side of the trunk."""

    def __init__(self, engine: SimulatedEngine, cli: str) -> None:
        super().__init__(engine, OTHER, SECOND_HZ)
        self._cli, self._listener = cli, Listener()
        self._there = SimulatedEngine(engine.clock)
        self._there.pop_id, engine.pop_id = PopId(OTHER), PopId(HERE)
        self._there.mesh, engine.mesh = {PopId(HERE): engine}, {PopId(OTHER): self._there}
        self._ours: LegId | None = None

    async def start(self) -> None:
        await self._there.start(self._listener)

    @property
    def _leg_id(self) -> LegId | None:
        return self._ours

    async def offer(self, to: ToAgent) -> None:
        made = LegId(fresh())
        await self._there.originate(OriginateLeg(made, to, cli_of(self._cli), 10, None))
        self._ours = LegId(f"{OTHER}-{made}")
        self._track()

    async def asked(self) -> tuple[str, str]:
        offered = await self._listener.wait_for(GuestOffered)
        far = self._there.legs[offered.leg_id].far
        assert far is not None
        self._ours = far[1].leg_id
        self._track()
        to = ToAgent(PopId(OTHER), offered.agent_id, offered.epoch, offered.offer_id, offered.call_id, offered.queue_id)
        return offer_text(to), str(offered.cli.number or offered.cli.kind.value)

    async def left(self) -> None:
        await super().left()
        self._engine.mesh = {}


async def until(condition: Callable[[], bool], what: str, deadline_s: float = 10) -> None:
    """Let virtual time run until the condition holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not condition():
        assert loop.time() < end, f"waited in vain: {what}"
        await asyncio.sleep(LOOK_S)


class SimulatedCrowd(Crowd):
    def __init__(self, callers: list[SimulatedFarEnd]) -> None:
        self._callers = callers

    async def finished(self) -> None:
        for caller in self._callers:
            assert await caller.is_over() == 0


class SimulatedBackend(Backend):
    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.name = "simulated"
        self.recording_dir = directory
        prompts = {f"de/{name}": Tone(PROMPT_HZ[name], PROMPT_S[name]) for name in ("short", "long")}
        self._engine = SimulatedEngine(clock, prompts=prompts)
        self._engine.tones["music:default"] = Tone(PROMPT_HZ["music"])
        self._engine.tones |= dict.fromkeys((RINGING, "tone:busy", "tone:congestion"), Tone(RINGING_HZ))

    @contextlib.asynccontextmanager
    async def controller(self) -> AsyncIterator[Controller]:
        listener = Listener()
        await self._engine.start(listener)
        yield Controller(self._engine, listener)
        self._engine.cut()

    async def crash(self, controller: Controller) -> None:
        self._engine.cut()

    def _far_end(self, name: str, hz: int) -> SimulatedFarEnd:
        return SimulatedFarEnd(self._engine, name, hz)

    @contextlib.asynccontextmanager
    async def caller(self, name: str = "caller", hz: int = CALLER_HZ) -> AsyncIterator[FarEnd]:
        far_end = self._far_end(name, hz)
        yield far_end
        if far_end.caller is not None:
            far_end.caller.hang_up()

    @contextlib.asynccontextmanager
    async def phone(self, controller: Controller, phone_id: str, hz: int = AGENT_HZ) -> AsyncIterator[FarEnd]:
        await self._engine.put_phone(account(phone_id))
        far_end = self._far_end(phone_id, hz)
        far_end.phone = self._engine.phone(phone_id)
        far_end.phone.behaviour = Answer.NEVER
        assert controller.reachable(phone_id)
        yield far_end
        await far_end.left()
        await self._engine.remove_phone(PhoneId(phone_id))

    @contextlib.asynccontextmanager
    async def callee(self) -> AsyncIterator[FarEnd]:
        far_end = self._far_end("callee", SECOND_HZ)
        far_end.callee = self._engine.callees[CALLEE] = Callee(CALLEE)
        yield far_end
        del self._engine.callees[CALLEE]
        await far_end.left()

    @contextlib.asynccontextmanager
    async def refusing_callee(self, status: int) -> AsyncIterator[None]:
        self._engine.callees[CALLEE] = Callee(CALLEE, cause_of_sip(status))
        yield
        del self._engine.callees[CALLEE]

    @contextlib.asynccontextmanager
    async def other_pop(self, cli: str = CALLER) -> AsyncIterator[OtherPop]:
        other = SimulatedOtherPop(self._engine, cli)
        await other.start()
        yield other
        await other.left()

    @contextlib.asynccontextmanager
    async def crowd(self, count: int) -> AsyncIterator[Crowd]:
        callers = [self._far_end(f"caller{n}", CALLER_HZ) for n in range(count)]
        for caller in callers:
            await caller.dial()
        yield SimulatedCrowd(callers)

    async def restart_server(self, controller: Controller) -> None:
        self._engine.crash()

    async def leak_check(self) -> None:
        await until(lambda: not self._engine.legs, "all legs are gone")
        assert not self._engine.bridges
        assert not self._engine.recordings
