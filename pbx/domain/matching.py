"""The decision itself: a freed agent takes the first among the calls it can take, a call the first idle agent in its
queue's strategy. Base of ``waits`` and ``acd``.

A call is *open* when it is waiting and nobody is being offered it. It then stands in the index of each of its pools, or
of the one agent it waits for; nothing else stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent import Agent, State, Status, Step
from pbx.domain.decisions import Changed, Decision, changed, to_call
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId, derive
from pbx.domain.kept_places import KeptPlaces
from pbx.domain.last_agent import LastAgents
from pbx.domain.maker import maker
from pbx.domain.pools import Pool, Pools
from pbx.domain.queue_rules import Requirement, Strategy
from pbx.domain.sorted_blocks import Place, SortedBlocks
from pbx.domain.waiting_line import Line, Waiting

ASKED_ROUTER = "router:"
"""How the name of a timer begins, before the agent: how long the router has the first word."""
ROUTER_S = 0.5
"""For so long an agent is left to the router for a call that comes before those of this POP's own queues."""
_LOOKED_AT = 32
_STATUS = {status: status.value for status in Status}
_STATE = {state: state.value for state in State}
_RESERVE = Step.RESERVE
_offer_made = maker(ev.OfferMade)
_agent_changed = maker(ev.AgentChanged)


class Choice(NamedTuple):
    """Why an offer was made to this agent: what was known when it was."""

    offer_id: OfferId
    at: float
    call_id: CallId
    agent_id: AgentId
    queue_id: QueueId
    asked_by: str
    """``call``: it found an idle agent, by the strategy; ``agent``: became free and took the first call in order."""
    strategy: Strategy
    requirement: Requirement | None
    """The requirement by which they found each other; None: the call waited for this agent alone."""
    place: Place
    idle_since: float
    load: float
    turn: int


def _no_others(queue_id: QueueId) -> Place | None:
    return None


def _nobody_listens(waiting: Waiting, is_open: bool) -> None:
    pass


