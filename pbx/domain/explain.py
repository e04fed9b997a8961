"""Why a call is still waiting: reasons as data, worked out when asked from counts that the indexes keep anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from pbx.domain import agent_classes
from pbx.domain.agent import Agent, Condition
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.pools import Pool, Pools, count_all
from pbx.domain.queue_rules import Requirement
from pbx.domain.wait_estimate import Estimate
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
    OFF_SHIFT = "off_shift"
    """These agents are logged in and can do it, but their shift is over or has not begun."""
    OTHER_SITE = "other_site"
    """Likewise, but they are of a site that the call may not go to (yet)."""
    OTHER_POP = "other_pop"
    """Likewise, but their home is not the POP where the call is, whose agents come first."""
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
class Waits:
    """How a call stands in its queue."""

    call_id: CallId
    queue_id: QueueId
    waited_s: float
    effective_priority: float
    position: int
    offer_id: OfferId | None
    next_step_s: float | None
    """Seconds until the next stage of the queue's plan; None: there is none."""


@dataclass(frozen=True, slots=True)
class Why(Waits):
    groups: tuple[Group, ...]
    """Never empty, and each has a reason."""
    estimate: Estimate | None
    """How long it will still take; None: too little was measured, or nobody could take the call."""


def waits(waiting: Waiting, now: float) -> Waits:
    stages = waiting.plan.stages
    next_at = waiting.since + stages[waiting.step].after_s if waiting.step < len(stages) else None
    return Waits(
        call_id=waiting.call_id,
        queue_id=waiting.queue_id,
        waited_s=now - waiting.entered_at,
        effective_priority=(now - waiting.place[0]) / PRIORITY_S,
        position=waiting.line.all.rank(waiting.place) + 1,
        offer_id=waiting.offer_id,
        next_step_s=None if next_at is None else max(0.0, next_at - now),
    )


def why_waiting(
    waiting: Waiting, agents: Mapping[AgentId, Agent], pools: Pools, now: float, estimate: Estimate | None = None
) -> Why:
    stands = waits(waiting, now)
    return Why(
        **{name: getattr(stands, name) for name in Waits.__slots__},
        groups=tuple(_groups(waiting, agents, pools)),
        estimate=estimate,
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


def why_not(waiting: Waiting, agent: Agent) -> tuple[Reason, ...]:
    """Why this agent does not have the call; at least one reason while the ACD keeps its invariants."""
    who = agent.agent_id
    if waiting.offer_id is not None and agent.offer_id == waiting.offer_id:
        return (Reason(Because.RINGING, 1, agent_id=who),)
    reasons: list[Reason] = []
    if waiting.preferred is not None and waiting.preferred != who:
        reasons.append(Reason(Because.PREFERS, 1, agent_id=waiting.preferred))
    meets = [pool for pool in waiting.pools if agent.profile is not None and agent.profile.meets(pool.requirement)]
    if not meets:
        # Of the call's alternatives the one that this agent misses by the fewest skills.
        has = agent.abilities
        missing = [
            [(skill, least) for skill, least in sorted(pool.requirement) if has.get(skill, 0) < least]
            for pool in waiting.pools
        ]
        reasons += [_lacks(1, skill, least, who) for skill, least in min(missing, key=len)]
    if (doing := _BY_CONDITION.get(agent.condition)) is not None:
        reasons.append(Reason(doing, 1, agent_id=who))
    if ahead := max((pool.open.rank(waiting.place) for pool in meets), default=0):
        reasons.append(Reason(Because.EARLIER_CALLS, calls=ahead))
    if waiting.offer_id is not None:
        reasons.append(Reason(Because.RINGING, 1))
    return tuple(reasons)


def _lacks(agents: int, skill: str, least: int, who: AgentId | None = None) -> Reason:
    if not agent_classes.is_class(skill):
        return Reason(Because.LACKS_SKILL, agents, skill, least, agent_id=who)
    if skill == agent_classes.ON_SHIFT:
        return Reason(Because.OFF_SHIFT, agents, agent_id=who)
    return Reason(Because.OTHER_SITE if agent_classes.is_site(skill) else Because.OTHER_POP, agents, agent_id=who)


def _pool(waiting: Waiting, pool: Pool, pools: Pools) -> Iterable[Reason]:
    counts = count_all(pool.profiles)
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
            yield _lacks(lack, skill, least)
    ahead = pool.open.rank(waiting.place)
    if ahead:
        yield Reason(Because.EARLIER_CALLS, calls=ahead)
