"""How long a waiting call will still wait until an agent is offered it, from what its queue has measured.

The line in front is let run off as a fluid. Agents with the same pools are one group that ends calls at the rate its
members have shown. Each pool holds the calls in front, which groups work off, those that can take from several pools
from each in proportion, and which shrink by callers who leave. When the pools of a group are empty of calls in front,
its next free agent takes this call. With n busy agents, one queue and place k that is k/(n mu), the mean of M/M/n.

Then time is stretched by what the busy agents have behind them: the wait is over when as many calls have ended as the
fluid said, and agents whose calls have lasted long end them by the measured distribution, not by its mean.

What it does not foresee: agents who come or go, calls of higher priority that are yet to come, stages of the plan.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from pbx.domain.agent import Agent, Condition, Status
from pbx.domain.ids import CallId, QueueId
from pbx.domain.measured import TIMES, Handling, slot_of
from pbx.domain.pools import Pool, Profile
from pbx.domain.waiting_line import Line, Waiting

MAX_AGENTS = 400
"""So many of those who can take the call are looked at one by one; of more, these stand for all."""
MAX_PROFILES, MAX_OTHERS = 100, 16
"""Likewise of the sets of skills in a pool of the call itself, and in the other pools of agents who can take it."""
MAX_CALLS = 16
"""Likewise of the calls in front in a pool."""
_OUT = (Condition.NOT_LOGGED_IN, Condition.NOT_READY, Condition.UNREACHABLE)
_STEPS = 200
_P80 = 0.8416212335729143
"""The normal distribution's 80th percentile."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from now until an agent is offered the call, if the caller stays."""

    position: int
    mean_s: float
    median_s: float
    p80_s: float
    """In four of five such cases the wait is over by then."""
    agents: int
    """Who can take this call: logged in, reachable, not NOT_READY."""


@dataclass(slots=True)
class _Group:
    pools: tuple[int, ...]
    rate: float = 0.0
    own: bool = False
    """Can take the call in question."""


@dataclass(slots=True)
class _Crew:
    """Those who can take the call."""

    agents: float = 0.0
    rate: float = 0.0
    busy: dict[tuple[Handling, int], float] = field(default_factory=dict)
    """How many, by handling times and slots of time busy."""


def estimate(
    waiting: Waiting, calls: Mapping[CallId, Waiting], lines: Mapping[QueueId, Line], now: float
) -> Estimate | None:
    """None while the queue has measured too little, or nobody could take the call."""
    handling = waiting.line.handling
    if not handling.enough:
        return None
    crew = _Crew()
    own = _profiles(waiting.pools, MAX_PROFILES)
    shares = [(profile, _members(profile, part, lines, handling, now, crew)) for profile, part in own.items()]
    number = round(crew.agents)
    if crew.rate <= 0 or not number:
        return None
    position = waiting.line.all.rank(waiting.place) + 1
    if waiting.offer_id is not None:
        return Estimate(position, 0.0, 0.0, 0.0, number)
    groups, amounts, leaving = _fluid(waiting, calls, shares, 1 / handling.mean)
    mean_s, variance = _run_off(groups, amounts, leaving)
    real_s = _stretched(mean_s, crew)
    variance *= (real_s / mean_s) ** 2
    # The mean handling time is known only as well as its number of values allows.
    variance += real_s**2 * handling.variance / handling.mean**2 / handling.effective
    return Estimate(position, real_s, *_quantiles(real_s, variance), number)


# --- who and what ---------------------------------------------------------------------------------------------------


def _profiles(pools: Iterable[Pool], most: int) -> dict[Profile, float]:
    """Of each pool's profiles at most so many, and for how many times its agents each stands."""
    found: dict[Profile, float] = {}
    for pool in pools:
        some = list(islice(pool.profiles, most))
        logged_in = sum(profile.logged_in for profile in some)
        part = 1.0 if len(some) == len(pool.profiles) or not logged_in else pool.logged_in / logged_in
        for profile in some:
            found.setdefault(profile, part)
    return found


def _members(
    profile: Profile, part: float, lines: Mapping[QueueId, Line], handling: Handling, now: float, crew: _Crew
) -> float:
    """Adds the agents of one profile who can take the call to ``crew``. Their rate."""
    present = _present(profile)
    if not present:
        return 0.0
    looked, rate = 0, 0.0
    found: list[tuple[Handling, int]] = []
    here = (agent for agent in profile.agents.values() if agent.noted not in _OUT)
    for agent in islice(here, max(8, MAX_AGENTS - int(crew.agents))):
        looked += 1
        if agent.status is Status.AVAILABLE and agent.reachable and not agent.removed:
            own = _handling_of(agent, lines, handling)
            rate += 1 / own.mean
            found.append((own, slot_of(now - agent.busy_since)))
    if not looked:
        return 0.0
    scale = part * present / looked
    for key in found:
        crew.busy[key] = crew.busy.get(key, 0.0) + scale
    crew.agents += len(found) * scale
    crew.rate += rate * scale
    return rate * scale


def _present(profile: Profile) -> int:
    return len(profile.agents) - sum(profile.counts[condition] for condition in _OUT)


def _handling_of(agent: Agent, lines: Mapping[QueueId, Line], otherwise: Handling) -> Handling:
    """Of the queue whose call keeps the agent."""
    line = lines.get(agent.queue_id) if agent.queue_id is not None else None
    own = line.handling if line is not None else agent.handling
    return own if own is not None and own.enough else otherwise


