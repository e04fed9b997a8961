"""Where a caller goes who leaves a conversation: to a queue, out to a number, into a parking slot; and from the
last two, when nobody comes, back to the queue, first to the same agent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import Step, ToStep
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.flow import EnterQueue
from pbx.domain.forwarding import ForwardStep, Outside
from pbx.domain.ids import AgentId, BridgeId, LegId
from pbx.domain.parking import ParkStep
from pbx.domain.queue_rules import overdue_numbers
from pbx.domain.queue_step import QueueStep
from pbx.domain.seat import Seat

PREFERRED_S = 30.0
"""How long a caller who was handed to one agent waits for nobody else."""


@dataclass(frozen=True, slots=True)
class HandOn:
    """To a queue."""

    node: EnterQueue
    preferred: AgentId | None


@dataclass(frozen=True, slots=True)
class HandOut:
    """To an outside number."""

    number: E164


@dataclass(frozen=True, slots=True)
class HandOver:
    """To the outside number that was consulted: they hear each other already."""

    number: E164
    leg: LegId
    bridge_id: BridgeId


@dataclass(frozen=True, slots=True)
class Park:
    slot: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class GoOn:
    """In the flow at ``node``; the agent is out already."""

    node: str


@dataclass(frozen=True, slots=True)
class Refusal:
    error_id: str
    detail: str


def target(context: CallContext, seat: Seat, asked: ev.TransferAsked) -> HandOn | HandOut | GoOn | Refusal:
    """Where the caller of this agent is to be handed on to."""
    if asked.after:
        if seat.node.after is None:
            return Refusal("no_after", "the flow names no node for after the conversation")
        return GoOn(seat.node.after)
    if asked.number is not None:
        try:
            context.config.dialling.number_of(asked.number)
        except BadValue as error:
            return Refusal("number_refused", f"number: {error.reason}")
        return HandOut(asked.number)
    queue_id = asked.queue_id or seat.queue_id
    if queue_id not in context.config.queues:
        return Refusal("unknown_queue", "this call knows no such queue")
    if asked.agent_id == seat.agent_id:
        return Refusal("agent_busy", "this agent has the call")
    return HandOn(replace(seat.node, queue_id=queue_id, welcome_prompt=None), asked.agent_id)


def next_step(context: CallContext, leaves: HandOn | HandOut | Park, seat: Seat, waited_s: float) -> Step:
    """``waited_s``: the age of the call, which it keeps in a queue."""
    if isinstance(leaves, HandOn):
        return _to_queue(context, leaves, seat, waited_s)
    node = replace(seat.node, queue_id=seat.queue_id, welcome_prompt=None)
    back = ToStep(_to_queue(context, HandOn(node, seat.agent_id), seat, waited_s))
    if isinstance(leaves, Park):
        return ParkStep(context, seat, leaves.slot, leaves.timeout_s, back)
    music = seat.queue.music_class if seat.queue is not None else "default"
    return ForwardStep(context, Outside(number=leaves.number, why="transfer", music_class=music), back)


def _to_queue(context: CallContext, to: HandOn, seat: Seat, waited_s: float) -> QueueStep:
    # Whom the flow prefers may be the one who hands the caller on.
    node = replace(to.node, preferred=None, preferred_s=0.0)
    step = QueueStep(context, node, context.cli, waited_s=waited_s, preferred=to.preferred, preferred_s=PREFERRED_S)
    if seat.queue is not None and seat.queue_id == node.queue_id:
        step.queue = seat.queue  # with the floor of those it overflowed from
        step.tried = overdue_numbers(seat.queue.steps, waited_s)
    return step
