"""Who is consulted: an agent, whomever a queue offers, or an outside number. How each is had, kept and let go; what the
consultation makes of it is ``consultation``'s.

An agent who came by a queue is in that queue's conversation from the answer on, with its wrap-up to follow; one who was
asked by name is engaged, and put on the call only when the caller is handed over.
"""

from __future__ import annotations

from dataclasses import replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.dialling import OutsideNumber, shown
from pbx.domain.errors import BadValue
from pbx.domain.forwarding import RING_S as OUTSIDE_RING_S
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId, QueueId, derive
from pbx.domain.leaving import Refusal
from pbx.domain.leg_step import OUTCOMES
from pbx.domain.queue import Queue
from pbx.domain.queue_entry import needs_of, value_of
from pbx.domain.seat import Seat
from pbx.domain.supervision import RING_S, why_not_engaged


class Party:
    """``leg`` is the one that is rung, or on which somebody is there; ``waits``: nobody is rung yet."""

    outside = False
    """What is said there is never recorded."""
    waits = False
    agent_id: AgentId | None = None
    queue_id: QueueId | None = None

    def __init__(self, context: CallContext, request: str) -> None:
        self._context, self._request = context, request
        self.country: str | None = None
        self.leg: LegId | None = None

    def ask(self, seat: Seat, now: float) -> bool:
        """Asks for the party. True: there is nobody to ask, it may be rung at once."""
        raise NotImplementedError

    def ring(self, now: float) -> None:
        raise NotImplementedError

    def _rings(self, to: cmd.ToPhone | cmd.ToTrunk, ring_s: float, now: float, *parts: str) -> None:
        context = self._context
        self.leg = LegId(derive(now, "consulted", context.call_id, self._request, *parts))
        context.legs.add(self.leg)
        cli = context.cli if isinstance(to, cmd.ToPhone) else shown(context.cli, context.config.did.number, False)
        context.do(cmd.OriginateLeg(self.leg, to, cli, ring_s, peer_leg_id=context.leg_id))

    def answered(self, now: float) -> None:
        """Somebody is there."""
        self._context.record(ev.ConsultationStarted(at=now, agent_id=self.agent_id, queue_id=self.queue_id))

    def missed(self, cause: HangupCause, now: float) -> bool:
        """The leg ended before anybody answered. Whether somebody else may yet be rung."""
        return False

    def takes(self, former: Seat) -> Seat:
        """Gets the caller: the agent's side of the conversation that follows, but for its leg and bridge."""
        raise NotImplementedError

    def queue_beside(self, former: Queue | None) -> Queue | None:
        """Whose rules hold while caller, first agent and this party hear one another."""
        return former

    def let_go(self, now: float) -> None:
        """What the router or the record has to know when the party leaves; its leg is not hung up here."""


class AskedAgent(Party):
    """One agent, whatever the status."""

    def __init__(self, context: CallContext, request: str, agent_id: AgentId) -> None:
        super().__init__(context, request)
        self.agent_id: AgentId = agent_id
        self._phone: cmd.ToPhone | None = None

    def ask(self, seat: Seat, now: float) -> bool:
        self._context.do(cmd.EngageAgent(self._request, self.agent_id))
        return False

    def engaged(self, event: ev.AgentEngaged | ev.AgentNotEngaged) -> Refusal | None:
        if isinstance(event, ev.AgentNotEngaged):
            return Refusal(event.reason, why_not_engaged(event.reason))
        self.country, self._phone = event.agent_country, cmd.ToPhone(event.phone_id)
        return None

    def ring(self, now: float) -> None:
        if self._phone is not None:
            self._rings(self._phone, RING_S, now)

    def takes(self, former: Seat) -> Seat:
        self._context.do(cmd.PutOnCall(self.agent_id, former.queue_id))
        return replace(former, agent_id=self.agent_id, agent_country=self.country)

    def let_go(self, now: float) -> None:
        self._context.do(cmd.FreeAgent(self.agent_id))


