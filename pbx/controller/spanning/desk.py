"""This POP's part in queues that span POPs: the home of its calls, the owner of its agents.

It tells the router what is open and free, takes or refuses what the router proposes, and notices when there is no
router any more: then its own ACD serves its callers with its agents until there is one again. Not at once: a router
that died has a successor as soon as its lease is over, and until then nobody is served past those who came before at
other POPs. A controller that has just started waits for the router's word in the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from pbx.controller.router import Router
from pbx.controller.spanning.counts import SpanningCounts
from pbx.controller.spanning.election import Election
from pbx.controller.spanning.moving import Moving
from pbx.controller.spanning.telling import Told, agent_told, call_told
from pbx.domain import events as ev
from pbx.domain.agent import Agent
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, PopId, QueueId, derive
from pbx.domain.queue import Queue
from pbx.domain.spanning.home import Home, Phase, not_here
from pbx.domain.spanning.messages import Attempt, CallIs, Propose
from pbx.domain.spanning.owner import accepts
from pbx.domain.waiting_line import Waiting
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.ports.mesh import Mesh
from pbx.wire import mesh as wire

log = logging.getLogger(__name__)

ALONE_S = 3.0
"""Without a word of the router for so long, this POP is alone: the lease of a router that died was over after
``LEASE_S``, and who stands for it asks every half a second."""
CUT_OFF_S = 2.0
"""The same without a connection to the bus: there is no lease to be had."""
STANDS_S = 1.25
"""Without a word of the router for so long, this POP asks for the lease; it has it when the former one is over."""
REFRESH_S = 2.0
"""How often the router is told everything again: what was lost is made up for."""
SERVING_S = 2.0
"""How often the other POPs are told which conversations this POP's agents have with their callers."""
LEG_SLACK_S = 3.0
"""The owner ends a ringing that nobody answers; its word may take so long."""


