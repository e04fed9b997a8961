"""A discrete event simulation of callers and agents around the real ACD, in virtual time.

The ACD is the product's own: it gets the same commands and timers as from the router. Only people are made up: when
they call, how long they talk, when they lose patience. The same seed gives the same run.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision, ToCall
from pbx.domain.agent import Status
from pbx.domain.ids import AgentId, CallId, PhoneId, QueueId
from pbx.domain.queue import Queue

START = 1_000_000.0
"""Seconds since the epoch at which every run begins."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One queue. Times are means of exponential distributions."""

    agents: int
    arrival_rate: float
    handling_s: float
    patience_s: float | None = None
    """None: nobody gives up."""
    threshold_s: float = 20.0
    calls: int = 100_000
    warm_up: float = 0.05
    """This share of the calls comes first and is not counted."""
    queue: Queue = field(
        default_factory=lambda: Queue(
            queue_id=QueueId("q"), requirement=frozenset({("x", 1)}), wrap_up_s=0.0, max_waiting=1_000_000
        )
    )
    """Wrap-up is part of the handling time."""


@dataclass(slots=True)
class Result:
    """Sums over the counted calls, and what chance really drew in them."""

    calls: int = 0
    waited: int = 0
    wait_s: float = 0.0
    within: int = 0
    abandoned: int = 0
    refused: int = 0
    elapsed_s: float = 0.0
    handled: int = 0
    handling_s: float = 0.0
    patience_draws: int = 0
    patience_s: float = 0.0

    @property
    def arrival_rate(self) -> float:
        return self.calls / self.elapsed_s

    @property
    def mean_handling_s(self) -> float:
        return self.handling_s / self.handled

    @property
    def mean_patience_s(self) -> float:
        return self.patience_s / self.patience_draws

    def __add__(self, other: Result) -> Result:
        return Result(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class Simulator:
    def __init__(self, scenario: Scenario, seed: int, mirrored: bool = False) -> None:
        """``mirrored``: every chance is turned round (1 - u for u), so that a run and its mirror err to opposite
        sides and their mean is nearer to the truth than that of two runs (antithetic variates)."""
        self.scenario = scenario
        self.now = START
        self.result = Result()
        self._mirrored = mirrored
        self._chances = {what: random.Random(f"{seed}:{what}") for what in ("arrive", "handling", "patience")}  # noqa: S311
        self._acd = Acd()
        self._agenda: list[tuple[float, int, str, str]] = []
        """When, the order of setting, what, of which call or timer."""
        self._set = 0
        self._timers: dict[str, int] = {}
        """Timer -> its number on the agenda; another number there is a cancelled one."""
        self._entered: dict[CallId, float] = {}
        """Waiting calls."""
        self._handling: dict[CallId, float] = {}
        self._talking: dict[CallId, AgentId] = {}
        self._first = int(scenario.calls * scenario.warm_up)
        self._number = 0
        self._counted_from = START

    def run(self) -> Result:
        self._carry_out(self._acd.put_queue(self.scenario.queue, self.now))
        skills = dict(self.scenario.queue.requirement)
        for number in range(self.scenario.agents):
            agent_id, phone_id = AgentId(f"a{number}"), PhoneId(f"a{number}")
            self._carry_out(self._acd.put_agent(agent_id, phone_id, skills, None, self.now))
            self._carry_out(self._acd.phone_reachable(phone_id, True, self.now))
            self._carry_out(self._acd.set_status(agent_id, Status.AVAILABLE, None, self.now))
        self._later(self._draw("arrive", 1 / self.scenario.arrival_rate), "arrive", "")
        while self._agenda:
            self.now, number, what, which = heapq.heappop(self._agenda)
            match what:
                case "arrive":
                    self._arrive()
                case "give_up":
                    self._give_up(CallId(which))
                case "hang_up":
                    self._hang_up(CallId(which))
                case _:
                    if self._timers.get(which) == number:
                        del self._timers[which]
                        self._carry_out(self._acd.timer(which, self.now))
        return self.result

    def _draw(self, what: str, mean: float) -> float:
        u = self._chances[what].random()
        return -mean * math.log(u or 1e-300 if self._mirrored else 1.0 - u)

    def _later(self, delay_s: float, what: str, which: str) -> int:
        self._set += 1
        heapq.heappush(self._agenda, (self.now + delay_s, self._set, what, which))
        return self._set

    def _counts(self, call_id: CallId) -> bool:
        return int(call_id) >= self._first

    def _arrive(self) -> None:
        scenario = self.scenario
        call_id = CallId(str(self._number))
        if self._number == self._first:
            self._counted_from = self.now
        self._number += 1
        self._handling[call_id] = self._draw("handling", scenario.handling_s)
        patience_s = None if scenario.patience_s is None else self._draw("patience", scenario.patience_s)
        if self._counts(call_id):
            result = self.result
            result.calls += 1
            result.elapsed_s = self.now - self._counted_from
            if patience_s is not None:
                result.patience_s += patience_s
                result.patience_draws += 1
        self._entered[call_id] = self.now
        self._carry_out(self._acd.handle(call_id, cmd.JoinQueue(scenario.queue.queue_id, self.now), self.now))
        if patience_s is not None and call_id in self._entered:
            self._later(patience_s, "give_up", call_id)
        if self._number < scenario.calls:
            self._later(self._draw("arrive", 1 / scenario.arrival_rate), "arrive", "")

    def _give_up(self, call_id: CallId) -> None:
        entered = self._entered.pop(call_id, None)
        if entered is not None:
            self._carry_out(self._acd.handle(call_id, cmd.LeaveQueue(self.scenario.queue.queue_id), self.now))
            del self._handling[call_id]
            if self._counts(call_id):
                self.result.abandoned += 1
                self.result.waited += 1
                self.result.wait_s += self.now - entered

    def _hang_up(self, call_id: CallId) -> None:
        agent_id = self._talking.pop(call_id)
        self._carry_out(self._acd.handle(call_id, cmd.ReleaseAgent(agent_id), self.now))

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=ev.OfferMade() as offer):
                    self._answer(call_id, offer)
                case ToCall(call_id=call_id, event=ev.QueueRefused() | ev.WaitEnded()):
                    self._entered.pop(call_id, None)
                    self._handling.pop(call_id, None)
                    self.result.refused += self._counts(call_id)
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self._timers[timer] = self._later(delay_s, "timer", timer)
                case cmd.CancelTimer(timer=timer):
                    self._timers.pop(timer, None)
                case _:
                    pass

    def _answer(self, call_id: CallId, offer: ev.OfferMade) -> None:
        """Agents answer at once, and talk for as long as was drawn."""
        waited_s, handling_s = self.now - self._entered.pop(call_id), self._handling.pop(call_id)
        answered = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
        self._carry_out(self._acd.handle(call_id, answered, self.now))
        self._talking[call_id] = offer.agent_id
        self._later(handling_s, "hang_up", call_id)
        if self._counts(call_id):
            result = self.result
            result.handled += 1
            result.handling_s += handling_s
            result.waited += waited_s > 0
            result.wait_s += waited_s
            result.within += waited_s <= self.scenario.threshold_s
