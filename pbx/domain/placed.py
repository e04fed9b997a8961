"""A call that an agent places: the agent is kept for it, the phone answered or rung, then the number is dialled.

    keeping -> phone -> dialling -> (asking) -> connecting -> the conversation
                            \\-> tone

While the number rings the agent hears that. Who answers is told, and asked, what the places of both sides demand before
anything is recorded, the agent's and the queue's rule included; meanwhile the agent still hears ringing. A number that
does not answer ends the call: the agent hears busy or congestion for a moment, and is kept until that is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallConfig, CallContext
from pbx.domain.call_steps import Connected, End, Outcome
from pbx.domain.e164 import Cli, CliKind
from pbx.domain.flow import AskConsent, EnterQueue, Flow, HangUp, Node
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, FlowId, LegId
from pbx.domain.leg_step import LegStep
from pbx.domain.seat import Seat

FLOW_ID = FlowId("placed")
CONNECT = "connect"
"""The step at which both are joined; no node of the flow, for no flow of a caller may have one."""
PHONE_RING_S = 20.0
"""How long the agent's own phone is rung, where the call was asked for by the API."""
TONE = "tone"
TONE_S = 4.0
"""How long the agent hears why the number was not reached."""


def config_of(config: CallConfig, placed: ev.CallPlaced) -> CallConfig:
    """The DID's configuration with the flow of a placed call: consent as in the DID's flow, if this call may be
    recorded at all, and never asked more weakly than by the rules of the agent's place and of the queue."""
    queue = config.queues.get(placed.queue_id)
    nodes: dict[str, Node] = {"sorry": HangUp(prompts=("no-agent",))}
    start = CONNECT
    if queue is not None and queue.recorded and config.did.region:
        flows = (config.flow, *config.flows.values())
        asked = (node for flow in flows for node in flow.nodes.values() if isinstance(node, AskConsent))
        node = next(asked, AskConsent(next=CONNECT))
        agent = (placed.agent_country,)
        least = config.regimes.strictest(agent, max(node.at_least, queue.consent_floor.of(agent)))
        nodes["consent"] = replace(node, next=CONNECT, at_least=least, queue_id=placed.queue_id)
        start = "consent"
    return replace(config, flow=Flow(FLOW_ID, 1, start, nodes, config.flow.languages), flows={})


@dataclass(slots=True)
class Placed:
    """The agent's side of it, until they talk."""

    context: CallContext
    event: ev.CallPlaced
    engaged: bool = False
    answered: bool = False
    """The agent's phone is."""
    reached: bool = False
    """The number has answered."""
    connected: bool = False
    """They talk, or did: from then on it is a call like any other."""
    failed: tuple[HangupCause, float] | None = None
    """Why and when the number was not reached."""

    @property
    def phone_leg(self) -> LegId:
        return self.event.phone_leg

    def is_phone(self, leg_id: LegId) -> bool:
        """Whether the leg is the agent's, and nobody else sees to it."""
        return leg_id == self.phone_leg and not self.connected

    def begin(self) -> None:
        """Whatever the agent's status, and out of wrap-up too; not while busy with another call."""
        self.context.do(cmd.EngageAgent(self._request, self.event.agent_id, from_wrap_up=True))

    @property
    def _request(self) -> str:
        return f"{self.context.call_id}-placed"

    def told(self, event: ev.AgentEngaged | ev.AgentNotEngaged) -> Outcome:
        if event.request != self._request or self.engaged:
            return None
        if isinstance(event, ev.AgentNotEngaged):
            return End(HangupCause.USER_BUSY, ev.EndReason.AGENT_NOT_REACHED)
        self.engaged = True
        self._to_phone()
        return None

    def _to_phone(self) -> None:
        event = self.event
        if event.by == "phone":
            self.context.do(cmd.AnswerLeg(event.phone_leg))
        else:
            to = cmd.ToPhone(event.phone_id)
            self.context.do(cmd.OriginateLeg(event.phone_leg, to, event.cli, PHONE_RING_S, None))

    def phone_answered(self) -> None:
        """The number is dialled."""
        event, context = self.event, self.context
        if self.answered or event.cli.number is None:
            return
        self.answered = True
        context.legs.add(event.leg_id)
        context.do(
            cmd.StartRinging(event.phone_leg),
            cmd.OriginateLeg(
                leg_id=event.leg_id,
                to=cmd.ToTrunk(event.trunk, event.cli.number),
                cli=Cli(CliKind.NUMBER, event.did),
                timeout_s=event.ring_s,
                peer_leg_id=event.phone_leg,
            ),
        )

    def phone_gone(self, cause: HangupCause) -> End:
        """The agent's leg has ended."""
        if self.failed is not None:
            return self.tone_over()
        if self.answered or self.event.by == "phone":
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.AGENT_HUNG_UP)
        return End(cause, ev.EndReason.AGENT_NOT_REACHED)

    def not_reached(self, cause: HangupCause, now: float) -> None:
        self.failed = cause, now
        tone = cmd.Tone.BUSY if cause is HangupCause.USER_BUSY else cmd.Tone.CONGESTION
        self.context.do(cmd.StartTone(self.phone_leg, tone))
        self.context.set_timer(TONE, TONE_S)

    def tone_over(self) -> End:
        cause = HangupCause.NORMAL_CLEARING if self.failed is None else self.failed[0]
        return End(cause, ev.EndReason.NOT_REACHED)

    def let_go(self) -> None:
        """The call ends."""
        if not self.connected:
            self.context.do(cmd.FreeAgent(self.event.agent_id))

    def resume(self) -> None:
        """Another controller has the call: what may not have been done to the agent's phone is done again."""
        if self.engaged and not self.answered and self.event.by == "phone":
            self._to_phone()


class ConnectStep(LegStep):
    """Both are there, and hear each other in a moment."""

    def __init__(self, context: CallContext, placed: Placed) -> None:
        super().__init__(context)
        self.placed = placed

    def enter(self, now: float) -> Outcome:
        self.context.typed_ahead = None
        self.leg, self.answered = self.placed.phone_leg, True
        self.let_in(now)
        return None

    def connected(self, now: float) -> Outcome:
        event, queue_id = self.placed.event, self.placed.event.queue_id
        self.placed.connected = True
        self.context.do(cmd.PutOnCall(event.agent_id, queue_id))
        return Connected(
            Seat(
                agent_id=event.agent_id,
                agent_country=event.agent_country,
                queue_id=queue_id,
                queue=self.context.config.queues.get(queue_id),
                leg=event.phone_leg,
                bridge_id=self.bridge_id or BridgeId(""),
                node=EnterQueue(queue_id=queue_id, on_refused="sorry", welcome_prompt=None),
            )
        )

    def bridge_failed(self, bridge_id: str, now: float) -> Outcome:
        if bridge_id != self.bridge_id:
            return None
        return End(HangupCause.TEMPORARY_FAILURE, ev.EndReason.ENGINE_FAILED)

    def leg_ended(self, cause: HangupCause, now: float) -> Outcome:
        return self.placed.phone_gone(cause)