class SpanningDesk:
    """Implements ``MeshHandler``."""

    def __init__(
        self,
        pop_id: PopId,
        router: Router,
        mesh: Mesh,
        journal: Journal,
        clock: Clock,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        """``news`` is told when there is another router, or none any more."""
        self.counts = SpanningCounts()
        self.moving = Moving(pop_id, router, mesh, journal, clock, self.counts)
        self.pop_id, self._news = pop_id, news
        self._router, self._mesh, self._clock = router, mesh, clock
        self.queues: dict[QueueId, Queue] = {}
        """Those that span POPs, this one among them."""
        self._homes: dict[CallId, Home] = {}
        self._agents: dict[AgentId, Told] = {}
        self._calls_changed: set[CallId] = set()
        self._agents_changed: set[AgentId] = set()
        self._flushing = False
        self._term, self._heard_at = 0, 0.0
        self._router_pop: PopId | None = None
        self._alone, self._waits_from = False, 0.0
        self._media_server_up = False
        self._watch: asyncio.TimerHandle | None = None
        self._refreshed_at = 0.0
        self._before: Mapping[str, int] = {}
        self._first: Mapping[str, tuple[float, str]] = {}
        self._served_at = 0.0
        self.serving: Callable[[], Sequence[str] | None] = lambda: None
        """The offers by which agents of this POP are with callers of others; None: nobody knows."""
        self.served: Callable[[PopId, Collection[str]], None] = lambda owner, offers: None
        """Is told the same of another POP."""
        self.free: Callable[[PopId, AgentId], None] = lambda owner, agent_id: None
        """Is told of an agent of another POP who is about to be offered a call of this one."""
        self.election = Election(pop_id, mesh, clock, self._from_router, self.counts)
        router.acd.watch(self._on_call, self._on_agent)
        router.on_handled = self._touched
        router.calls_before = self._calls_before
        router.acd.others_first = self._others_first

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._waits_from = self._clock()
        self._mesh.listen(self)
        self._look()

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self.election.stop()

    def put_queue(self, queue: Queue) -> None:
        if self.pop_id in queue.pops and len(queue.pops) > 1:
            if not self.queues and self._router_pop is None:
                self._alone, self._waits_from = False, self._clock()
            self.queues[queue.queue_id] = queue
        elif self.queues.pop(queue.queue_id, None) is None:
            return
        self._queues_changed()

    def remove_queue(self, queue_id: QueueId) -> None:
        if self.queues.pop(queue_id, None) is not None:
            self._queues_changed()

    def _queues_changed(self) -> None:
        if not self.queues:
            self._agents.clear()
        elif not self._agents:
            for agent in self._router.acd.agents.values():
                self._on_agent(agent)
        self.election.set_queues(self.queues)
        self._share()

    def media_server(self, up: bool) -> None:
        """While it is not there nobody can be rung: calls of this POP would hold up those of others, and agents here
        be proposed in vain. When it is back they are open and free again, in their places."""
        if up is self._media_server_up:
            return
        self._media_server_up = up
        for queue_id in self.queues:
            for call_id in self._router.acd.waiting_calls(queue_id):
                self._touch(call_id)
        for agent in self._router.acd.agents.values():
            self._on_agent(agent)

    @property
    def router_pop(self) -> PopId | None:
        """Where the router is; None: this POP is alone, or waits for the first word of one."""
        return self._router_pop

    @property
    def term(self) -> int:
        """Of the router's lease, the last that was heard of; 0 before any."""
        return self._term

    @property
    def heard_s(self) -> float | None:
        """For how long nothing has been heard of the router; None before the first word."""
        return self._clock() - self._heard_at if self._term else None

    def _look(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(0.25, self._look)
        now = self._clock()
        silent_s = now - max(self._heard_at, self._waits_from)
        if self.queues and not self._alone and silent_s > (ALONE_S if self._mesh.connected else CUT_OFF_S):
            log.warning("no router of the queues that span POPs: POP %s serves its callers alone", self.pop_id)
            self._router_pop, self._alone = None, True
            self._share()
        self.moving.look()
        self.election.look(bool(self.queues), self._router_pop is not None and silent_s < STANDS_S)
        if self._router_pop is not None and now - self._refreshed_at > REFRESH_S:
            self._tell_all()
        if self.queues and now - self._served_at > SERVING_S and (offers := self.serving()) is not None:
            self._served_at = now
            self._mesh.send(None, wire.Serving(list(offers)))

    def _share(self) -> None:
        shared = () if self._alone else self.queues.keys()
        self._router.share(frozenset(shared))
        self._news()

    # --- what changes here ------------------------------------------------------------------------------------------

    def _on_call(self, waiting: Waiting, is_open: bool) -> None:
        self._touch(waiting.call_id)

    def _touched(self, call_id: CallId) -> None:
        if call_id in self._homes:
            self._touch(call_id)

    def _touch(self, call_id: CallId) -> None:
        self._calls_changed.add(call_id)
        self._soon()

    def _on_agent(self, agent: Agent) -> None:
        if not self.queues:
            return
        profile = agent.profile
        free = self._media_server_up and agent.can_be_offered and profile is not None
        told = self._agents.get(agent.agent_id)
        if told is None:
            # Higher than in any run before, and before no queue was shared: epochs of that time are stale.
            self._agents[agent.agent_id] = Told(round(self._clock() * 1000), free, agent.epoch, profile)
        elif (told.free, told.reserved) != (free, agent.epoch) or told.profile is not profile:
            told.epoch, told.free, told.reserved, told.profile = told.epoch + 1, free, agent.epoch, profile
        else:
            return
        self._agents_changed.add(agent.agent_id)
        self._soon()

    def _soon(self) -> None:
        """What the ACD is doing now is done first."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        calls, self._calls_changed = self._calls_changed, set()
        agents, self._agents_changed = self._agents_changed, set()
        told = [one for call_id in sorted(calls) if (one := self._moved(call_id)) is not None]
        if self._router_pop is not None and (told or agents):
            self._to_router(wire.Told(told, [self._agent_told(agent_id) for agent_id in sorted(agents)]))

    def _moved(self, call_id: CallId) -> wire.CallTold | None:
        """Take the call where the ACD has it, by the table of ``home``. What the router is to be told, if anything."""
        is_open, home = self._media_server_up and self._router.acd.is_open_for_router(call_id), self._homes.get(call_id)
        if home is None:
            if not is_open:
                return None
            # Higher than of any wait of this call before.
            home = Home(self.pop_id, call_id, number=round(self._clock() * 1000))
        elif is_open and home.phase is Phase.OFFERED:
            home, _ = home.over(home.attempt)
        elif is_open or (home.phase is Phase.OFFERED and self._router.acd.waits_in(call_id) is not None):
            return None
        else:
            home, _ = home.left()
        self._homes[call_id] = home
        if home.phase is Phase.GONE:
            del self._homes[call_id]
        return self._call_told(home.report())

    def _call_told(self, report: CallIs) -> wire.CallTold:
        return call_told(report, self._router.acd.waiting(report.call_id) if report.open else None)

    def _agent_told(self, agent_id: AgentId) -> wire.AgentTold:
        return agent_told(agent_id, self._agents[agent_id], self._router.agent(agent_id))

    def _tell_all(self) -> None:
        self._refreshed_at = self._clock()
        calls = [self._call_told(home.report()) for home in self._homes.values()]
        agents = [self._agent_told(agent_id) for agent_id in self._agents if self._router.agent(agent_id) is not None]
        self._to_router(wire.Told(calls, agents, all=True))

    def _to_router(self, told: wire.Told) -> None:
        if self._router_pop == self.pop_id:
            self.election.told(self.pop_id, told)
        else:
            self._mesh.send(self._router_pop, told)

    # --- MeshHandler ------------------------------------------------------------------------------------------------

    def mesh_message(self, sender: PopId, message: wire.MeshMessage) -> None:
        if self.moving.mesh_message(sender, message):
            return
        match message:
            case wire.Told():
                self.election.told(sender, message)
            case wire.Serving(offers=offers):
                self.served(sender, frozenset(offers))
            case _:
                self._from_router(sender, message)

    def _from_router(self, sender: PopId, message: wire.MeshMessage) -> None:
        match message:
            case wire.Router(term=term):
                self._router_is(sender, term)
            case wire.Proposed():
                self._proposed(sender, message)
            case wire.Positions(before=before, first=first):
                self._before, self._first = before, first
            case _:
                pass

    def _router_is(self, sender: PopId, term: int) -> None:
        if term < self._term and self._router_pop is not None:
            return  # a former one; but a bus that lost its disk begins to count anew
        new = term != self._term or self._router_pop is None
        self._term, self._heard_at = term, self._clock()
        if sender != self.pop_id:
            self.election.yields_to(term)
        if new and self.queues:
            self._router_pop, self._alone = sender, False
            log.info("the router of the queues that span POPs is at POP %s", sender)
            self._share()
            self._flush()
            self._tell_all()

    def _proposed(self, sender: PopId, told: wire.Proposed) -> None:
        call_id, agent_id, owner = CallId(told.call_id), AgentId(told.agent_id), PopId(told.owner)
        proposal = Propose(told.term, Attempt(call_id, told.number), agent_id, owner, told.epoch)
        self._flush()
        home = self._homes.get(call_id)
        if home is None:
            self.counts.answered["call_not_open"] += 1
            report = not_here(self.pop_id, proposal)
            self._to_router(wire.Told([wire.CallTold(call_id, report.number, open=False)], []))
            return
        after, _ = home.proposed(proposal, self._term)
        if after.phase is not Phase.OFFERED or home.phase is Phase.OFFERED:
            self.counts.answered["former_router" if proposal.term < self._term else "call_not_open"] += 1
            self._to_router(wire.Told([self._call_told(home.report())], []))
            return
        if owner == self.pop_id and not self.accepts(agent_id, told.epoch):
            self.counts.answered["agent_not_free"] += 1
            after, _ = after.over(after.attempt)
            self._homes[call_id] = after
            mine = [self._agent_told(agent_id)] if agent_id in self._agents else []
            self._to_router(wire.Told([self._call_told(after.report())], mine))
            return
        self._homes[call_id] = after
        self.counts.answered["taken"] += 1
        if owner == self.pop_id:
            self._router.take_here(call_id, agent_id)
        else:
            self.free(owner, agent_id)
            self._router.take_elsewhere(call_id, self._offer(after, told))
        self._to_router(wire.Told([self._call_told(after.report())], []))

    def _offer(self, home: Home, told: wire.Proposed) -> ev.OfferMade:
        now = self._clock()
        waiting = self._router.acd.waiting(home.call_id)
        if waiting is None:
            raise AssertionError("an open call waits")
        queue = waiting.line.queue
        return ev.OfferMade(
            at=now,
            offer_id=OfferId(derive(now, "offer", told.agent_id, told.epoch, home.call_id, home.number)),
            queue_id=queue.queue_id,
            agent_id=AgentId(told.agent_id),
            phone_id=PhoneId(""),
            agent_country=told.agent_country,
            epoch=told.epoch,
            ring_timeout_s=queue.ring_timeout_s + LEG_SLACK_S,
            pop_id=PopId(told.owner),
        )

    def accepts(self, agent_id: AgentId, offered_epoch: int) -> bool:
        """The owner's rule for an offer to an agent of this POP."""
        agent, told = self._router.agent(agent_id), self._agents.get(agent_id)
        if agent is None or told is None:
            return False
        ours = agent.reachable and not agent.removed
        return accepts(ours=ours, idle=agent.can_be_offered, epoch=told.epoch, offered_epoch=offered_epoch)

    def tell_agent(self, agent_id: AgentId) -> None:
        """The router took the agent for something else."""
        self.counts.offers_refused += 1
        if agent_id in self._agents and self._router_pop is not None:
            self._to_router(wire.Told([], [self._agent_told(agent_id)]))

    def _calls_before(self, call_id: CallId) -> int:
        return self._before.get(call_id, 0) if self._router_pop is not None else 0

    def _others_first(self, queue_id: QueueId) -> tuple[float, CallId] | None:
        place = self._first.get(queue_id) if self._router_pop is not None else None
        return None if place is None else (place[0], CallId(place[1]))
