"""Calls of other POPs that this POP's agents take: the leg from the other POP, the agent's phone, and a bridge.

The caller's POP has the call: its flow, its consent and recording, its record. Here is no call and no record, only an
agent who rings, talks and wraps up. So long as the leg from the other POP is there the agent is wanted; when it ends,
whoever ends it, the agent is free again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

from pbx.controller.router import Router
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.e164 import cli_of
from pbx.domain.errors import BadValue, EngineError, LegGone
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, CallId, LegId, OfferId, PopId, QueueId, derive
from pbx.domain.leg_step import OUTCOMES
from pbx.domain.queue import Queue
from pbx.ports.media_engine import Clock, LegSnapshot, MediaEngine

log = logging.getLogger(__name__)

_NO_QUEUE_RING_S = 20.0
_THEIRS, _PHONES = _ROLES = ("guest", "guest-agent")


@dataclass(slots=True)
class Guest:
    offered: ev.GuestOffered
    phone_leg: LegId
    answered: bool = False
    """The agent has picked up."""
    bridge_id: BridgeId | None = None


class GuestCalls:
    """``accepts`` is the owner's rule, ``refused`` is told of whom the router took for free; ``spawn`` runs a job
    in the background."""

    def __init__(
        self,
        engine: MediaEngine,
        router: Router,
        accepts: Callable[[AgentId, int], bool],
        refused: Callable[[AgentId], None],
        queue: Callable[[QueueId], Queue | None],
        spawn: Callable[[Coroutine[None, None, None], str], None],
        clock: Clock,
    ) -> None:
        self._engine, self._router, self._accepts, self._refused = engine, router, accepts, refused
        self._queue, self._spawn, self._clock = queue, spawn, clock
        self._guests: dict[LegId, Guest] = {}
        """By either leg."""

    def offered(self, event: ev.GuestOffered) -> bool:
        """Whether the agent is rung. Else the other POP is told so by the end of its leg."""
        if event.leg_id in self._guests:
            return True  # handed over twice
        if not self._accepts(event.agent_id, event.epoch):
            self._do(self._engine.hang_up(event.leg_id, HangupCause.TEMPORARY_FAILURE), event.leg_id)
            self._refused(event.agent_id)
            return False
        agent = self._router.reserve(event)
        now = self._clock()
        phone_leg = LegId(derive(now, "guest", event.offer_id))
        self._guests[event.leg_id] = self._guests[phone_leg] = Guest(event, phone_leg)
        queue = self._queue(event.queue_id)
        ring_s = _NO_QUEUE_RING_S if queue is None else queue.ring_timeout_s
        ring = cmd.OriginateLeg(phone_leg, cmd.ToPhone(agent.phone_id), event.cli, ring_s, event.leg_id)
        self._do(self._engine.originate(ring), phone_leg)
        return True

    def adopt(self, legs: Iterable[LegSnapshot]) -> None:
        """Conversations that another run of this controller has begun go on. One who is left alone in such a
        conversation is hung up at once: the other has hung up meanwhile. Legs that were not answered yet are nobody's,
        and are ended as such: the caller is then offered to somebody again."""
        there = list(legs)
        bridged = Counter(leg.bridge_id for leg in there)
        pairs: dict[str, dict[str, LegSnapshot]] = {}
        for leg in there:
            role = leg.variables.get("CALLPLANE_ROLE", "")
            if role in _ROLES and leg.leg_id not in self._guests:
                pairs.setdefault(leg.variables.get("CALLPLANE_CALL", ""), {})[role] = leg
        for text, pair in pairs.items():
            if len(pair) == len(_ROLES) and text.count("/") == 3:
                self._adopt(text, pair[_THEIRS], pair[_PHONES])
                continue
            for leg in pair.values():
                if leg.bridge_id is None or bridged[leg.bridge_id] < len(_ROLES):
                    self._do(self._engine.hang_up(leg.leg_id, HangupCause.NORMAL_CLEARING), leg.leg_id)
                    if leg.bridge_id is not None:
                        self._do(self._engine.destroy_bridge(leg.bridge_id), leg.leg_id)

    def _adopt(self, text: str, theirs: LegSnapshot, phones: LegSnapshot) -> None:
        offer_id, agent_id, home, queue_id = text.split("/")
        offered = ev.GuestOffered(
            at=self._clock(),
            leg_id=theirs.leg_id,
            home=PopId(home),
            offer_id=OfferId(offer_id),
            call_id=CallId(offer_id),  # the ACD asks no more than that nobody else has it
            queue_id=QueueId(queue_id),
            agent_id=AgentId(agent_id),
            epoch=0,
            cli=cli_of("unknown"),
        )
        together = theirs.bridge_id is not None and theirs.bridge_id == phones.bridge_id
        if together and self._router.adopt_guest(offered):
            guest = Guest(offered, phones.leg_id, answered=True, bridge_id=theirs.bridge_id)
            self._guests[theirs.leg_id] = self._guests[phones.leg_id] = guest

    async def _mark(self, guest: Guest) -> None:
        """For the next run."""
        offered = guest.offered
        text = f"{offered.offer_id}/{offered.agent_id}/{offered.home}/{offered.queue_id}"
        for leg_id, role in ((offered.leg_id, _THEIRS), (guest.phone_leg, _PHONES)):
            await self._engine.set_variables(leg_id, {"CALLPLANE_CALL": text, "CALLPLANE_ROLE": role})

    def owns(self, leg_id: LegId) -> bool:
        return leg_id in self._guests

    def event(self, leg_id: LegId, event: ev.Event) -> bool:
        """Whether the leg is one of a guest's; then the event has been seen to."""
        guest = self._guests.get(leg_id)
        if guest is None:
            return False
        offered, theirs = guest.offered, leg_id == guest.offered.leg_id
        match event:
            case ev.LegRinging() if not theirs:
                self._router.handle(offered.call_id, cmd.AgentRings(offered.offer_id, offered.agent_id))
            case ev.LegAnswered() if not theirs:
                self._do(self._engine.answer(offered.leg_id), offered.leg_id)
            case ev.LegAnswered():
                guest.bridge_id = BridgeId(derive(self._clock(), "guest bridge", offered.offer_id))
                self._do(self._engine.bridge(guest.bridge_id, (offered.leg_id, guest.phone_leg)), guest.phone_leg)
            case ev.LegsBridged():
                guest.answered = True
                answered = cmd.EndOffer(offered.offer_id, offered.agent_id, ev.OfferOutcome.ANSWERED)
                self._router.handle(offered.call_id, answered)
                self._spawn(self._marked(guest), f"guest-{leg_id}")
            case ev.LegEnded(cause=cause):
                self._over(guest, cause, theirs)
            case _:
                pass
        return True

    def _over(self, guest: Guest, cause: HangupCause, theirs: bool) -> None:
        offered = guest.offered
        self._guests.pop(offered.leg_id, None)
        self._guests.pop(guest.phone_leg, None)
        other = guest.phone_leg if theirs else offered.leg_id
        self._do(self._engine.hang_up(other, cause), other)
        if guest.bridge_id is not None:
            self._do(self._engine.destroy_bridge(guest.bridge_id), other)
        if guest.answered:
            self._router.handle(offered.call_id, cmd.ReleaseAgent(offered.agent_id))
            return
        outcome = ev.OfferOutcome.CALLER_GONE if theirs else OUTCOMES.get(cause, ev.OfferOutcome.FAILED)
        self._router.handle(offered.call_id, cmd.EndOffer(offered.offer_id, offered.agent_id, outcome))

    def told(self, call_id: str, event: ev.Event) -> None:
        """What the ACD says to a call that is not of this POP: the agent is not to be had any more."""
        if isinstance(event, ev.OfferWithdrawn):
            for leg_id, guest in list(self._guests.items()):
                if guest.offered.offer_id == event.offer_id and leg_id == guest.phone_leg and not guest.answered:
                    self._do(self._engine.hang_up(leg_id, HangupCause.NORMAL_CLEARING), leg_id)

    def lost(self, live: frozenset[LegId]) -> None:
        """A snapshot has only ``live`` legs."""
        for leg_id, guest in list(self._guests.items()):
            if leg_id not in live and leg_id in self._guests:
                self._over(guest, HangupCause.TEMPORARY_FAILURE, leg_id == guest.offered.leg_id)

    def offers(self) -> list[OfferId]:
        """By which agents of this POP are with callers of others, or rung for them."""
        return sorted({guest.offered.offer_id for guest in self._guests.values()})

    def _do(self, job: Coroutine[None, None, None], leg_id: LegId) -> None:
        self._spawn(self._tried(job, leg_id), f"guest-{leg_id}")

    async def _marked(self, guest: Guest) -> None:
        try:
            await self._mark(guest)
        except LegGone:
            return
        except (EngineError, BadValue) as error:
            log.warning("a call of another POP would not be found again after a restart: %s", error)

    async def _tried(self, job: Coroutine[None, None, None], leg_id: LegId) -> None:
        try:
            await job
        except LegGone:
            return  # its end has been said, or will be
        except EngineError as error:
            log.warning("a call of another POP: the media server did not do it: %s", error)
            guest = self._guests.get(leg_id)
            if guest is not None:
                self._over(guest, HangupCause.TEMPORARY_FAILURE, theirs=False)
