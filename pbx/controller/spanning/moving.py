"""Agents whose phones may register at several POPs: at which of them they are, and how they get from one to the other.

``tenure`` decides, and this carries it out: tells the other POPs that have the agent, and lets the POP's own router see
the phone only while the agent is this POP's. So the router needs to know nothing of it: an agent who is elsewhere is
one whose phone is not here. Status, wrap-up and the time since when the agent is idle go along.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pbx.controller.router import Router
from pbx.controller.spanning.counts import SpanningCounts
from pbx.domain import events as ev
from pbx.domain.agent import State, Status
from pbx.domain.errors import JournalError
from pbx.domain.ids import AgentId, PhoneId, PopId
from pbx.domain.spanning.messages import Claim, Yielded
from pbx.domain.spanning.tenure import After, Tenure, may_be_presumed_gone
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.ports.mesh import Mesh
from pbx.wire import mesh as wire

log = logging.getLogger(__name__)

BEAT_S = 1.0
"""How often a POP says that it is there to the others that have agents of its; a claim is repeated as often."""
FULL_S = 5.0
"""How often it tells how all of these agents stand."""
SILENT_S = 3.0
"""A POP of which nothing is heard for so long is silent."""
LIFETIME_S = 660.0
"""The longest a registration lasts without being renewed, 600 s at either media server, and some more. One that is
older than the agent's leaving, and still there after so long, was renewed: the phone is at both POPs."""
_QUIET = (State.IDLE, State.WRAP_UP)


@dataclass(slots=True)
class Shared:
    """An agent whom several POPs have."""

    phone_id: PhoneId
    others: frozenset[PopId]
    tenure: Tenure
    home: bool
    """This POP is the agent's own."""
    here: bool = False
    """The phone is registered at this POP."""
    came_at: float = 0.0
    """When it registered, if that was seen."""
    old_until: float = 0.0
    """Until then the registration may be from before the phone went elsewhere."""
    claimed_at: float = 0.0
    held: dict[PopId, wire.AgentHeld] = field(default_factory=dict)
    """What each POP said last of an agent whom it had."""
    given: wire.AgentHeld | None = None
    """How the former owner let go of the agent, for the claim under way."""


