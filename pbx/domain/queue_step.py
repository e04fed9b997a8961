"""Waiting for an agent: music, announcements, offers, and the bridge that ends the wait."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Go, Outcome
from pbx.domain.e164 import Cli
from pbx.domain.flow import EnterQueue, position_prompt
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, QueueId, derive
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Need
from pbx.domain.variables import fill, text_of
from pbx.domain.wait_announcement import WaitAnnouncement

_OUTCOMES: dict[HangupCause, ev.OfferOutcome] = {
    HangupCause.NO_ANSWER: ev.OfferOutcome.NO_ANSWER,
    HangupCause.USER_BUSY: ev.OfferOutcome.BUSY,
    HangupCause.CALL_REJECTED: ev.OfferOutcome.REJECTED,
    HangupCause.NO_USER_RESPONSE: ev.OfferOutcome.UNREACHABLE,
    HangupCause.SUBSCRIBER_ABSENT: ev.OfferOutcome.UNREACHABLE,
    HangupCause.NO_ROUTE: ev.OfferOutcome.UNREACHABLE,
    HangupCause.UNALLOCATED_NUMBER: ev.OfferOutcome.UNREACHABLE,
    HangupCause.DESTINATION_OUT_OF_ORDER: ev.OfferOutcome.UNREACHABLE,
}
"""How an agent's leg that never answered ended -> outcome of the offer; any other cause is FAILED."""


class Phase(Enum):
    JOINING = "joining"
    WAITING = "waiting"
    OFFERED = "offered"
    """An agent's phone is being rung."""
    BRIDGING = "bridging"
    """The agent answered; the legs are about to hear each other."""
    LEAVING = "leaving"
    """The queue gave the call up; the caller hears why."""


