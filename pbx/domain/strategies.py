"""One number per idle agent and strategy, lowest first, that time does not change while the agent is idle. So a heap
holds each strategy's order and no choice looks at more than one agent.

*Least occupied*: occupancy is the exponentially weighted share of busy time, ``occ' = (1 - occ)/T`` while busy and
``occ' = -occ/T`` while idle, with T = OCCUPANCY_S. Idle agents' occupancies all shrink by the same factor, so their
order stands still and ``ln(occ) + t/T``, taken when the agent became idle, is its key for good.

*Random*: the key is the heap's clock plus ``-ln(u)/weight``; the clock is the key of the last one chosen. The least of
exponential variables is the i-th with probability weight_i / sum(weights), and what is left of the others is
exponential again (Efraimidis and Spirakis, Information Processing Letters 97, 2006). ``u`` is a hash of the agent and
the agent's epoch: a replay draws the same.
"""

from __future__ import annotations

import hashlib
import math
from math import exp, log
from typing import TYPE_CHECKING

from pbx.domain.queue_rules import Requirement, Strategy

if TYPE_CHECKING:
    from pbx.domain.agent import Agent

OCCUPANCY_S = 1800.0
"""Time constant of occupancy: what was an hour ago counts an eighth."""


def load_after(load: float, busy_since: float, now: float) -> float:
    """The key of occupancy of an agent who becomes idle now and was busy since ``busy_since``."""
    before, busy_s = load - busy_since / OCCUPANCY_S, now - busy_since
    idle = 1.0 - exp(before) if before < 0.0 else 0.0
    occupancy = 1.0 - idle * exp(-busy_s / OCCUPANCY_S) if busy_s > 0.0 else 1.0 - idle
    return log(occupancy) + now / OCCUPANCY_S if occupancy > 0 else -math.inf


def occupancy(load: float, now: float) -> float:
    """0 to 1, of an agent who is idle."""
    return min(1.0, math.exp(min(0.0, load - now / OCCUPANCY_S)))


def draw(agent: Agent) -> float:
    """Exponential with mean 1/weight, the same for the same agent, epoch and time."""
    text = f"{agent.agent_id}\0{agent.epoch}\0{agent.idle_since}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return -math.log((number + 1) / 18446744073709551617) / agent.weight


def key(strategy: Strategy, agent: Agent, requirement: Requirement, clock: float) -> float:
    """``clock`` is that of the heap, for RANDOM."""
    if strategy is Strategy.LONGEST_IDLE or strategy is Strategy.SAME_POP_FIRST:
        return agent.idle_since
    if strategy is Strategy.BEST_SKILL:
        return -float(sum(agent.skills.get(skill, 0) for skill, _ in requirement))
    if strategy is Strategy.ROUND_ROBIN:
        return float(agent.turn)
    if strategy is Strategy.LEAST_OCCUPIED:
        return agent.load
    if strategy is Strategy.LOWEST_COST:
        return agent.cost
    return clock + draw(agent)