class Moving:
    def __init__(
        self, pop_id: PopId, router: Router, mesh: Mesh, journal: Journal, clock: Clock, counts: SpanningCounts
    ) -> None:
        self.pop_id, self._counts = pop_id, counts
        self._router, self._mesh, self._journal, self._clock = router, mesh, journal, clock
        self._agents: dict[AgentId, Shared] = {}
        self._by_phone: dict[PhoneId, AgentId] = {}
        self._kept = {agent_id: (ours, number, claimant) for agent_id, ours, number, claimant in journal.tenures()}
        self._heard: dict[PopId, float] = {}
        self._began = clock()
        self._phones_seen = False
        """The media server has told which phones are here: before that, nobody is told that one is not."""
        self._beat_at = self._full_at = 0.0
        self._changed: set[AgentId] = set()
        self._flushing = False
        router.on_agent_changed = self._agent_changed

    # --- what is configured -----------------------------------------------------------------------------------------

    def put_agent(self, agent_id: AgentId, phone_id: PhoneId, pops: tuple[PopId, ...]) -> None:
        """``pops``: all that have the agent, its home first; fewer than two: the agent is this POP's alone."""
        shared = self._agents.get(agent_id)
        here = shared.here if shared is not None and shared.phone_id == phone_id else self._is_reachable(agent_id)
        if shared is not None:
            self._by_phone.pop(shared.phone_id, None)
        others = frozenset(pops) - {self.pop_id}
        if not others or self.pop_id not in pops:
            if self._agents.pop(agent_id, None) is not None:
                self._router.phone_reachable(phone_id, here)
            return
        if shared is None:
            ours, number, claimant = self._kept.get(agent_id, (pops[0] == self.pop_id, 0, PopId("")))
            shared = Shared(phone_id, others, Tenure(self.pop_id, agent_id, ours, number, claimant), False)
            self._agents[agent_id] = shared
        shared.phone_id, shared.others, shared.here = phone_id, others, here
        shared.home = pops[0] == self.pop_id
        self._by_phone[phone_id] = agent_id
        self._show(agent_id, shared)
        self._touch(agent_id)

    def remove_agent(self, agent_id: AgentId) -> None:
        shared = self._agents.pop(agent_id, None)
        if shared is not None:
            self._by_phone.pop(shared.phone_id, None)

    def _is_reachable(self, agent_id: AgentId) -> bool:
        agent = self._router.agent(agent_id)
        return agent is not None and agent.reachable

    def elsewhere(self, agent_id: AgentId) -> PopId | None:
        """Which POP has the agent, as far as is known; None: this one."""
        shared = self._agents.get(agent_id)
        if shared is None or shared.tenure.ours:
            return None
        owner = self._owner(shared)
        return owner or shared.tenure.claimant or min(shared.others)

    # --- phones -----------------------------------------------------------------------------------------------------

    def phone(self, phone_id: PhoneId, reachable: bool, *, came: bool) -> None:
        """``came``: it has registered just now, or has gone; else it is found so in a snapshot."""
        agent_id = self._by_phone.get(phone_id)
        if agent_id is None:
            self._router.phone_reachable(phone_id, reachable)
            return
        shared = self._agents[agent_id]
        changed, shared.here = shared.here is not reachable, reachable
        if changed:
            shared.old_until = 0.0 if came else self._clock() + LIFETIME_S
            shared.came_at = self._clock() if came and reachable else 0.0
        if came and reachable and changed:
            self._claim(agent_id, shared)
        self._show(agent_id, shared)
        if changed:
            self._touch(agent_id)

    def phones_seen(self) -> None:
        """What the media server knew of phones has been told."""
        if not self._phones_seen:
            self._phones_seen = True
            for agent_id in self._agents:
                self._touch(agent_id)

    def _claim(self, agent_id: AgentId, shared: Shared) -> None:
        was_ours = shared.tenure.ours
        shared.claimed_at, shared.given = self._clock(), None
        self._after(agent_id, shared, shared.tenure.registered(shared.others))
        if not was_ours:
            self._presume()

    def _show(self, agent_id: AgentId, shared: Shared) -> None:
        """The router sees the phone while this POP may offer the agent calls."""
        self._router.phone_reachable(shared.phone_id, shared.here and shared.tenure.serves)

    # --- what is decided --------------------------------------------------------------------------------------------

    def _after(self, agent_id: AgentId, shared: Shared, after: After) -> None:
        former, (tenure, messages) = shared.tenure, after
        if tenure != former:
            shared.tenure = tenure
            if (tenure.ours, tenure.number, tenure.claimant) != (former.ours, former.number, former.claimant):
                self._keep(tenure)
        # The router must not see the phone when the wrap-up ends here, or it would offer the agent a call.
        if not tenure.serves:
            self._show(agent_id, shared)
        held = self._held(agent_id, shared, ours=former.ours)
        if former.ours and not tenure.ours:
            log.info("an agent has gone to POP %s", tenure.claimant)
            self._counts.moves["went"] += 1
            shared.old_until = self._clock() + LIFETIME_S
            self._end_wrap_up(agent_id)
        elif tenure.ours and (not former.ours or (former.waits and not tenure.waits and shared.given is not None)):
            log.info("an agent has come to this POP")
            self._counts.moves["came"] += 1
            self._take_over(agent_id, shared)
        for message in messages:
            if isinstance(message, Claim):
                claimed = wire.Claimed(agent_id, message.number)
                for other in shared.others:
                    self._mesh.send(other, claimed)
            else:
                let_go = wire.LetGo(agent_id, message.number, held if former.ours else None)
                self._mesh.send(tenure.claimant, let_go)
        self._show(agent_id, shared)
        self._touch(agent_id)

    def _keep(self, tenure: Tenure) -> None:
        self._kept[tenure.agent_id] = (tenure.ours, tenure.number, tenure.claimant)
        try:
            self._journal.keep_tenure(tenure.agent_id, tenure.ours, tenure.number, tenure.claimant)
        except JournalError as error:
            log.error("ALARM where an agent is would not be known after a restart: %s", error)

    def _end_wrap_up(self, agent_id: AgentId) -> None:
        """The rest of it is done at the other POP."""
        agent = self._router.agent(agent_id)
        if agent is not None and agent.state is State.WRAP_UP:
            self._router.end_wrap_up(agent_id)

    def _take_over(self, agent_id: AgentId, shared: Shared) -> None:
        """As the former owner said when it let go; as it was last heard, if it is gone."""
        told = [held for held in shared.held.values() if held.number <= shared.tenure.number]
        last = shared.given or max(told, key=lambda held: held.number, default=None)
        agent = self._router.agent(agent_id)
        if last is None or agent is None or last.status not in Status.__members__:
            return
        now = self._clock()
        left_s = last.wrap_up_left_s if not last.busy else 0.0
        self._router.take_over(
            ev.AgentAdopted(
                at=now,
                agent_id=agent_id,
                status=last.status,
                reason=last.reason,
                state=(State.WRAP_UP if left_s > 0 else State.IDLE).value,
                was="",  # of this POP's journal: it says nothing
                since=now - last.since_s,
                until=now + left_s if left_s > 0 else None,
            )
        )

    def _held(self, agent_id: AgentId, shared: Shared, *, ours: bool) -> wire.AgentHeld | None:
        agent = self._router.agent(agent_id)
        if agent is None or not ours:
            return None
        now, wraps = self._clock(), agent.state is State.WRAP_UP
        return wire.AgentHeld(
            agent_id,
            shared.tenure.number,
            shared.tenure.claimant,
            shared.here,
            agent.state not in _QUIET,
            agent.status.value,
            agent.reason,
            max(0.0, now - (agent.wrap_up_since if wraps else agent.idle_since)),
            max(0.0, agent.wrap_up_until - now) if wraps else 0.0,
            max(0.0, now - max(shared.claimed_at, self._began)),
        )

    # --- what the others say ----------------------------------------------------------------------------------------

    def mesh_message(self, sender: PopId, message: wire.MeshMessage) -> bool:
        """Whether it was one of these."""
        match message:
            case wire.Held():
                self._heard[sender] = self._clock()
                self._told(sender, message)
            case wire.Claimed(agent_id=agent_id, number=number):
                self._heard[sender] = self._clock()
                self._claimed(Claim(sender, AgentId(agent_id), number))
            case wire.LetGo(agent_id=agent_id, number=number, held=held):
                self._heard[sender] = self._clock()
                self._let_go(Yielded(sender, AgentId(agent_id), number), held)
            case _:
                return False
        return True

    def _claimed(self, claim: Claim) -> None:
        shared = self._agents.get(claim.agent_id)
        if shared is None:  # not, or no more, an agent of this POP
            self._mesh.send(claim.pop_id, wire.LetGo(claim.agent_id, claim.number, None))
            return
        self._after(claim.agent_id, shared, shared.tenure.claimed(claim, busy=self._is_busy(claim.agent_id)))

    def _let_go(self, yielded: Yielded, held: wire.AgentHeld | None) -> None:
        shared = self._agents.get(yielded.agent_id)
        if shared is None or yielded.number != shared.tenure.number:
            return
        shared.given = held or shared.given
        self._after(yielded.agent_id, shared, shared.tenure.yielded(yielded))

    def _told(self, sender: PopId, message: wire.Held) -> None:
        """An owner whose claim is higher than what is known here has the agent, whatever was thought so far."""
        named = {one.agent_id for one in message.agents}
        for agent_id, shared in self._agents.items():
            if message.all and agent_id not in named:
                shared.held.pop(sender, None)
        for held in message.agents:
            agent_id = AgentId(held.agent_id)
            if (known := self._agents.get(agent_id)) is None or sender not in known.others:
                continue
            known.held[sender] = held
            if held.number > 0 and PopId(held.claimant) == sender and not known.tenure.waits:
                claim = Claim(sender, agent_id, held.number)
                if (held.number, held.claimant) != (known.tenure.number, known.tenure.claimant):
                    self._after(agent_id, known, known.tenure.claimed(claim, busy=self._is_busy(agent_id)))
                    if known.here and known.came_at > self._clock() - held.claimed_s:
                        self._claim(agent_id, known)  # it came here afterwards, before that was known

    def _is_busy(self, agent_id: AgentId) -> bool:
        agent = self._router.agent(agent_id)
        return agent is not None and agent.state not in _QUIET

    def _agent_changed(self, agent_id: AgentId) -> None:
        """Its status or state; called within what the router does."""
        if agent_id in self._agents:
            self._touch(agent_id)

    # --- from time to time ------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Called a few times a second."""
        now = self._clock()
        if not self._agents or now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        for agent_id, shared in self._agents.items():
            if shared.tenure.waits:
                for other in shared.tenure.missing:
                    self._mesh.send(other, wire.Claimed(agent_id, shared.tenure.number))
            elif shared.here and not shared.tenure.ours and self._is_nobodys(shared):
                self._claim(agent_id, shared)
        self._presume()
        whole = now - self._full_at >= FULL_S
        if whole:
            self._full_at = now
        self._say(self._agents if whole else (), whole=whole)

    def _silent(self, pop_id: PopId) -> bool:
        return self._clock() - self._heard.get(pop_id, self._began) > SILENT_S

    def _owner(self, shared: Shared) -> PopId | None:
        """Which of the others says that the agent is its, and is heard."""
        owners = (pop_id for pop_id in shared.held if pop_id in shared.others and not self._silent(pop_id))
        return max(owners, key=lambda pop_id: shared.held[pop_id].number, default=None)

    def _is_nobodys(self, shared: Shared) -> bool:
        """The phone is here, and at no POP that has the agent: the owner says so, or nobody is heard to be it. A phone
        that stays registered at both POPs goes home."""
        owner, now = self._owner(shared), self._clock()
        if owner is not None:
            return not shared.held[owner].here or (shared.home and now >= shared.old_until)
        everybody_told = now - self._began > FULL_S + SILENT_S
        silent = all(self._silent(pop_id) for pop_id in shared.others)
        return (silent or everybody_told) and now >= shared.old_until

    def _presume(self) -> None:
        """Those who do not answer a claim because they are gone."""
        for agent_id, shared in self._agents.items():
            if not shared.tenure.waits:
                continue
            gone = [
                pop_id
                for pop_id in shared.tenure.missing
                if self._silent(pop_id)
                and may_be_presumed_gone(
                    claimed_at=shared.claimed_at,
                    heard_at=self._heard.get(pop_id, self._began),
                    was_busy=pop_id in shared.held and shared.held[pop_id].busy,
                )
            ]
            if gone:
                self._counts.moves["presumed"] += 1
                log.warning("an agent is taken from POP %s, of which nothing is heard", ", ".join(gone))
                self._after(agent_id, shared, shared.tenure.let_go(gone))

    def _touch(self, agent_id: AgentId) -> None:
        self._changed.add(agent_id)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """What the router was doing is done. An agent whose call is over goes to whoever waits for it."""
        self._flushing = False
        changed, self._changed = self._changed, set()
        for agent_id in changed:
            shared = self._agents.get(agent_id)
            if shared is not None and shared.tenure.wanted is not None and not self._is_busy(agent_id):
                self._after(agent_id, shared, shared.tenure.freed())
        self._say(changed & self._agents.keys(), whole=False)

    def _say(self, agents: Iterable[AgentId], *, whole: bool) -> None:
        """To each other POP how these agents stand, of those that it has too and that are this POP's. A controller that
        has not seen its media server yet says that it is there, and no more: of a phone that is said not to be here
        another POP that has an old registration of it takes the agent."""
        told: dict[PopId, list[wire.AgentHeld]] = defaultdict(list)
        whole = whole and self._phones_seen
        for agent_id in agents if self._phones_seen else ():
            shared = self._agents[agent_id]
            held = self._held(agent_id, shared, ours=shared.tenure.ours)
            if held is not None:
                for other in shared.others:
                    told[other].append(held)
        everybody = {other for shared in self._agents.values() for other in shared.others}
        for other in sorted(everybody if whole or not told else told.keys()):
            self._mesh.send(other, wire.Held(told.get(other, []), whole))
