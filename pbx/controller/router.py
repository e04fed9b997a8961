"""This POP's queues: the ACD with its timers and its journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from pbx.controller import reconciler
from pbx.controller.expected import Expected
from pbx.controller.timers import Timers
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Changed, Decision, Remembered, ToCall
from pbx.domain.agent import Agent, State, Status
from pbx.domain.events import Event
from pbx.domain.explain import Reason, Waits, Why
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, QueueId
from pbx.domain.kept_places import LONGEST_S, KeptPlaces
from pbx.domain.last_agent import LastAgents
from pbx.domain.matching import ASKED_ROUTER, Choice
from pbx.domain.queue import Queue
from pbx.domain.timetable import Hours
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock


def _nobody_listens(call_id: CallId) -> None:
    pass


def _no_agents(agent_id: AgentId) -> None:
    pass


def _nobody(call_id: CallId) -> int:
    return 0


class Router:
    """Carries out what the ACD decides, at once and in order.

    What the ACD is told goes to the journal too, in order: the calls' own events say what calls ask, agents' changes
    what agents do, and the rest (a phone that comes or goes, a step that is due, a caller who leaves,
    a callback that waits) is noted here
    before it is done. ``callplane replay`` reads it all again.

    An agent's change is handed to the journal before the offer reaches the call, and the call's actor waits for the
    journal, which keeps the order, before it rings the phone: the change is on disk no later than the offer.
    """

    def __init__(self, journal: Journal, clock: Clock, to_call: Callable[[CallId, Event], None]) -> None:
        self.acd = Acd()
        self.acd.last_agents = LastAgents(journal.secret(), journal.remembered())
        self.acd.kept_places = KeptPlaces(journal.kept_places(clock() - LONGEST_S))
        self._journal = journal
        self._clock = clock
        self._to_call = to_call
        self._timers = Timers(self._timer)
        self._remembered = {AgentId(event.agent_id): event for event in journal.agents()}
        """The agents of the last run. ``take_up`` takes those who are configured by then; what the others had chosen is
        taken up when their configuration arrives."""
        self._waits_for_take_up = True
        self._acted_at = 0.0
        self._lent: set[OfferId] = set()
        """Offers under way whose call and agent are of different POPs."""
        self.on_handled: Callable[[CallId], None] = _nobody_listens
        """Told of each command of a call, when it has been carried out."""
        self.on_agent_changed: Callable[[AgentId], None] = _no_agents
        """Told of each change of an agent's status or state; called within what the router does."""
        self.calls_before: Callable[[CallId], int] = _nobody
        """Callers of other POPs before this one, in a queue that spans POPs."""

    def _now(self) -> float:
        """The time of what the ACD is told next."""
        self._acted_at = self._clock()
        return self._acted_at

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=ev.PositionTold() as told):
                    self._to_call(call_id, replace(told, position=told.position + self.calls_before(call_id)))
                case ToCall(call_id=call_id, event=event):
                    self._to_call(call_id, event)
                case Changed(event=event):
                    self._journal.note(None, (event,))
                    self.on_agent_changed(event.agent_id)
                case Remembered():
                    self._journal.remember(decision)
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    if timer.startswith(ASKED_ROUTER):
                        agent_id = AgentId(timer.removeprefix(ASKED_ROUTER))
                        self._journal.note(None, (ev.RouterAwaited(at=self._acted_at, agent_id=agent_id),))
                    self._timers.set(timer, delay_s)
                case cmd.CancelTimer(timer=timer):
                    self._timers.cancel(timer)

    def forget(self, callers: Collection[str]) -> None:
        """Nobody served these numbers last, and no place is kept for them."""
        self.acd.kept_places.forget(callers)
        queues = [queue.queue_id for queue in self.acd.queues()]
        self._carry_out(self.acd.last_agents.forget(queues, callers, self._now()))

    def _timer(self, name: str) -> None:
        now = self._now()
        if not name.startswith("wrap_up:"):  # the agent's change says that
            self._journal.note(None, (ev.TimerFired(at=now, timer=name),))
        self._carry_out(self.acd.timer(name, now))

    def handle(self, call_id: CallId, command: cmd.RouterCommand) -> None:
        now = self._now()
        if isinstance(command, cmd.LeaveQueue):
            self._left(call_id, now)
        elif isinstance(command, cmd.EndOffer):
            self._offer_ended(call_id, command, now)
        self._carry_out(self.acd.handle(call_id, command, now))
        self.on_handled(call_id)

    # --- queues that span POPs --------------------------------------------------------------------------------------

    def share(self, queue_ids: frozenset[QueueId]) -> None:
        """A router serves these queues from now on; no others."""
        now = self._now()
        if self.acd.differs(queue_ids):
            self._journal.note(None, (ev.QueuesShared(at=now, queue_ids=tuple(sorted(queue_ids))),))
        self._carry_out(self.acd.share(queue_ids, now))

    def take_here(self, call_id: CallId, agent_id: AgentId) -> None:
        """Its proposal for an agent of this POP."""
        now = self._now()
        self._journal.note(None, (ev.ProposalTaken(at=now, call_id=call_id, agent_id=agent_id, offer_id=None),))
        self._carry_out(self.acd.take_here(call_id, agent_id, now))

    def take_elsewhere(self, call_id: CallId, offer: ev.OfferMade) -> None:
        """Its proposal for an agent of another POP."""
        agent_id, offer_id = offer.agent_id, offer.offer_id
        taken = ev.ProposalTaken(at=offer.at, call_id=call_id, agent_id=agent_id, offer_id=offer_id)
        self._journal.note(None, (taken,))
        self._lent.add(offer_id)
        self._carry_out(self.acd.take_elsewhere(call_id, offer))

    def reserve(self, guest: ev.GuestOffered) -> Agent:
        """An agent of this POP for another POP's caller; the offer has been accepted."""
        lent = self._lend(guest)
        self._carry_out(self.acd.reserve(lent, lent.at))
        return self.acd.agents[guest.agent_id]

    def adopt_guest(self, guest: ev.GuestOffered) -> bool:
        """The agent talks to another POP's caller since before this run; whether that can be."""
        lent = self._lend(guest, talking=True)
        adopted = self.acd.adopt_guest(lent, lent.at)
        self._carry_out(adopted)
        return bool(adopted)

    def _lend(self, guest: ev.GuestOffered, *, talking: bool = False) -> ev.AgentLent:
        lent = ev.AgentLent(
            at=self._now(),
            agent_id=guest.agent_id,
            call_id=guest.call_id,
            offer_id=guest.offer_id,
            queue_id=guest.queue_id,
            talking=talking,
        )
        self._journal.note(None, (lent,))
        if not talking:
            self._lent.add(guest.offer_id)
        return lent

    def _offer_ended(self, call_id: CallId, ended: cmd.EndOffer, now: float) -> None:
        """No call's events of this POP say it, or say it in this order."""
        if ended.offer_id not in self._lent:
            return
        self._lent.discard(ended.offer_id)
        offer_id, agent_id, outcome = ended.offer_id, ended.agent_id, ended.outcome.value
        found = ev.LentOfferEnded(at=now, call_id=call_id, agent_id=agent_id, offer_id=offer_id, outcome=outcome)
        self._journal.note(None, (found,))

    def take_over(self, agent: ev.AgentAdopted) -> None:
        """An agent comes from another POP, IDLE or in wrap-up; the phone has not been seen here yet. One who is not
        IDLE here does something of this POP's and goes on with it: only the status counts then."""
        there = self.acd.agents[agent.agent_id]
        if there.state is State.IDLE:
            here = replace(agent, epoch=there.epoch)
            self._journal.note(None, (here,))
            self._carry_out(self.acd.adopt_agent(here, self._now()))
        else:
            self.set_status(agent.agent_id, Status(agent.status), agent.reason)

    def take_up(self, calls: Mapping[CallId, Expected]) -> None:
        """Agents and waiting calls of the last run. The configuration is in force, nothing else has been told."""
        self._waits_for_take_up = False
        now = self._now()
        known = [self._remembered.pop(agent_id) for agent_id in list(self._remembered) if agent_id in self.acd.agents]
        for agent in reconciler.adopt_agents(known, calls, now):
            self._journal.note(None, (agent,))
            self._carry_out(self.acd.adopt_agent(agent, now))
        for call_id, expected in calls.items():
            wait = reconciler.adopt_wait(call_id, expected, now)
            if wait is not None:
                self._journal.note(None, (wait,))
                caller = None if expected.wait is None else expected.wait.caller
                self._carry_out(self.acd.adopt_wait(wait, caller, now))

    def queue_callback(self, call_id: CallId, join: cmd.JoinQueue) -> None:
        """A callback waits like a call, but no call's events say so."""
        now = self._now()
        asked = join.asked(join.preferred, join.preferred_s)
        self._journal.note(None, (ev.CallbackQueued(at=now, call_id=call_id, asked=asked),))
        self._carry_out(self.acd.handle(call_id, join, now))

    def _left(self, call_id: CallId, now: float) -> None:
        queue_id = self.acd.waits_in(call_id)
        if queue_id is not None:
            self._journal.note(None, (ev.QueueLeft(at=now, call_id=call_id, queue_id=queue_id),))

    def drop_call(self, call_id: CallId) -> None:
        """The call is no more, whatever it was doing: its place and its agent are free."""
        now = self._now()
        self._left(call_id, now)
        self._carry_out(self.acd.drop_call(call_id, now))

    def put_queue(self, queue: Queue) -> None:
        self._carry_out(self.acd.put_queue(queue, self._now()))

    def remove_queue(self, queue_id: QueueId) -> None:
        self._carry_out(self.acd.remove_queue(queue_id, self._now()))

    def put_agent(
        self,
        agent_id: AgentId,
        phone_id: PhoneId,
        skills: dict[str, int],
        country: str | None,
        *,
        cost: float = 0.0,
        weight: float = 1.0,
        shifts: Hours | None = None,
        site: str | None = None,
    ) -> None:
        now = self._now()
        put = self.acd.put_agent(
            agent_id, phone_id, skills, country, now, cost=cost, weight=weight, shifts=shifts, site=site
        )
        self._carry_out(put)
        if self._waits_for_take_up:
            return
        known = self._remembered.pop(agent_id, None)
        if known is not None:
            self.set_status(agent_id, Status(known.status), known.reason)

    def remove_agent(self, agent_id: AgentId) -> None:
        self._carry_out(self.acd.remove_agent(agent_id, self._now()))

    def set_status(self, agent_id: AgentId, status: Status, reason: str | None) -> None:
        """Raises KeyError for an agent this POP does not have."""
        self._carry_out(self.acd.set_status(agent_id, status, reason, self._now()))

    def end_wrap_up(self, agent_id: AgentId) -> None:
        """Raises KeyError, and IllegalTransition for an agent who is not in wrap-up."""
        self._carry_out(self.acd.end_wrap_up(agent_id, self._now()))

    def extend_wrap_up(self, agent_id: AgentId, by_s: float) -> None:
        """Raises like ``end_wrap_up``."""
        self._carry_out(self.acd.extend_wrap_up(agent_id, by_s, self._now()))

    def longest_waits(self, queue_id: QueueId | None, most: int) -> list[Waits]:
        """How this POP's calls stand that have waited longest, in one queue or in all, at most ``most``; in a queue
        that spans POPs the callers of the others count."""
        now = self._now()
        waits = [self.acd.waits(call_id, now) for call_id in self.acd.longest_waits(queue_id, most)]
        return [replace(one, position=one.position + self.calls_before(one.call_id)) for one in waits]

    def why_waiting(self, call_id: CallId) -> Why:
        """Raises KeyError for a call that does not wait."""
        return self.acd.why_waiting(call_id, self._now())

    def why_not(self, call_id: CallId, agent_id: AgentId) -> tuple[Reason, ...]:
        """Raises KeyError for a call that does not wait and for an agent who is not known."""
        return self.acd.why_not(call_id, agent_id)

    def why_these_agents(self, call_id: CallId) -> list[Choice]:
        return self.acd.why_these_agents(call_id)

    def phone_reachable(self, phone_id: PhoneId, reachable: bool) -> None:
        agent, now = self.agent(self.agent_of(phone_id) or AgentId("")), self._now()
        if agent is not None and agent.reachable is not reachable:
            self._journal.note(None, (ev.PhoneReachable(at=now, phone_id=phone_id, reachable=reachable),))
        self._carry_out(self.acd.phone_reachable(phone_id, reachable, now))

    def agent_of(self, phone_id: PhoneId) -> AgentId | None:
        return self.acd.agent_of(phone_id)

    def why_not_engaged(self, agent_id: AgentId) -> str | None:
        """Why this agent cannot be kept for a call that nobody offers; None: can be."""
        return self.acd.why_not_engaged(agent_id, from_wrap_up=True)

    def agent(self, agent_id: AgentId) -> Agent | None:
        return self.acd.agents.get(agent_id)

    def stop(self) -> None:
        self._timers.cancel_all()