class AskedQueue(Party):
    """Whomever the queue offers. The call waits there like one that comes now; whoever does not answer makes way for
    the next. The caller, who talks to the first agent, has no part in it."""

    def __init__(self, context: CallContext, request: str, queue_id: QueueId) -> None:
        super().__init__(context, request)
        self.queue_id: QueueId = queue_id
        self.queue = context.config.queues.get(queue_id)
        self.offer: ev.OfferMade | None = None
        self.waits = False
        self._there = False

    def ask(self, seat: Seat, now: float) -> bool:
        context, node = self._context, seat.node
        context.do(
            cmd.JoinQueue(
                self.queue_id,
                entered_at=now,
                priority=node.priority,
                needs=needs_of(node.needs, context.read),
                value=value_of(node.value, context.read) or 0.0,
            )
        )
        return False

    @property
    def music_class(self) -> str:
        return self.queue.music_class if self.queue is not None else "default"

    def overflowed(self, queue_id: QueueId) -> None:
        self.queue_id = queue_id
        self.queue = _stricter(self._context.config.queues.get(queue_id), self.queue)

    def offered(self, offer: ev.OfferMade, now: float) -> None:
        self.offer, self.waits = offer, False
        self.country = offer.agent_country
        self.ring(now)

    def ring(self, now: float) -> None:
        if self.offer is not None:
            self._rings(cmd.ToPhone(self.offer.phone_id), self.offer.ring_timeout_s, now, self.offer.offer_id)

    def rings(self) -> None:
        """The phone has begun to."""
        if self.offer is not None:
            self._context.do(cmd.AgentRings(self.offer.offer_id, self.offer.agent_id))

    def answered(self, now: float) -> None:
        if self.offer is not None:
            self.agent_id, self._there = self.offer.agent_id, True
            self.end_offer(ev.OfferOutcome.ANSWERED, now)
        super().answered(now)

    def missed(self, cause: HangupCause, now: float) -> bool:
        self.end_offer(OUTCOMES.get(cause, ev.OfferOutcome.FAILED), now)
        return True

    def end_offer(self, outcome: ev.OfferOutcome, now: float) -> None:
        """Unless it was answered, the call waits on, at its place."""
        offer, self.offer = self.offer, None
        if offer is None:
            return
        ended = ev.OfferEnded(at=now, offer_id=offer.offer_id, agent_id=offer.agent_id, outcome=outcome)
        self._context.record(ended)
        self._context.do(cmd.EndOffer(offer.offer_id, offer.agent_id, outcome))
        if outcome is not ev.OfferOutcome.ANSWERED:
            self.leg, self.country, self.waits = None, None, True

    def takes(self, former: Seat) -> Seat:
        if self.agent_id is None:
            raise AssertionError("nobody of the queue is there")
        queue = self.queue_beside(former.queue)
        return replace(former, agent_id=self.agent_id, agent_country=self.country, queue_id=self.queue_id, queue=queue)

    def queue_beside(self, former: Queue | None) -> Queue | None:
        return _stricter(self.queue, former)

    def let_go(self, now: float) -> None:
        if self._there and self.agent_id is not None:
            self._context.do(cmd.ReleaseAgent(self.agent_id))
            return
        self.end_offer(ev.OfferOutcome.CALLER_GONE, now)
        self.waits = False
        self._context.do(cmd.LeaveQueue(self.queue_id))


class AskedNumber(Party):
    """An outside number, over a trunk; it is shown the DID."""

    outside = True

    def __init__(self, context: CallContext, request: str, number: OutsideNumber) -> None:
        super().__init__(context, request)
        self.number = number
        self._there = False
        self._outcome: ev.OfferOutcome | None = None

    def ask(self, seat: Seat, now: float) -> bool:
        return True

    def ring(self, now: float) -> None:
        to = cmd.ToTrunk(self._context.outside_trunk, self.number.number)
        self._rings(to, OUTSIDE_RING_S, now)
        if self.leg is not None:
            number, kind = self.number.number, self.number.kind
            self._context.record(
                ev.ForwardStarted(at=now, leg_id=self.leg, number=number, kind=kind, why="consultation")
            )

    def answered(self, now: float) -> None:
        self._there = True
        super().answered(now)

    def missed(self, cause: HangupCause, now: float) -> bool:
        self._outcome = OUTCOMES.get(cause, ev.OfferOutcome.FAILED)
        return False

    def let_go(self, now: float) -> None:
        if self.leg is not None:
            outcome = ev.OfferOutcome.ANSWERED if self._there else self._outcome or ev.OfferOutcome.CALLER_GONE
            self._context.record(ev.ForwardEnded(at=now, leg_id=self.leg, outcome=outcome.value))


def party(context: CallContext, seat: Seat, asked: ev.ConsultAsked) -> Party | Refusal:
    """Whom ``asked`` names, or why that one cannot be consulted."""
    if asked.number is not None:
        try:
            return AskedNumber(context, asked.request, context.config.dialling.number_of(asked.number))
        except BadValue as error:
            return Refusal("number_refused", f"number: {error.reason}")
    if asked.queue_id is not None:
        if asked.queue_id not in context.config.queues:
            return Refusal("unknown_queue", "this call knows no such queue")
        return AskedQueue(context, asked.request, asked.queue_id)
    if asked.agent_id is None or asked.agent_id == seat.agent_id:
        return Refusal("agent_busy", "this agent has the call")
    return AskedAgent(context, asked.request, asked.agent_id)


def _stricter(queue: Queue | None, other: Queue | None) -> Queue | None:
    """``queue`` with what the stricter of the two says about recording."""
    if queue is None or other is None:
        return queue or other
    recorded, floor = queue.recorded and other.recorded, queue.consent_floor.stricter(other.consent_floor)
    return replace(queue, recorded=recorded, consent_floor=floor)