def _fluid(
    waiting: Waiting, calls: Mapping[CallId, Waiting], shares: list[tuple[Profile, float]], rate: float
) -> tuple[list[_Group], list[float], list[float]]:
    """Groups, calls in front by pool, and the rate at which their callers leave. Agents who cannot take the call help
    to work off what is in front of it; of them ``rate`` is taken."""
    ahead: dict[Pool, int] = {}
    for pool in {pool: None for profile, _ in shares for pool in profile.pools}:
        before = pool.open.rank(waiting.place)
        if before:
            ahead[pool] = before
    numbers = {pool: number for number, pool in enumerate(ahead)}
    amounts, leaving = [], []
    for pool, before in ahead.items():
        amount, leave = _in_front(pool, before, calls)
        amounts.append(amount)
        leaving.append(leave)
    groups: dict[tuple[bool, tuple[int, ...]], _Group] = {}

    def add(profile: Profile, gain: float, own: bool) -> None:
        if gain > 0:
            served = tuple(numbers[pool] for pool in profile.pools if pool in numbers)
            groups.setdefault((own, served), _Group(served, own=own)).rate += gain

    for profile, gain in shares:
        add(profile, gain, True)
    seen = {profile for profile, _ in shares}
    for profile, part in _profiles(ahead, MAX_OTHERS).items():
        if profile not in seen:
            add(profile, rate * part * _present(profile), False)
    return list(groups.values()), amounts, leaving


def _in_front(pool: Pool, before: int, calls: Mapping[CallId, Waiting]) -> tuple[float, float]:
    """How many calls, and the rate of leaving of one. A call that stands in several pools counts in each for the part
    of its agents who are there."""
    part = leave = 0.0
    looked = min(before, MAX_CALLS)
    for _, call_id in islice(pool.open, looked):
        waiting = calls[call_id]
        leave += waiting.line.patience.rate
        every = sum(other.logged_in for other in waiting.pools)
        part += pool.logged_in / every if every else 1.0
    return before * part / looked, leave / looked


# --- the fluid ------------------------------------------------------------------------------------------------------


def _run_off(groups: list[_Group], amounts: list[float], leaving: list[float]) -> tuple[float, float]:
    """Mean and variance of the wait. Rates are constant between the moments at which a pool is empty."""
    amounts = list(amounts)
    stays, mean, square, noise, at = 1.0, 0.0, 0.0, 0.0, 0.0
    for _ in range(_STEPS):
        drain = [rate * amount for rate, amount in zip(leaving, amounts, strict=True)]
        reach = work = 0.0
        for group in groups:
            total = sum(amounts[pool] for pool in group.pools)
            if total <= 0:
                reach += group.rate if group.own else 0.0
                continue
            work += group.rate if group.own else 0.0
            for pool in group.pools:
                drain[pool] += group.rate * amounts[pool] / total
        lasts = [amount / out for amount, out in zip(amounts, drain, strict=True) if amount > 0 and out > 0]
        step = min(lasts, default=math.inf)
        step = _no_longer_than_leaving(step, amounts, leaving)
        # The wait ends at the rate ``reach`` during this step.
        if reach > 0:
            gone = -math.expm1(-reach * step)
            first = gone / reach - (0.0 if step == math.inf else step * math.exp(-reach * step))
            mean += stays * gone / reach
            square += 2 * stays * (at * gone / reach + first / reach)
            stays *= 1 - gone
        elif step < math.inf:
            mean += stays * step
            square += stays * (2 * at * step + step * step)
            noise += step / work if work else 0.0
        if step == math.inf or stays < 1e-4:
            break
        at += step
        amounts = [max(0.0, a - out * step) for a, out in zip(amounts, drain, strict=True)]
        amounts = [a if a > 1e-9 else 0.0 for a in amounts]
    return mean, max(0.0, square - mean * mean) + noise


def _no_longer_than_leaving(step: float, amounts: list[float], leaving: list[float]) -> float:
    """Leaving slows down as the line shrinks: a step is not longer than a tenth of callers' patience."""
    fastest = max((rate for rate, amount in zip(leaving, amounts, strict=True) if amount > 0), default=0.0)
    return min(step, 0.1 / fastest) if fastest > 0 else step


def _stretched(mean_s: float, crew: _Crew) -> float:
    """When as many calls will have ended as the rates alone say until ``mean_s``, given how long the agents have been
    busy."""
    wanted = crew.rate * mean_s
    total = [0.0] * len(TIMES)
    for (handling, slot), number in crew.busy.items():
        for at, over in enumerate(handling.completions(slot)):
            total[at] += number * over
    n = bisect_left(total, wanted)
    if n == 0:
        return mean_s
    if n == len(total):
        return TIMES[-1] + (wanted - total[-1]) / crew.rate
    gain = total[n] - total[n - 1]
    return TIMES[n - 1] + (TIMES[n] - TIMES[n - 1]) * ((wanted - total[n - 1]) / gain if gain > 0 else 1.0)


def _quantiles(mean: float, variance: float) -> tuple[float, float]:
    """Median and 80th percentile of the gamma distribution with this mean and variance, by Wilson and Hilferty, Proc.
    Natl. Acad. Sci. 17, 1931; within 1.5 % for shapes from 1."""
    if mean <= 0 or variance <= 0:
        return mean, mean
    ninth = min(variance / mean**2, 1.5) / 9
    return mean * math.pow(1 - ninth, 3), mean * math.pow(1 - ninth + _P80 * math.sqrt(ninth), 3)
