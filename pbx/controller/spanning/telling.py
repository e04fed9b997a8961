"""What the router of queues that span POPs is told of calls and agents of this one."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.agent import Agent
from pbx.domain.ids import AgentId
from pbx.domain.pools import Profile
from pbx.domain.spanning.messages import CallIs
from pbx.domain.waiting_line import Waiting
from pbx.wire import mesh as wire


@dataclass(slots=True)
class Told:
    """An agent as the router was told, or will be at once. ``epoch`` counts the changes."""

    epoch: int
    free: bool
    reserved: int
    """The ACD's own count of the agent's reservations: one that began and ended meanwhile is a change as well."""
    profile: Profile | None
    """What the agent can do; one object for all who can the same."""


def call_told(report: CallIs, waiting: Waiting | None) -> wire.CallTold:
    """``waiting``: where the call is; None of one that is not open."""
    if waiting is None:
        return wire.CallTold(report.call_id, report.number, open=False)
    needs = [[need.skill, need.least, [list(one) for one in need.fallbacks]] for need in waiting.needs]
    return wire.CallTold(
        report.call_id,
        report.number,
        True,
        waiting.queue_id,
        waiting.entered_at,
        waiting.priority + waiting.raised,
        needs,
        waiting.value,
    )


def agent_told(agent_id: AgentId, told: Told, agent: Agent | None) -> wire.AgentTold:
    if agent is None or not told.free:
        return wire.AgentTold(agent_id, told.epoch, free=False)
    return wire.AgentTold(
        agent_id,
        told.epoch,
        True,
        dict(agent.skills),
        agent.country,
        agent.site,
        agent.cost,
        agent.weight,
        agent.idle_since,
        agent.on_shift,
    )
