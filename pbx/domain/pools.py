"""The two indexes of the ACD, both by requirement.

A *pool* is one requirement: the calls that ask for it and that nobody is being offered, in the order in which a freed
agent takes them, and the idle agents who meet it, one heap per strategy. A *profile* is one set of skills: the agents
who have exactly these, counted by condition, and the pools they can take calls from. So a freed agent looks at the
heads of a few pools, a call looks at the head of one heap, and a new requirement is compared with profiles, not agents.
Classes (``agent_classes``) count as skills here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from pbx.domain.agent import Agent, Condition, Status
from pbx.domain.ids import AgentId
from pbx.domain.queue_rules import Requirement, Strategy
from pbx.domain.sorted_blocks import SortedBlocks
from pbx.domain.strategies import key

Entry = tuple[float, float, AgentId, int, Agent]
"""The strategy's key, idle since, agent, and the agent's stamp when entered: no two entries have the same."""


_LONGEST_IDLE = Strategy.LONGEST_IDLE
_NOT_LOGGED_IN = Condition.NOT_LOGGED_IN
_NOBODY = [0] * len(Condition)


def agent_entry(agent: Agent) -> Entry:
    """By LONGEST_IDLE."""
    return (agent.idle_since, agent.idle_since, agent.agent_id, agent.stamp, agent)


def _current(entry: Entry) -> bool:
    """Whether the agent is still idle as when entered."""
    agent = entry[4]
    return agent.stamp is entry[3] and agent.can_be_offered


class IdleHeap:
    """Idle agents of one pool in one strategy's order. Whoever comes behind all others, as by the longest idle nearly
    everybody does, is appended to a run in order, anybody else goes into a heap; the first is the head of either.
    Entries go stale where they stand; both are swept when more than half of them may be stale, so that their size stays
    within a constant of the agents'."""

    __slots__ = ("clock", "others", "requirement", "run", "strategy", "swept")

    def __init__(self, strategy: Strategy, requirement: Requirement) -> None:
        self.strategy = strategy
        self.requirement = requirement
        self.run: deque[Entry] = deque()
        self.others: list[Entry] = []
        self.swept = 0
        self.clock = 0.0
        """Of the strategy RANDOM: the key of the last one chosen."""

    def enter(self, entry: Entry) -> None:
        """``entry``: the agent's by LONGEST_IDLE."""
        run = self.run
        if self.strategy is not _LONGEST_IDLE:
            entry = (key(self.strategy, entry[4], self.requirement, self.clock), *entry[1:])
        if not run or entry > run[-1]:
            run.append(entry)
        else:
            heapq.heappush(self.others, entry)
        if len(run) + len(self.others) > 2 * self.swept + 64:
            self._sweep()

    def _sweep(self) -> None:
        """All that is left becomes the run."""
        entries = sorted(filter(_current, (*self.run, *self.others)))
        self.run, self.others, self.swept = deque(entries), [], len(entries)

    def pop(self) -> Agent | None:
        run, others = self.run, self.others
        while run or others:
            entry = run.popleft() if run and (not others or run[0] < others[0]) else heapq.heappop(others)
            agent = entry[4]
            if agent.stamp is entry[3] and agent.can_be_offered:
                self.clock = entry[0]
                return agent
        return None

    def __len__(self) -> int:
        return len(self.run) + len(self.others)


class Pool:
    __slots__ = ("heaps", "logged_in", "open", "profiles", "requirement")

    def __init__(self, requirement: Requirement) -> None:
        self.requirement = requirement
        self.open = SortedBlocks()
        self.heaps: dict[Strategy, IdleHeap] = {}
        self.profiles: dict[Profile, None] = {}
        self.logged_in = 0
        """Agents who meet the requirement and have not logged out, whatever they are doing."""


class Profile:
    __slots__ = ("agents", "counts", "pools", "skills")

    def __init__(self, skills: Mapping[str, int]) -> None:
        self.skills = dict(skills)
        self.agents: dict[AgentId, Agent] = {}
        self.counts = [0] * len(Condition)
        self.pools: list[Pool] = []

    @property
    def logged_in(self) -> int:
        return len(self.agents) - self.counts[Condition.NOT_LOGGED_IN]

    def meets(self, requirement: Iterable[tuple[str, int]]) -> bool:
        has = self.skills
        for skill, least in requirement:  # noqa: SIM110  # all() costs twice as much
            if has.get(skill, 0) < least:
                return False
        return True


def count_all(profiles: Iterable[Profile]) -> list[int]:
    """How many agents they have, by condition."""
    return list(map(sum, zip(_NOBODY, *(profile.counts for profile in profiles), strict=True)))


def normal(requirement: Iterable[tuple[str, int]]) -> Requirement:
    """Without the skills of which 0 is enough, and with the highest demand where a skill is named twice."""
    least: dict[str, int] = {}
    for skill, value in requirement:
        least[skill] = max(value, least.get(skill, 0))
    return frozenset((skill, value) for skill, value in least.items() if value > 0)


