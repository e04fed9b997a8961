"""Slots for parked calls. Which are taken the calls say themselves: there is no list that could go stale."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass

from pbx.controller.call_actor import CallActor
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.errors import BadValue, EngineError
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId
from pbx.domain.parking import ParkStep
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.wire import messages as wire

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ParkingLot:
    first: int = 701
    count: int = 20
    timeout_s: float = 120.0

    def choose(self, wanted: int | None, taken: set[int]) -> int:
        """A free slot. Raises BadValue where the wanted one is not to be had, or none is."""
        slots = range(self.first, self.first + self.count)
        if wanted is not None:
            if wanted not in slots:
                raise BadValue("slot", f"must be {slots.start} to {slots.stop - 1}" if slots else "there are none")
            if wanted in taken:
                raise BadValue("slot", "is taken")
            return wanted
        free = next((slot for slot in slots if slot not in taken), None)
        if free is None:
            raise BadValue("slot", "none is free")
        return free


def slot_of(actor: CallActor) -> int | None:
    """Where this call is parked; None where it is not."""
    step = actor.call.step
    return step.slot if isinstance(step, ParkStep) else None


def parked_in(slot: int, calls: Iterable[CallActor]) -> CallActor | None:
    return next((actor for actor in calls if slot_of(actor) == slot), None)


class ParkingDesk:
    """Parks calls, and takes agents who dial in to the call they want. ``own_leg`` makes a leg a call's."""

    def __init__(
        self,
        engine: MediaEngine,
        calls: Mapping[CallId, CallActor],
        own_leg: Callable[[LegId, CallActor], None],
        spawn: Callable[[Coroutine[None, None, None], str], None],
        clock: Clock,
        lot: ParkingLot,
    ) -> None:
        self._engine, self._calls, self._clock = engine, calls, clock
        self._own_leg, self._spawn, self.lot = own_leg, spawn, lot
        self._promised: set[int] = set()
        """Slots of calls that are about to be parked."""

    async def park(self, key: str, command: wire.ParkCall) -> wire.CommandReply:
        actor = self._calls.get(CallId(command.call_id))
        if actor is None:
            return wire.CommandReply(error_id="unknown-call", detail=f"call {command.call_id} is not live at this POP")
        taken = {slot for other in self._calls.values() if (slot := slot_of(other)) is not None} | self._promised
        try:
            slot = self.lot.choose(command.slot, taken)
        except BadValue as error:
            return wire.CommandReply(error_id="no_slot", detail=str(error))
        self._promised.add(slot)
        try:
            asked = ev.ParkAsked(at=self._clock(), request=key, slot=slot, timeout_s=self.lot.timeout_s)
            answer = await actor.ask(asked)
        finally:
            self._promised.discard(slot)
        done = answer.error_id is None
        return wire.CommandReply(error_id=answer.error_id, detail=answer.detail, slot=slot if done else None)

    def retrieved_on(self, leg_id: LegId, agent_id: AgentId, slot: int) -> bool:
        """An agent has dialled in for the call in this slot; whether there is one, which has the leg then."""
        actor = parked_in(slot, self._calls.values())
        if actor is None:
            return False
        self._own_leg(leg_id, actor)
        retrieve = ev.RetrieveAsked(at=self._clock(), request=f"dialled-{leg_id}", agent_id=agent_id, leg_id=leg_id)
        self._spawn(self._end_if_gone(leg_id, actor.ask(retrieve)), f"retrieve-{leg_id}")
        return True

    async def _end_if_gone(self, leg_id: LegId, asked: asyncio.Future[cmd.Answer]) -> None:
        """A call that was over before it heard of the leg cannot hang it up."""
        if (await asked).error_id == "unknown_call":
            try:
                await self._engine.hang_up(leg_id, HangupCause.CALL_REJECTED)
            except EngineError as error:
                log.info("the leg of an agent who came too late is gone: %s", error)