class Matching:
    def __init__(self) -> None:
        self.agents: dict[AgentId, Agent] = {}
        self._lines: dict[QueueId, Line] = {}
        self._waiting: dict[CallId, Waiting] = {}
        self._serving: dict[CallId, tuple[AgentId, ...]] = {}
        """Agents of a call from the offer to the release: one, or two while the call is handed on."""
        self._choices: dict[OfferId, tuple[Any, ...]] = {}
        """The fields of ``Choice``, which is made when somebody asks."""
        self._pools = Pools()
        self.last_agents = LastAgents()
        self.kept_places = KeptPlaces()
        self._stamps = 0
        self._turns = 0
        self.on_call: Callable[[Waiting, bool], None] = _nobody_listens
        """Told of calls of shared lines: open for a router's proposals, or not any more."""
        self._shared_lines: tuple[Line, ...] = ()
        self.others_first: Callable[[QueueId], Place | None] = _no_others
        """The place of the first call of other POPs in a shared line, as last heard."""

    # --- open calls -------------------------------------------------------------------------------------------------

    def _indexes(self, waiting: Waiting) -> Iterable[SortedBlocks]:
        if waiting.preferred is None:
            return [] if waiting.line.shared else [pool.open for pool in waiting.pools]
        wanted = self.agents[waiting.preferred].wanted
        return [] if wanted is None else [wanted]

    def _open(self, waiting: Waiting) -> None:
        if waiting.line.shared and waiting.preferred is None:
            self.on_call(waiting, True)
        for index in self._indexes(waiting):
            index.add(waiting.place)

    def _close(self, waiting: Waiting) -> None:
        if waiting.line.shared and waiting.preferred is None:
            self.on_call(waiting, False)
        if waiting.preferred is None:
            for pool in waiting.pools:
                pool.open.discard(waiting.place)
        else:
            for index in self._indexes(waiting):
                index.discard(waiting.place)

    # --- the match --------------------------------------------------------------------------------------------------

    def _offer_to(self, agent: Agent, now: float, *, asked_router: bool = False) -> list[Decision]:
        """``agent`` can be offered a call: take the first one it can take, or wait in the heaps. Where a call of a
        shared line comes before it, the router has the first word; it hears that the agent is free. A while later
        (``asked_router``) the agent takes what this POP has."""
        if agent.profile is None:
            raise AssertionError("an agent that can be offered a call has a profile")
        best: Place | None = None
        found: Pool | None = None
        for pool in agent.profile.pools:
            first = pool.open.first
            if first is not None and (best is None or first < best):
                best, found = first, pool
        wanted = agent.wanted.first if agent.wanted is not None else None
        if wanted is not None and (best is None or wanted < best):
            best, found = wanted, None
        if best is not None and self._shared_lines and not asked_router and self._routed_first(agent, best):
            self._restamp(agent)
            return [cmd.SetTimer(f"{ASKED_ROUTER}{agent.agent_id}", ROUTER_S)]
        if best is not None:
            waiting = self._waiting[best[1]]
            self._close(waiting)
            return self._offer(waiting, agent, found, "agent", now)
        self._restamp(agent)
        self._pools.enter(agent)
        return []

    def _routed_first(self, agent: Agent, best: Place) -> bool:
        """Whether a call of a shared line that the agent can take comes before ``best``. Of other POPs' calls no more
        is known than the place of the first, so those count that ask no more than their queue does."""
        pools = () if agent.profile is None else agent.profile.pools
        for line in self._shared_lines:
            first = self.others_first(line.queue.queue_id)
            plain = line.plans.get(((), None))
            if first is not None and first < best and plain is not None and any(p in pools for p in plain.pools):
                return True
            for place in islice(line.all, _LOOKED_AT):
                if place >= best:
                    break
                waiting = self._waiting[place[1]]
                if waiting.offer_id is None and waiting.preferred is None and any(p in pools for p in waiting.pools):
                    return True
        return False

    def _restamp(self, agent: Agent) -> None:
        """Entries of the agent in the heaps are stale from now on."""
        self._stamps = agent.stamp = self._stamps + 1
        agent.in_heaps = False

    def _serve(self, waiting: Waiting, now: float) -> list[Decision]:
        """The call is not open: offer it to an idle agent, or open it. No other open call could have gone to that
        agent, or the agent would not be idle."""
        if waiting.preferred is not None:
            agent = self.agents[waiting.preferred]
            if agent.can_be_offered:
                return self._offer(waiting, agent, None, "call", now)
        elif not waiting.line.shared:
            strategy = waiting.line.queue.strategy
            for pool in waiting.pools:
                idle = pool.heaps[strategy].pop()
                if idle is not None:
                    return self._offer(waiting, idle, pool, "call", now)
        self._open(waiting)
        return []

    def _offer(self, waiting: Waiting, agent: Agent, pool: Pool | None, asked_by: str, now: float) -> list[Decision]:
        agent.step(_RESERVE)
        self._restamp(agent)
        agent.epoch = epoch = agent.epoch + 1
        call_id, agent_id, queue = waiting.call_id, agent.agent_id, waiting.line.queue
        offer_id = OfferId(derive(now, f"offer\0{agent_id}\0{epoch}\0{call_id}"))
        self._choices[offer_id] = (
            offer_id,
            now,
            call_id,
            agent_id,
            queue.queue_id,
            asked_by,
            queue.strategy,
            None if pool is None else pool.requirement,
            waiting.place,
            agent.idle_since,
            agent.load,
            agent.turn,
        )
        self._turns = agent.turn = self._turns + 1
        agent.offer_id = agent.chosen = waiting.offer_id = offer_id
        agent.call_id, agent.queue_id = call_id, queue.queue_id
        agent.wrap_up_s, agent.wrap_up_max_s = queue.wrap_up_s, queue.wrap_up_max_s
        agent.busy_since = now
        others = self._serving.get(call_id)
        self._serving[call_id] = (agent_id,) if others is None else (*others, agent_id)
        made = _offer_made(
            at=now,
            offer_id=offer_id,
            queue_id=queue.queue_id,
            agent_id=agent_id,
            phone_id=agent.phone_id,
            agent_country=agent.country,
            epoch=epoch,
            ring_timeout_s=queue.ring_timeout_s,
        )
        return [self._changed(agent, now), to_call(call_id, made)]

    def _freed(self, agent: Agent) -> None:
        """The agent has nothing to do with its call any more, and is IDLE or in WRAP_UP."""
        if agent.call_id is not None:
            rest = tuple(other for other in self._serving.get(agent.call_id, ()) if other != agent.agent_id)
            if rest:
                self._serving[agent.call_id] = rest
            else:
                self._serving.pop(agent.call_id, None)
        if agent.chosen is not None:
            self._choices.pop(agent.chosen, None)
        agent.call_id = agent.queue_id = agent.offer_id = agent.chosen = None

    def _changed(self, agent: Agent, now: float) -> Changed:
        self._pools.note(agent)
        status, state = _STATUS[agent.status], _STATE[agent.state]
        until = agent.wrap_up_until if agent.state is State.WRAP_UP else None
        return changed(
            _agent_changed(
                at=now, agent_id=agent.agent_id, status=status, reason=agent.reason, state=state, until=until
            )
        )

    # --- for tests ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert the invariants of ``acd``; for tests. Looks at everything."""
        for agent in self.agents.values():
            if (agent.offer_id is not None) != (agent.state in (State.RESERVED, State.RINGING)):
                raise AssertionError("an agent has an offer exactly in RESERVED and RINGING")
            if agent.noted is not agent.condition:
                raise AssertionError("an agent is counted under a former condition")
            if agent.profile is None or agent.profile.skills != agent.abilities:
                raise AssertionError("an agent is counted under former skills")
        for line in self._lines.values():
            places = list(line.all)
            if places != sorted(places):
                raise AssertionError("a line is out of order")
        idle = [agent for agent in self.agents.values() if agent.can_be_offered]
        met: dict[Pool, bool] = {}
        """By some idle agent."""
        for waiting in self._waiting.values():
            is_open = waiting.offer_id is None
            if waiting.place not in waiting.line.all:
                raise AssertionError("a waiting call is in its line")
            for index in self._indexes(waiting):
                if (waiting.place in index) != is_open:
                    raise AssertionError("a call is open exactly when nobody is offered it")
            if is_open and self._could_go(waiting, idle, met):
                raise AssertionError("a call waits although an agent could take it")
        offered = [w.offer_id for w in self._waiting.values() if w.offer_id is not None]
        held = {agent.offer_id for agent in self.agents.values()}
        if len(offered) != len(set(offered)) or not held.issuperset(offered):
            raise AssertionError("an offer belongs to one call and one agent")
        if sum(len(line.all) for line in self._lines.values()) != len(self._waiting):
            raise AssertionError("a call is in a line exactly when it is waiting")
        if any(a.status is Status.LOGGED_OUT and a.wanted for a in self.agents.values()):
            raise AssertionError("a call waits for an agent who is not logged in")

    @staticmethod
    def _could_go(waiting: Waiting, idle: list[Agent], met: dict[Pool, bool]) -> bool:
        """Whether to one of the idle agents."""
        if waiting.line.shared and waiting.preferred is None:
            return False  # it is the router's to say
        if waiting.preferred is not None:
            return any(waiting.preferred == agent.agent_id for agent in idle)
        for pool in waiting.pools:
            if pool not in met:
                met[pool] = any(a.profile is not None and a.profile.meets(pool.requirement) for a in idle)
        return any(met[pool] for pool in waiting.pools)
