"""The call of a callback: a customer whom we call, with an agent reserved. Once the number answers it is a call like
any other, except that it has its place in the queue, and mostly its offer, already."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallConfig, CallContext
from pbx.domain.e164 import Cli, CliKind
from pbx.domain.flow import AskConsent, EnterQueue, Flow, HangUp, Node, Say, SkillNeed
from pbx.domain.ids import AgentId, CallbackId, FlowId, QueueId

FLOW_ID = FlowId("callback")
RESERVED = "reserved"
"""The timer that ends it."""
RESERVED_S = 45.0
"""How long an agent stays reserved after the customer has answered, while the customer hears who calls and is asked for
consent. After that the customer waits like any caller, at the place kept."""


@dataclass(slots=True)
class CalledBack:
    callback_id: CallbackId
    attempt: int
    queue_id: QueueId
    entered_at: float
    offer: ev.OfferMade | None = None
    """The agent who is reserved."""
    waits: bool = True
    """The ACD has the call, and no step of the call has taken that over yet."""
    reached: bool = False
    talked: bool = False

    def answered(self, context: CallContext, now: float) -> None:
        """The customer has."""
        self.reached = True
        context.record(ev.CallbackReached(at=now, callback_id=self.callback_id, attempt=self.attempt))
        # Not one of the context's timers, which end with each node.
        context.do(cmd.SetTimer(RESERVED, RESERVED_S))

    def talks(self, context: CallContext, agent_id: AgentId, now: float) -> None:
        """The promise is kept."""
        self.talked = True
        context.record(ev.CallbackDone(at=now, callback_id=self.callback_id, agent_id=agent_id))

    def let_go(self, context: CallContext, outcome: ev.OfferOutcome, now: float) -> None:
        """Out of the queue; the agent, who did nothing wrong, is free."""
        if self.waits:
            self.waits = False
            context.do(cmd.LeaveQueue(self.queue_id))
        self.give_back(context, outcome, now)

    def give_back(self, context: CallContext, outcome: ev.OfferOutcome, now: float) -> None:
        offer, self.offer = self.offer, None
        if offer is not None:
            context.record(ev.OfferEnded(at=now, offer_id=offer.offer_id, agent_id=offer.agent_id, outcome=outcome))
            context.do(cmd.EndOffer(offer.offer_id, offer.agent_id, outcome))

    def told(self, context: CallContext, event: ev.Event, now: float) -> None:
        """What the router says before the call has come to its queue."""
        match event:
            case ev.OfferMade():
                self.offer = event
            case ev.OfferWithdrawn(offer_id=offer_id):
                if self.offer is not None and self.offer.offer_id == offer_id:
                    self.give_back(context, ev.OfferOutcome.WITHDRAWN, now)
            case ev.QueueOverflowed(queue_id=queue_id):
                self.queue_id = queue_id
            case ev.QueueRefused():
                self.waits = False
            case _:
                return


def dial(context: CallContext, dialled: ev.CallbackDialled) -> None:
    if dialled.cli.number is None:
        raise AssertionError("a callback has a number")
    context.do(
        cmd.OriginateLeg(
            leg_id=dialled.leg_id,
            to=cmd.ToTrunk(dialled.trunk, dialled.cli.number),
            cli=Cli(CliKind.NUMBER, dialled.did),
            timeout_s=dialled.ring_s,
            peer_leg_id=None,
        )
    )


def config_of(config: CallConfig, dialled: ev.CallbackDialled) -> CallConfig:
    """The DID's configuration with the flow of a callback: who calls, consent as in the DID's flow, the queue."""
    queue = config.queues.get(dialled.queue_id)
    flows = (config.flow, *config.flows.values())
    asked = (node for flow in flows for node in flow.nodes.values() if isinstance(node, AskConsent))
    consent = next(asked, None) if queue is not None and queue.recorded else None
    nodes: dict[str, Node] = {
        "greeting": Say(prompts=("callback-greeting",), next="wait" if consent is None else "consent", barge_in=False),
        "wait": EnterQueue(
            queue_id=dialled.queue_id,
            on_refused="sorry",
            welcome_prompt=None,
            priority=dialled.priority,
            needs=tuple(SkillNeed(need.skill, need.least, need.fallbacks) for need in dialled.needs),
        ),
        "sorry": HangUp(prompts=("no-agent",)),
    }
    if consent is not None:
        nodes["consent"] = replace(consent, next="wait")
    return replace(config, flow=Flow(FLOW_ID, 1, "greeting", nodes, config.flow.languages), flows={})
