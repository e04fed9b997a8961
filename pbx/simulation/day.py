"""One day of a contact centre around the real ACD, in virtual time: callers of many queues, agents with shifts.

Like ``simulator`` it makes only people up; every decision is the product's own. Agents answer at once. The day ends
when the last caller and the last agent are gone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Agent, State, Status
from pbx.domain.ids import AgentId, CallId, PhoneId
from pbx.domain.queue import Queue
from pbx.simulation.centre import BREAK_S, SLOT_S, Centre, arrivals
from pbx.simulation.simulator import START

THRESHOLD_S = 20.0
GIVE_UP, HANG_UP, TIMER, SHIFT, LOOK = range(5)


@dataclass(slots=True)
class Tally:
    """Sums over callers of one queue, or of one quarter of an hour."""

    calls: int = 0
    answered: int = 0
    within: int = 0
    """Answered within THRESHOLD_S."""
    abandoned: int = 0
    wait_s: float = 0.0
    """Of those who were answered."""
    handling_s: float = 0.0
    """Talk and wrap-up; by queue, for its calls."""
    busy_s: float = 0.0
    """Likewise, for agents hired for it."""
    staffed_s: float = 0.0
    """Available time of agents hired for it, and what calls kept them longer."""

    @property
    def service_level(self) -> float:
        return self.within / self.calls if self.calls else 1.0

    @property
    def asa_s(self) -> float:
        return self.wait_s / self.answered if self.answered else 0.0

    @property
    def abandon_share(self) -> float:
        return self.abandoned / self.calls if self.calls else 0.0

    @property
    def occupancy(self) -> float:
        return self.busy_s / self.staffed_s if self.staffed_s else 0.0


@dataclass(slots=True)
class Report:
    queues: dict[str, Tally]
    slots: list[Tally]
    staffed: list[int]
    """Agents available or on a call at the beginning of each slot."""
    agents: int
    ended_s: float = 0.0
    choices: int = field(default=0)
    """Offers made."""

    @property
    def calls(self) -> int:
        return sum(tally.calls for tally in self.queues.values())


class Day:
    def __init__(self, centre: Centre, seed: int) -> None:
        self.centre = centre
        self.now = START
        self.acd = Acd()
        self.report = Report({one.queue_id: Tally() for one in centre.services}, [], [], len(centre.workers))
        self._tallies = [self.report.queues[one.queue_id] for one in centre.services]
        self._seed = seed
        self._chance = random.Random(f"{seed}:people")  # noqa: S311
        self._agenda: list[tuple[float, int, int, str]] = []
        """When, the order of setting, what, of which call, agent or timer."""
        self._set = 0
        self._timers: dict[str, int] = {}
        """Timer -> its number on the agenda; another number there is a cancelled one."""
        self.waiting: dict[CallId, tuple[float, int]] = {}
        """Since when, number of the queue."""
        self._talking: dict[CallId, AgentId] = {}
        self._busy: dict[AgentId, tuple[float, int]] = {}
        """Since when, number of the call's queue."""
        self._home = {worker.agent_id: worker.home for worker in centre.workers}
        self._since: dict[AgentId, float] = {}
        """Agents who are available, or will leave after their call."""
        self._leaving: set[AgentId] = set()
        self._slots = self.report.slots
        self._talk = [_log_normal(one.talk_s, one.spread) for one in centre.services]

    def run(self, progress: Callable[[int], None] = lambda _: None) -> Report:
        self._hire()
        shares = [one.share for one in self.centre.services]
        numbers = range(len(shares))
        incoming = arrivals(self.centre.calls, self._seed)
        queues = random.Random(f"{self._seed}:queue").choices(numbers, shares, k=len(incoming))  # noqa: S311
        every = max(1, len(incoming) // 200)
        for number, (at_s, queue) in enumerate(zip(incoming, queues, strict=True)):
            at = START + at_s
            self._until(at)
            self.now = at
            while len(self._slots) * SLOT_S <= at_s:
                self._slots.append(Tally())
                self.report.staffed.append(len(self._since))
            self._arrive(number, queue)
            if number % every == 0:
                progress(number)
        self._until(math.inf)
        self.report.ended_s = self.now - START
        progress(len(incoming))
        return self.report

    def _hire(self) -> None:
        for service in self.centre.services:
            queue = Queue(
                queue_id=service.queue_id,
                requirement=frozenset({(service.skill, 1)}),
                wrap_up_s=service.wrap_up_s,
                max_waiting=1_000_000,
            )
            self.carry_out(self.acd.put_queue(queue, self.now))
        for worker in self.centre.workers:
            phone_id = PhoneId(worker.agent_id)
            self.carry_out(self.acd.put_agent(worker.agent_id, phone_id, dict(worker.skills), None, self.now))
            self.carry_out(self.acd.phone_reachable(phone_id, True, self.now))
            self.later(worker.start_s, SHIFT, f"start:{worker.agent_id}")
            if worker.break_s is not None:
                self.later(worker.break_s, SHIFT, f"break:{worker.agent_id}")
                self.later(worker.break_s + BREAK_S, SHIFT, f"start:{worker.agent_id}")
            self.later(worker.end_s, SHIFT, f"end:{worker.agent_id}")

    def later(self, delay_s: float, what: int, which: str) -> int:
        self._set = number = self._set + 1
        heappush(self._agenda, (self.now + delay_s, number, what, which))
        return number

    def _until(self, end: float) -> None:
        agenda = self._agenda
        while agenda and agenda[0][0] <= end:
            self.now, number, what, which = heappop(agenda)
            if what == TIMER:
                if self._timers.get(which) == number:
                    del self._timers[which]
                    decisions = self.acd.timer(which, self.now)
                    if which.startswith("wrap_up:"):
                        self._idle(AgentId(which[8:]))
                    self.carry_out(decisions)
            elif what == HANG_UP:
                self._hang_up(CallId(which))
            elif what == GIVE_UP:
                self._give_up(CallId(which))
            elif what == SHIFT:
                self._shift(which)
            else:
                self.look(CallId(which))

    # --- callers ----------------------------------------------------------------------------------------------------

    def _arrive(self, number: int, queue: int) -> None:
        now, service, call_id = self.now, self.centre.services[queue], CallId(str(number))
        self._tallies[queue].calls += 1
        self._slots[-1].calls += 1
        self.waiting[call_id] = (now, queue)
        self.carry_out(self.acd.handle(call_id, cmd.JoinQueue(service.queue_id, now), now))
        if call_id in self.waiting:
            self.later(self.patience_s(number, service.patience_s), GIVE_UP, call_id)
            self.joined(call_id)

    def patience_s(self, number: int, mean_s: float) -> float:
        return self._chance.expovariate(1.0 / mean_s)

    def joined(self, call_id: CallId) -> None:
        """A call waits: for those who look on."""

    def look(self, call_id: CallId) -> None:
        """The time that somebody set with LOOK has come."""

    def answered(self, call_id: CallId, queue: int, waited_s: float) -> None:
        """For those who look on."""

    def _give_up(self, call_id: CallId) -> None:
        entered = self.waiting.pop(call_id, None)
        if entered is not None:
            since, queue = entered
            self._tallies[queue].abandoned += 1
            self._slots[min(int((since - START) // SLOT_S), len(self._slots) - 1)].abandoned += 1
            leave = cmd.LeaveQueue(self.centre.services[queue].queue_id)
            self.carry_out(self.acd.handle(call_id, leave, self.now))

    def _hang_up(self, call_id: CallId) -> None:
        agent_id = self._talking.pop(call_id)
        decisions = self.acd.handle(call_id, cmd.ReleaseAgent(agent_id), self.now)
        if self.acd.agents[agent_id].state is not State.WRAP_UP:
            self._idle(agent_id)
        self.carry_out(decisions)

    def _answer(self, call_id: CallId, offer: ev.OfferMade) -> None:
        since, queue = self.waiting.pop(call_id)
        now, agent_id = self.now, offer.agent_id
        waited_s = now - since
        tally, slot = self._tallies[queue], self._slots[min(int((since - START) // SLOT_S), len(self._slots) - 1)]
        tally.answered += 1
        slot.answered += 1
        tally.wait_s += waited_s
        slot.wait_s += waited_s
        if waited_s <= THRESHOLD_S:
            tally.within += 1
            slot.within += 1
        self.report.choices += 1
        answer = cmd.EndOffer(offer.offer_id, agent_id, ev.OfferOutcome.ANSWERED)
        self.carry_out(self.acd.handle(call_id, answer, now))
        self._talking[call_id] = agent_id
        self._busy[agent_id] = (now, queue)
        mu, sigma = self._talk[queue]
        self.later(self._chance.lognormvariate(mu, sigma), HANG_UP, call_id)
        self.answered(call_id, queue, waited_s)

    # --- agents -----------------------------------------------------------------------------------------------------

    def _idle(self, agent_id: AgentId) -> None:
        """Wrap-up is over. Called before what follows from it is carried out."""
        since, queue = self._busy.pop(agent_id)
        busy_s = self.now - since
        self._tallies[queue].handling_s += busy_s
        self._tallies[self._home[agent_id]].busy_s += busy_s
        if agent_id in self._leaving:
            self._leaving.discard(agent_id)
            self._gone(agent_id)

    def _gone(self, agent_id: AgentId) -> None:
        self._tallies[self._home[agent_id]].staffed_s += self.now - self._since.pop(agent_id)

    def _shift(self, which: str) -> None:
        what, _, name = which.partition(":")
        agent_id = AgentId(name)
        if what == "start":
            self._leaving.discard(agent_id)
            self._since.setdefault(agent_id, self.now)
            decisions = self.acd.set_status(agent_id, Status.AVAILABLE, None, self.now)
        else:
            status, reason = (Status.NOT_READY, "LUNCH") if what == "break" else (Status.LOGGED_OUT, None)
            if agent_id in self._since:
                if agent_id in self._busy:
                    self._leaving.add(agent_id)
                else:
                    self._gone(agent_id)
            decisions = self.acd.set_status(agent_id, status, reason, self.now)
        self.carry_out(decisions)

    def agent(self, agent_id: AgentId) -> Agent:
        return self.acd.agents[agent_id]

    # --- the router's part ------------------------------------------------------------------------------------------

    def carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            kind = type(decision)
            if kind is ToCall:
                event = decision.event  # type: ignore[union-attr]
                if type(event) is ev.OfferMade:
                    self._answer(decision.call_id, event)  # type: ignore[union-attr]
                elif type(event) in (ev.QueueRefused, ev.WaitEnded, ev.OfferWithdrawn):
                    raise AssertionError(f"nothing here asks for {event}")
            elif kind is cmd.SetTimer:
                timer = decision.timer  # type: ignore[union-attr]
                self._timers[timer] = self.later(decision.delay_s, TIMER, timer)  # type: ignore[union-attr]
            elif kind is cmd.CancelTimer:
                self._timers.pop(decision.timer, None)  # type: ignore[union-attr]


def _log_normal(mean: float, spread: float) -> tuple[float, float]:
    """Parameters of the log-normal distribution with this mean and standard deviation over mean."""
    square = math.log(1 + spread * spread)
    return math.log(mean) - square / 2, math.sqrt(square)
