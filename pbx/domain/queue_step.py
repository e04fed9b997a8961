"""Waiting for an agent: music, announcements, offers, and the bridge that ends the wait."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Connected, End, Go, Outcome, ToStep
from pbx.domain.called_back import CalledBack
from pbx.domain.e164 import E164, Cli
from pbx.domain.flow import EnterQueue, position_prompt
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, QueueId, derive
from pbx.domain.leg_step import OUTCOMES
from pbx.domain.queue import Queue
from pbx.domain.queue_entry import needs_of, value_of
from pbx.domain.queue_exit import to_mailbox, to_number
from pbx.domain.queue_rules import Need
from pbx.domain.seat import Seat
from pbx.domain.variables import text_of
from pbx.domain.wait_announcement import WaitAnnouncement


class Phase(Enum):
    JOINING = "joining"
    WAITING = "waiting"
    OFFERED = "offered"
    """An agent's phone is being rung."""
    BRIDGING = "bridging"
    """The agent answered; the legs are about to hear each other."""
    LEAVING = "leaving"
    """The queue gave the call up; the caller hears why."""
    ASKING = "asking"
    """The caller wants to be called back and has left the line; nothing is promised yet."""
    PROMISED = "promised"
    """The caller hears that we will call back."""


class QueueStep(BaseStep):
    """``agent_leg`` is the leg of the agent who is being rung; ``bridge_id`` the bridge that is being made."""

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
        self.value = 0.0
        """Of the customer."""
        self.tried: tuple[E164, ...] = ()
        """Outside numbers that this wait does not overflow to: it has in vain, or their time was before it began."""
        self.again = False
        """Back from such a number."""
        self.patient_until: float | None = None
        """When the node's longest wait is over."""
        self.queue: Queue | None = context.config.queues.get(node.queue_id)
        self.phase = Phase.JOINING
        self.offer: ev.OfferMade | None = None
        self.agent_leg: LegId | None = None
        self.bridge_id: BridgeId | None = None
        self.callback_digit: str | None = None
        self._wait = WaitAnnouncement()

    def told(self, event: ev.Event, now: float) -> Outcome:
        """What the router says, and the media server of the agent's leg."""
        match event:
            case ev.QueueJoined():
                return self.joined(event, now)
            case ev.QueueRefused():
                return self.refused()
            case ev.QueueOverflowed(queue_id=queue_id):
                self.overflowed(queue_id)
            case ev.WaitEnded():
                return self.wait_ended(event)
            case ev.PositionTold():
                self.told_position(event)
            case ev.OfferMade():
                self.offered(event, now)
            case ev.CallbackOffered():
                self.callback_offered(event)
            case ev.OfferWithdrawn(offer_id=offer_id):
                if self.offer is not None and self.offer.offer_id == offer_id:
                    self.withdrawn(now)
            case ev.LegRinging(leg_id=leg_id):
                if leg_id == self.agent_leg:
                    self.rings()
            case ev.LegsBridged(bridge_id=bridge_id):
                if bridge_id == self.bridge_id:
                    return self.bridged(now)
            case _:
                pass
        return None

    # --- waiting ------------------------------------------------------------------------------------------------

    def enter(self, now: float) -> Outcome:
        if self.queue is None:
            return Go(self.node.on_refused)
        self.context.typed_ahead = None
        called_back = self.context.called_back
        if called_back is not None and called_back.waits:
            return self._take_up(called_back, now)
        if self.again:
            self._join(self.queue.queue_id)
            return None
        if called_back is not None and not called_back.talked:
            self.waited_s = now - called_back.entered_at
        self.entered_at = now - self.waited_s
        agent, preferred_s = self.preferred, self.preferred_s
        if agent is None and self.node.preferred:
            # Handed to an agent by somebody comes before what the flow prefers.
            agent, preferred_s = AgentId(text_of(self.context.read(self.node.preferred))) or None, self.node.preferred_s
        self.value = self._value(now)
        self._join(self.node.queue_id, agent, preferred_s)
        return None

    def _join(self, queue_id: QueueId, preferred: AgentId | None = None, preferred_s: float = 0.0) -> None:
        """The same age, priority and value make the same place again when an outside number did not answer. Such a
        caller has waited all the time: hours that ended meanwhile matter only where they end waits."""
        called_back = self.context.called_back
        self.context.do(
            cmd.JoinQueue(
                queue_id,
                entered_at=self.entered_at,
                priority=self.node.priority,
                needs=self._needs(),
                preferred=preferred,
                preferred_s=preferred_s if preferred else 0.0,
                caller=self.cli.number,
                value=self.value,
                while_closed=self.again or self.preferred is not None,
                callback=called_back is not None and not called_back.talked,
                tried=self.tried,
                again=self.again,
                estimated=self.node.announce_wait,
            )
        )

    def _value(self, now: float) -> float:
        value = value_of(self.node.value, self.context.read)
        if value is None:
            self.context.record(ev.CustomerValueIgnored(at=now, queue_id=self.node.queue_id))
        return value or 0.0

    def _take_up(self, called_back: CalledBack, now: float) -> Outcome:
        """A customer whom we called: the place in the line is there, and mostly an agent."""
        called_back.waits = False
        self.entered_at, self.phase = called_back.entered_at, Phase.WAITING
        if called_back.queue_id != self.node.queue_id:
            self.overflowed(called_back.queue_id)
        self._music()
        offer, called_back.offer = called_back.offer, None
        if offer is not None:
            self.offered(offer, now)
        return None

    def _needs(self) -> tuple[Need, ...]:
        return needs_of(self.node.needs, self.context.read)

    def joined(self, event: ev.QueueJoined, now: float) -> Outcome:
        if self.phase is not Phase.JOINING:
            return None
        self.phase = Phase.WAITING
        if event.asked is not None:
            self.entered_at = event.asked.entered_at  # earlier than asked for, where a place was kept
        if self.node.max_wait_s is not None:
            self.patient_until = self.patient_until or now + self.node.max_wait_s
            self.context.set_timer("max_wait", max(0.0, self.patient_until - now))
        if self.again:
            self._music()
            return None
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
            floor = former.consent_floor.stricter(other.consent_floor)
            self.queue = replace(other, recorded=recorded, consent_floor=floor)

    def wait_ended(self, event: ev.WaitEnded) -> Outcome:
        """A step of the queue, or its longest wait, ended the wait: on as after a timeout, or as when refused; out
        to a number, and back here when nobody answers; or to a mailbox."""
        if self.phase is not Phase.JOINING and self.phase is not Phase.WAITING:
            return None
        self.context.silence()
        self.context.cancel_timers()
        if event.reason in ("prompt", "closed") and event.target:
            self.phase = Phase.LEAVING
            self.context.play(self.context.prompt(event.target))
            return None
        if event.reason == "number":
            self.tried, self.again, self.phase = (*self.tried, E164(event.target)), True, Phase.JOINING
            return to_number(self.context, event, self.queue, ToStep(self))
        failed = Go(self.node.on_timeout or self.node.on_refused)
        if event.reason == "voicemail":
            return to_mailbox(self.context, event, failed)
        return failed

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        if self.phase is Phase.LEAVING:
            return Go(self.node.on_timeout or self.node.on_refused)
        if self.phase is Phase.PROMISED:
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.FLOW_ENDED)
        if self.phase is not Phase.BRIDGING:
            self._music()
        return None

    def _music(self) -> None:
        if self.queue is not None:
            self.context.start_music(self.queue.music_class)
            if self.node.announces:
                self.context.set_timer("announce", self.queue.announce_every_s)

    def music_again(self) -> None:
        """Another controller has the call; what was being said to the caller is cut short."""
        self.context.silence()
        self._music()

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

    def told_position(self, event: ev.PositionTold) -> None:
        if self.phase is not Phase.WAITING:
            return
        if prompts := self._announcements(event):
            self.context.play(*map(self.context.prompt, prompts))
        else:
            self._music()

    # --- a callback instead -------------------------------------------------------------------------------------

    def callback_offered(self, event: ev.CallbackOffered) -> None:
        """Who shows no number is not told of it: nobody could be called back."""
        if self.cli.number is None:
            return
        self.callback_digit = event.digit
        if self.phase is Phase.WAITING:
            self.context.play(self.context.prompt(event.prompt_id))

    def digit(self, digit: str, now: float) -> Outcome:
        if digit == self.callback_digit and self.phase is Phase.WAITING and self.cli.number is not None:
            self.phase = Phase.ASKING
            self.context.silence()
            self.context.cancel_timers()
            # Out of the line first: one customer must not have two agents.
            self.context.do(
                cmd.LeaveQueue(self.node.queue_id),
                self.context.callback_request(
                    self.queue.queue_id if self.queue is not None else self.node.queue_id,
                    self.cli.number,
                    self.entered_at,
                    self.node.priority,
                    self._needs(),
                    by="queue",
                ),
            )
        return None

    def promised(self) -> Outcome:
        if self.phase is Phase.ASKING:
            self.phase = Phase.PROMISED
            self.context.play(self.context.prompt("callback-promised"))
        return None

    def not_promised(self, now: float) -> Outcome:
        """The caller goes on waiting at the same place."""
        if self.phase is not Phase.ASKING:
            return None
        self.callback_digit = None
        self.phase, self.waited_s = Phase.JOINING, now - self.entered_at
        return self.enter(now)

    # --- offers -------------------------------------------------------------------------------------------------

    def offered(self, offer: ev.OfferMade, now: float) -> None:
        if self.phase in (Phase.ASKING, Phase.PROMISED, Phase.JOINING):  # crossed with our leaving the queue
            self.offer = offer
            self.end_offer(ev.OfferOutcome.CALLER_GONE, now)
            return
        if self.offer is not None:
            raise AssertionError("the ACD made a second offer for a call that has one")
        self.phase = Phase.OFFERED
        self.offer = offer
        self.agent_leg = LegId(derive(now, "leg", self.context.call_id, offer.offer_id))
        self.context.legs.add(self.agent_leg)
        self.context.do(
            cmd.OriginateLeg(
                leg_id=self.agent_leg,
                to=self._to(offer),
                cli=self.cli,
                timeout_s=offer.ring_timeout_s,
                peer_leg_id=self.context.leg_id,
            )
        )

    def _to(self, offer: ev.OfferMade) -> cmd.ToPhone | cmd.ToAgent:
        if offer.pop_id is None:
            return cmd.ToPhone(offer.phone_id)
        call_id = self.context.call_id
        return cmd.ToAgent(offer.pop_id, offer.agent_id, offer.epoch, offer.offer_id, call_id, offer.queue_id)

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

    def bridged(self, now: float) -> Outcome:
        offer, leg, bridge_id = self.offer, self.agent_leg, self.bridge_id
        if self.phase is not Phase.BRIDGING or offer is None or leg is None or bridge_id is None:
            return None
        self.end_offer(ev.OfferOutcome.ANSWERED, now)
        seat = Seat(
            agent_id=offer.agent_id,
            agent_country=offer.agent_country,
            queue_id=offer.queue_id,
            queue=self.queue,
            leg=leg,
            bridge_id=bridge_id,
            node=self.node,
            lent=None if offer.pop_id is None else (offer.pop_id, offer.offer_id),
        )
        return Connected(seat)

    def agent_leg_ended(self, cause: HangupCause, now: float) -> None:
        """Before the bridge: the offer came to nothing; the call keeps its place."""
        failed = self.phase is Phase.BRIDGING
        outcome = ev.OfferOutcome.FAILED if failed else OUTCOMES.get(cause, ev.OfferOutcome.FAILED)
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
