"""Why a call is still waiting: reasons as data, worked out when asked from counts that the indexes keep anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from pbx.domain.agent import Agent, Condition
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.pools import Pool, Pools
from pbx.domain.queue_rules import Requirement
from pbx.domain.waiting_line import PRIORITY_S, Waiting


class Because(Enum):
    NO_AGENT = "no_agent"
    """This POP has nobody with the skills, logged in or not."""
    NOT_LOGGED_IN = "not_logged_in"
    ON_CALL = "on_call"
    WRAP_UP = "wrap_up"
    BEING_OFFERED = "being_offered"
    """Another call is being offered to these agents."""
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    HELD = "held"
    ENGAGED = "engaged"
    """These agents take part in another agent's conversation."""
    LACKS_SKILL = "lacks_skill"
    """These agents are logged in and lack ``skill`` of at least ``least``, and nothing else."""
    EARLIER_CALLS = "earlier_calls"
    """``calls`` of higher effective priority wait for the same agents."""
    RINGING = "ringing"
    """An agent's phone is being rung for this very call."""
    PREFERS = "prefers"
    """The call waits for one agent alone for a moment; another reason says what that agent is doing."""


_BY_CONDITION = {condition: Because[condition.name] for condition in Condition if condition.name in Because.__members__}


@dataclass(frozen=True, slots=True)
class Reason:
    because: Because
    agents: int = 0
    skill: str | None = None
    least: int | None = None
    calls: int = 0
    agent_id: AgentId | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Those who meet one of the call's alternative requirements, and why none of them has the call."""

    requirement: Requirement | None
    """None: the one agent the call waits for."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Why:
    call_id: CallId
    queue_id: QueueId
    waited_s: float
    effective_priority: float
    position: int
    offer_id: OfferId | None
    next_step_s: float | None
    """Seconds until the next stage of the queue's plan; None: there is none."""
    groups: tuple[Group, ...]
    """Never empty, and each has a reason."""


def why_waiting(waiting: Waiting, agents: Mapping[AgentId, Agent], pools: Pools, now: float) -> Why:
    stages = waiting.plan.stages
    next_at = waiting.since + stages[waiting.step].after_s if waiting.step < len(stages) else None
    return Why(
        call_id=waiting.call_id,
        queue_id=waiting.queue_id,
        waited_s=now - waiting.entered_at,
        effective_priority=(now - waiting.place[0]) / PRIORITY_S,
        position=waiting.line.all.rank(waiting.place) + 1,
        offer_id=waiting.offer_id,
        next_step_s=None if next_at is None else max(0.0, next_at - now),
        groups=tuple(_groups(waiting, agents, pools)),
    )


def _groups(waiting: Waiting, agents: Mapping[AgentId, Agent], pools: Pools) -> Iterable[Group]:
    if waiting.offer_id is not None:
        yield Group(None, (Reason(Because.RINGING, 1),))
    elif waiting.preferred is not None:
        yield Group(None, _one(waiting, agents[waiting.preferred]))
    else:
        for pool in waiting.pools:
            yield Group(pool.requirement, tuple(_pool(waiting, pool, pools)))


def _one(waiting: Waiting, agent: Agent) -> tuple[Reason, ...]:
    who = agent.agent_id
    ahead = agent.wanted.rank(waiting.place) if agent.wanted is not None else 0
    first = Reason(Because.PREFERS, 1, agent_id=who)
    doing = Reason(_BY_CONDITION[agent.condition], 1, agent_id=who)
    return (first, doing, Reason(Because.EARLIER_CALLS, calls=ahead)) if ahead else (first, doing)


def _pool(waiting: Waiting, pool: Pool, pools: Pools) -> Iterable[Reason]:
    counts = [0] * len(Condition)
    for profile in pool.profiles:
        for condition, number in enumerate(profile.counts):
            counts[condition] += number
    if not any(counts):
        yield Reason(Because.NO_AGENT)
    for condition, because in _BY_CONDITION.items():
        if counts[condition]:
            yield Reason(because, counts[condition])
    meet = sum(counts) - counts[Condition.NOT_LOGGED_IN]
    for skill, least in sorted(pool.requirement):
        others = pools.count(pool.requirement - {(skill, least)})
        lack = sum(others) - others[Condition.NOT_LOGGED_IN] - meet
        if lack:
            yield Reason(Because.LACKS_SKILL, lack, skill, least)
    ahead = pool.open.rank(waiting.place)
    if ahead:
        yield Reason(Because.EARLIER_CALLS, calls=ahead)
