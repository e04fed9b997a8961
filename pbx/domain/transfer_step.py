"""The steps of a transfer node."""

from __future__ import annotations

from pbx.domain.agent_leg import DirectStep
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import Go, Step
from pbx.domain.flow_nodes import EnterQueue, Transfer
from pbx.domain.forwarding import ForwardStep, Outside
from pbx.domain.ids import AgentId, BridgeId, LegId, QueueId
from pbx.domain.queue_step import QueueStep
from pbx.domain.seat import Seat
from pbx.domain.variables import fill

NO_QUEUE = QueueId("")
"""The queue of a conversation that came from none. Nothing of it is recorded: recording is a setting of queues."""


def transfer_step(context: CallContext, node: Transfer) -> Step:
    on_failure = Go(node.on_failure)
    if node.number is not None:
        number = fill(node.number, context.read)
        outside = Outside(number=number, why="flow", ring_s=node.ring_s, show_caller=node.show_caller)
        return ForwardStep(context, outside, on_failure)
    queue_id = node.queue_id or NO_QUEUE
    entered = EnterQueue(queue_id=queue_id, on_refused=node.on_failure)
    if node.agent is None:
        return QueueStep(context, entered, context.cli)
    agent_id = AgentId(fill(node.agent, context.read))
    seat = Seat(
        agent_id=agent_id,
        agent_country=None,
        queue_id=queue_id,
        queue=None,
        leg=LegId(""),
        bridge_id=BridgeId(""),
        node=entered,
    )
    return DirectStep(context, agent_id, seat, on_failure, node.ring_s)