class Pools:
    def __init__(self) -> None:
        self._pools: dict[Requirement, Pool] = {}
        self._by_first: dict[str, dict[Pool, None]] = {}
        """Pools by the first of their skills; those without any by the empty word."""
        self._profiles: dict[frozenset[tuple[str, int]], Profile] = {}
        self._by_skill: dict[str, dict[Profile, None]] = {}
        self.on_agent: Callable[[Agent], None] | None = None
        """Told of each agent whose abilities or condition changed, or who is no more."""

    # --- pools ----------------------------------------------------------------------------------------------------

    def pool(self, requirement: Iterable[tuple[str, int]], strategy: Strategy) -> Pool:
        """The pool of a requirement, with a heap for ``strategy``; made when there is none."""
        wanted = normal(requirement)
        pool = self._pools.get(wanted)
        if pool is None:
            pool = self._pools[wanted] = Pool(wanted)
            self._by_first.setdefault(_first(wanted), {})[pool] = None
            for profile in self.meeting(wanted):
                pool.profiles[profile] = None
                profile.pools.append(pool)
                pool.logged_in += profile.logged_in
        if strategy not in pool.heaps:
            heap = pool.heaps[strategy] = IdleHeap(strategy, wanted)
            for profile in pool.profiles:
                if profile.counts[Condition.CAN_BE_OFFERED]:
                    for agent in profile.agents.values():
                        if agent.in_heaps and agent.can_be_offered:
                            heap.enter(agent_entry(agent))
        return pool

    def keep(self, live: Mapping[Pool, set[Strategy]]) -> None:
        """Forget all other pools and heaps; a configuration changed."""
        for requirement, pool in list(self._pools.items()):
            for strategy in pool.heaps.keys() - live.get(pool, set()):
                del pool.heaps[strategy]
            if pool not in live:
                del self._pools[requirement]
                del self._by_first[_first(requirement)][pool]
                for profile in pool.profiles:
                    profile.pools.remove(pool)

    def meeting(self, requirement: Iterable[tuple[str, int]]) -> list[Profile]:
        """Profiles that meet a requirement, found by its rarest skill."""
        wanted = tuple(requirement)
        indexes: list[Iterable[Profile]] = sorted((self._by_skill.get(s, {}) for s, _ in wanted), key=len)  # type: ignore[arg-type]
        within = indexes[0] if indexes else self._profiles.values()
        return [profile for profile in within if profile.meets(wanted)]

    # --- agents ---------------------------------------------------------------------------------------------------

    def enlist(self, agent: Agent) -> list[Pool]:
        """Count the agent under its abilities, not former ones any more. The pools that have nobody logged in now."""
        emptied = self.discharge(agent)
        abilities = agent.abilities
        signature = frozenset(abilities.items())
        profile = self._profiles.get(signature)
        if profile is None:
            profile = self._profiles[signature] = Profile(abilities)
            for skill in profile.skills:
                self._by_skill.setdefault(skill, {})[profile] = None
            for skill in ("", *profile.skills):
                for pool in self._by_first.get(skill, ()):
                    if profile.meets(pool.requirement):
                        pool.profiles[profile] = None
                        profile.pools.append(pool)
        agent.profile, agent.noted = profile, agent.condition
        profile.agents[agent.agent_id] = agent
        profile.counts[agent.noted] += 1
        if agent.status is not Status.LOGGED_OUT:
            for pool in profile.pools:
                pool.logged_in += 1
        if self.on_agent is not None:
            self.on_agent(agent)
        return [pool for pool in emptied if not pool.logged_in]

    def discharge(self, agent: Agent) -> list[Pool]:
        """The pools that have nobody logged in any more."""
        profile = agent.profile
        if profile is None:
            return []
        agent.profile = None
        if self.on_agent is not None:
            self.on_agent(agent)
        del profile.agents[agent.agent_id]
        profile.counts[agent.noted] -= 1
        emptied = []
        if agent.noted is not Condition.NOT_LOGGED_IN:
            for pool in profile.pools:
                pool.logged_in -= 1
                if not pool.logged_in:
                    emptied.append(pool)
        if not profile.agents:
            del self._profiles[frozenset(profile.skills.items())]
            for skill in profile.skills:
                del self._by_skill[skill][profile]
            for pool in profile.pools:
                del pool.profiles[profile]
        return emptied

    def note(self, agent: Agent) -> list[Pool]:
        """Count the agent under its present condition. The pools that have nobody logged in any more."""
        profile, old, new = agent.profile, agent.noted, agent.condition
        if old is new or profile is None:
            return []
        agent.noted = new
        if self.on_agent is not None:
            self.on_agent(agent)
        profile.counts[old] -= 1
        profile.counts[new] += 1
        if old is _NOT_LOGGED_IN:
            for pool in profile.pools:
                pool.logged_in += 1
        elif new is _NOT_LOGGED_IN:
            for pool in profile.pools:
                pool.logged_in -= 1
            return [pool for pool in profile.pools if not pool.logged_in]
        return []

    def enter(self, agent: Agent) -> None:
        """The agent is idle and there is no call: into the heaps of all its pools."""
        agent.in_heaps = True
        if agent.profile is not None:
            entry = agent_entry(agent)
            for pool in agent.profile.pools:
                for heap in pool.heaps.values():
                    heap.enter(entry)

    def count(self, requirement: Iterable[tuple[str, int]]) -> list[int]:
        """How many agents meet a requirement, by condition."""
        return count_all(self.meeting(requirement))

    def entries(self) -> int:
        return sum(len(heap) for pool in self._pools.values() for heap in pool.heaps.values())


def _first(requirement: Requirement) -> str:
    return min((skill for skill, _ in requirement), default="")