class QueueStep(BaseStep):
    """``agent`` and ``bridge_id`` are for the conversation that follows; ``connected`` says that it may begin."""

    def __init__(
        self,
        context: CallContext,
        node: EnterQueue,
        cli: Cli,
        *,
        waited_s: float = 0.0,
        preferred: AgentId | None = None,
        preferred_s: float = 0.0,
    ) -> None:
        """``waited_s``: the age of a caller who is handed on; ``preferred``: to whom, for so long."""
        super().__init__(context)
        self.node = node
        self.cli = cli
        self.waited_s, self.preferred, self.preferred_s = waited_s, preferred, preferred_s
        self.entered_at = 0.0
        self.queue: Queue | None = context.config.queues.get(node.queue_id)
        self.phase = Phase.JOINING
        self.offer: ev.OfferMade | None = None
        self.agent_leg: LegId | None = None
        self.bridge_id: BridgeId | None = None
        self.connected = False
        self._wait = WaitAnnouncement()

    # --- waiting ------------------------------------------------------------------------------------------------

    def enter(self, now: float) -> Outcome:
        if self.queue is None:
            return Go(self.node.on_refused)
        self.context.typed_ahead = None
        self.entered_at = now - self.waited_s
        agent, preferred_s = self.preferred, self.preferred_s
        if agent is None and self.node.preferred:
            # Handed to an agent by somebody comes before what the flow prefers.
            agent, preferred_s = AgentId(text_of(self.context.read(self.node.preferred))) or None, self.node.preferred_s
        self.context.do(
            cmd.JoinQueue(
                self.node.queue_id,
                entered_at=self.entered_at,
                priority=self.node.priority,
                needs=self._needs(),
                preferred=agent,
                preferred_s=preferred_s if agent else 0.0,
                estimated=self.node.announce_wait,
            )
        )
        return None

    def _needs(self) -> tuple[Need, ...]:
        """A skill whose name comes out empty, because a variable is not set, is not asked for."""
        read = self.context.read
        needs: dict[str, Need] = {}
        for need in self.node.needs:
            others = ((after_s, fill(skill, read), least) for after_s, skill, least in need.fallbacks)
            if skill := fill(need.skill, read):
                needs[skill] = Need(skill, need.least, tuple(other for other in others if other[1]))
        return tuple(needs.values())

    def joined(self, event: ev.QueueJoined) -> Outcome:
        if self.phase is not Phase.JOINING:
            return None
        self.phase = Phase.WAITING
        if self.node.max_wait_s is not None:
            self.context.set_timer("max_wait", self.node.max_wait_s)
        prompts = [self.node.welcome_prompt] if self.node.welcome_prompt else []
        prompts += self._announcements(event)
        if prompts:
            self.context.play(*map(self.context.prompt, prompts))
        else:
            self._music()
        return None

    def _announcements(self, event: ev.QueueJoined | ev.PositionTold) -> list[str]:
        position = position_prompt(event.position) if self.node.announce_position else None
        wait = self._wait.prompt(event.wait_s) if self.node.announce_wait else None
        return [prompt for prompt in (position, wait) if prompt is not None]

    def refused(self) -> Outcome:
        return Go(self.node.on_refused) if self.phase is Phase.JOINING or self.phase is Phase.WAITING else None

    def overflowed(self, queue_id: QueueId) -> None:
        """The call waits in another queue now. The stricter of both queues rules what may be recorded."""
        other, former = self.context.config.queues.get(queue_id), self.queue
        if other is not None and former is not None:
            recorded = former.recorded and other.recorded
            floor = max(former.consent_floor, other.consent_floor)
            self.queue = replace(other, recorded=recorded, consent_floor=floor)

    def wait_ended(self, reason: str, target: str) -> Outcome:
        """A step of the queue, or its longest wait, ended the wait: on as after a timeout, or as when refused."""
        if self.phase is not Phase.JOINING and self.phase is not Phase.WAITING:
            return None
        self.context.silence()
        self.context.cancel_timers()
        if reason == "prompt":
            self.phase = Phase.LEAVING
            self.context.play(self.context.prompt(target))
            return None
        return Go(self.node.on_timeout or self.node.on_refused)

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        if self.phase is Phase.LEAVING:
            return Go(self.node.on_timeout or self.node.on_refused)
        if self.phase is not Phase.BRIDGING:
            self._music()
        return None

    def _music(self) -> None:
        if self.queue is not None:
            self.context.start_music(self.queue.music_class)
            if self.node.announces:
                self.context.set_timer("announce", self.queue.announce_every_s)

    def timer(self, purpose: str, now: float) -> Outcome:
        if purpose == "announce" and self.queue is not None:
            if self.phase is Phase.WAITING:
                self.context.do(cmd.AskPosition(self.node.queue_id, estimated=self.node.announce_wait))
            else:
                self.context.set_timer("announce", self.queue.announce_every_s)
        if purpose == "max_wait" and self.node.on_timeout is not None:
            if self.phase in (Phase.OFFERED, Phase.BRIDGING):
                self.context.set_timer("max_wait", 1.0)  # an agent is being rung: do not take the call away now
                return None
            self.context.do(cmd.LeaveQueue(self.node.queue_id))
            self.context.silence()
            self.context.cancel_timers()
            return Go(self.node.on_timeout)
        return None

    def told(self, event: ev.PositionTold) -> None:
        if self.phase is not Phase.WAITING:
            return
        if prompts := self._announcements(event):
            self.context.play(*map(self.context.prompt, prompts))
        else:
            self._music()

    # --- offers -------------------------------------------------------------------------------------------------

    def offered(self, offer: ev.OfferMade, now: float) -> None:
        if self.offer is not None:
            raise AssertionError("the ACD made a second offer for a call that has one")
        self.phase = Phase.OFFERED
        self.offer = offer
        self.agent_leg = LegId(derive(now, "leg", self.context.call_id, offer.offer_id))
        self.context.do(
            cmd.OriginateLeg(
                leg_id=self.agent_leg,
                to=cmd.ToPhone(offer.phone_id),
                cli=self.cli,
                timeout_s=offer.ring_timeout_s,
                peer_leg_id=self.context.leg_id,
            )
        )

    def rings(self) -> None:
        if self.offer is not None and self.phase is Phase.OFFERED:
            self.context.do(cmd.AgentRings(self.offer.offer_id, self.offer.agent_id))

    def agent_answered(self, now: float) -> None:
        if self.phase is not Phase.OFFERED or self.agent_leg is None:
            return
        self.phase = Phase.BRIDGING
        self.context.silence()
        self.context.cancel_timers()
        self.bridge_id = BridgeId(derive(now, "bridge", self.context.call_id, self.agent_leg))
        self.context.do(cmd.BridgeLegs(self.bridge_id, (self.context.leg_id, self.agent_leg)))

    def bridged(self, now: float) -> None:
        if self.phase is Phase.BRIDGING:
            self.end_offer(ev.OfferOutcome.ANSWERED, now)
            self.connected = True

    def agent_leg_ended(self, cause: HangupCause, now: float) -> None:
        """Before the bridge: the offer came to nothing; the call keeps its place."""
        failed = self.phase is Phase.BRIDGING
        outcome = ev.OfferOutcome.FAILED if failed else _OUTCOMES.get(cause, ev.OfferOutcome.FAILED)
        self.give_up_offer(outcome, now)

    def withdrawn(self, now: float) -> None:
        if self.phase is Phase.OFFERED and self.agent_leg is not None:
            self.context.do(cmd.HangUpLeg(self.agent_leg, HangupCause.NORMAL_CLEARING))
            self.give_up_offer(ev.OfferOutcome.WITHDRAWN, now)

    def bridge_failed(self, now: float) -> None:
        if self.phase is Phase.BRIDGING and self.agent_leg is not None:
            self.context.do(cmd.HangUpLeg(self.agent_leg, HangupCause.TEMPORARY_FAILURE))
            self.give_up_offer(ev.OfferOutcome.FAILED, now)

    def give_up_offer(self, outcome: ev.OfferOutcome, now: float) -> None:
        if self.bridge_id is not None:
            self.context.do(cmd.DestroyBridge(self.bridge_id))
        music = self.phase is Phase.BRIDGING
        self.phase = Phase.WAITING
        self.agent_leg = self.bridge_id = None
        self.end_offer(outcome, now)
        if music:
            self._music()

    def end_offer(self, outcome: ev.OfferOutcome, now: float) -> None:
        if self.offer is None:
            return
        offer, self.offer = self.offer, None
        ended = ev.OfferEnded(at=now, offer_id=offer.offer_id, agent_id=offer.agent_id, outcome=outcome)
        self.context.record(ended)
        self.context.do(cmd.EndOffer(offer.offer_id, offer.agent_id, outcome))

    def abandon(self, now: float) -> None:
        if self.bridge_id is not None:
            self.context.do(cmd.DestroyBridge(self.bridge_id))
            self.bridge_id = None
        if self.offer is not None:
            self.end_offer(ev.OfferOutcome.CALLER_GONE, now)
        self.context.do(cmd.LeaveQueue(self.node.queue_id))
        super().abandon(now)
