"""Random callers, agents, hours and crashes against callbacks and the ACD together:
``python -m tests.fuzz.callbacks --steps 100000``.

The model carries decisions out as the controller does: what the ACD tells a promise arrives a moment later, and what is
dialled is in the journal before. After every step:

* a promise waits in the ACD, is being called, or has a timer: exactly one of them, and none is lost;
* a number has one open promise in a queue, is called for it as often as the queue allows and no more, never again after
  it answered, never sooner than the queue's pause, never outside of its hours;
* no agent is kept for a call that is over;
* a controller that dies and reads the journal owes exactly what was owed.

A failure prints the seed and the step; the same seed gives the same run.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

from pbx.domain import callback_events
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, ToCall
from pbx.domain.acd import Decision as AcdDecision
from pbx.domain.agent import State, Status
from pbx.domain.callbacks import Ask, Callbacks, Decision, Dial, Noted, Stage
from pbx.domain.called_back import CalledBack
from pbx.domain.calling_hours import CallingHours
from pbx.domain.e164 import E164
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallbackId, CallId, PhoneId, QueueId
from pbx.domain.opening_hours import Interval
from pbx.domain.queue import Queue

AGENTS = [AgentId(f"a{n}") for n in range(3)]
QUEUES = {
    QueueId(f"q{n}"): Queue(
        queue_id=QueueId(f"q{n}"),
        requirement=frozenset(),
        wrap_up_s=5.0,
        max_waiting=2,
        callback_attempts=2 + n,
        callback_retry_s=300.0,
    )
    for n in range(2)
}
NUMBERS = [E164(f"+4930555010{n}") for n in range(6)]
DAY = (Interval(8 * 60, 20 * 60),)
HOURS = CallingHours(zones=(ZoneInfo("Europe/Berlin"),), weekly=(DAY,) * 6 + ((),), holiday=(), holidays=frozenset())


class Model:
    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.now = 1_790_000_000.0
        self.journal: list[ev.CallbackEvent] = []
        self.dialled: dict[CallbackId, list[float]] = {}
        self.answered: set[CallbackId] = set()
        self.live = 0
        self.seen: Counter[str] = Counter()
        self.begin()
        c = self.chance
        self.rules: list[tuple[int, Callable[[], None]]] = [
            (12, self.ask),
            (10, lambda: self.pass_time(c.expovariate(1 / 30))),
            (4, lambda: self.pass_time(c.expovariate(1 / 3600))),
            (14, self.call_goes_on),
            (8, lambda: self.status(c.choice(AGENTS), c.choice(list(Status)))),
            (8, self.live_call),
            (3, self.cancel),
            (1, self.die),
        ]
        self.weights = [weight for weight, _ in self.rules]

    def begin(self) -> None:
        """A controller starts, with nothing but the journal."""
        self.acd = Acd()
        self.desk = Callbacks(QUEUES.get, lambda _: HOURS, lambda text, _: E164(text), lambda _: "DE")
        self.timers: dict[str, float] = {}
        self.told: deque[tuple[CallId, ev.Event]] = deque()
        self.calls: dict[CallId, CalledBack] = {}
        """Those of callbacks, under way."""
        self.lines: dict[CallId, ev.OfferMade | None] = {}
        """Live callers."""
        self.talking: dict[CallId, AgentId] = {}
        for queue in QUEUES.values():
            self.acd_does(self.acd.put_queue(queue, self.now))
        for agent in AGENTS:
            self.acd_does(self.acd.put_agent(agent, PhoneId(agent), {}, "DE", self.now))
            self.acd_does(self.acd.phone_reachable(PhoneId(agent), True, self.now))
        self.desk_does(self.desk.restore(self.owed(), self.now))

    def owed(self) -> list[ev.CallbackEvent]:
        over = {event.callback_id for event in self.journal if isinstance(event, callback_events.CLOSING)}
        return [event for event in self.journal if event.callback_id not in over]

    # --- the controller's part ------------------------------------------------------------------------------------

    def acd_does(self, decisions: Iterable[AcdDecision]) -> None:
        for decision in decisions:
            match decision:
                case ToCall(call_id=call_id, event=event):
                    self.told.append((call_id, event))
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self.timers[timer] = self.now + delay_s
                case cmd.CancelTimer(timer=timer):
                    self.timers.pop(timer, None)
                case _:
                    pass

    def desk_does(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Noted(event=event):
                    self.write(event)
                case Ask(call_id=call_id, command=command):
                    self.acd_does(self.acd.handle(call_id, command, self.now))
                case Dial():
                    self.dial(decision)
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self.timers[timer] = self.now + delay_s
                case cmd.CancelTimer(timer=timer):
                    self.timers.pop(timer, None)

    def write(self, event: ev.CallbackEvent) -> None:
        self.journal.append(event)
        self.seen[type(event).__name__] += 1

    def dial(self, dial: Dial) -> None:
        event = dial.dialled
        if self.chance.random() < 0.1:
            self.desk_does(self.desk.not_dialled(dial, self.now))
            return
        self.write(event)
        before = self.dialled.setdefault(event.callback_id, [])
        queue = QUEUES[next(e.queue_id for e in self.journal if isinstance(e, ev.CallbackRequested)
                            and e.callback_id == event.callback_id)]  # fmt: skip
        assert event.callback_id not in self.answered, "who has answered is not called again"
        assert len(before) < queue.callback_attempts, "no more attempts than the queue allows"
        assert not before or self.now >= before[-1] + queue.callback_retry_s, "no attempt before its time"
        assert HOURS.next_open(self.now) == self.now, "nobody is called outside of the hours"
        before.append(self.now)
        called = CalledBack(event.callback_id, event.attempt, event.queue_id, event.entered_at, offer=dial.offer)
        self.calls[dial.call_id] = called

    def deliver(self) -> None:
        while self.told:
            call_id, event = self.told.popleft()
            if call_id in self.calls:
                called = self.calls[call_id]
                match event:
                    case ev.OfferMade():
                        assert called.offer is None, "a call has one offer"
                        called.offer = event
                    case ev.OfferWithdrawn():
                        self.end_offer(call_id, ev.OfferOutcome.WITHDRAWN)
                    case _:
                        pass
            elif call_id in self.lines:
                match event:
                    case ev.OfferMade():
                        self.lines[call_id] = event
                    case ev.QueueRefused():
                        del self.lines[call_id]
                    case ev.OfferWithdrawn() if (offer := self.lines[call_id]) is not None:
                        self.lines[call_id] = None
                        gone = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.WITHDRAWN)
                        self.acd_does(self.acd.handle(call_id, gone, self.now))
                    case _:
                        pass
            else:
                self.desk_does(self.desk.told(call_id, event, self.now))

    # --- what happens ---------------------------------------------------------------------------------------------

    def ask(self) -> None:
        c = self.chance
        queue_id, number = c.choice(list(QUEUES)), c.choice(NUMBERS)
        not_before = self.now + c.expovariate(1 / 3600) if c.random() < 0.2 else None
        open_before = {p.asked.callback_id for p in self.desk.open.values()
                       if (p.asked.queue_id, p.asked.number) == (queue_id, number)}  # fmt: skip
        asked = cmd.RequestCallback(
            queue_id, number, NUMBERS[0], "DE", "t", "de", self.now - c.choice((0.0, 60.0)), c.randint(0, 2), (),
            "queue", not_before,
        )  # fmt: skip
        answer, decisions = self.desk.request(None, asked, self.now)
        self.desk_does(decisions)
        assert isinstance(answer, ev.CallbackPromised)
        assert answer.existing == bool(open_before), "a number has one promise in a queue"
        assert not open_before or answer.callback_id in open_before

    def cancel(self) -> None:
        if self.desk.open:
            chosen = self.chance.choice(sorted(self.desk.open))
            waits = self.desk.open[chosen].stage is Stage.WAITING
            decisions = self.desk.cancel(chosen, "api", self.now)
            assert (decisions is not None) == waits, "cancelled unless it is being called"
            self.desk_does(decisions or ())

    def end_offer(self, call_id: CallId, outcome: ev.OfferOutcome) -> None:
        offer, self.calls[call_id].offer = self.calls[call_id].offer, None
        if offer is not None:
            ended = cmd.EndOffer(offer.offer_id, offer.agent_id, outcome)
            self.acd_does(self.acd.handle(call_id, ended, self.now))

    def call_goes_on(self) -> None:
        """The number answers or does not; the agent does or does not; somebody hangs up."""
        c = self.chance
        if not self.calls:
            return
        call_id = c.choice(sorted(self.calls))
        called = self.calls[call_id]
        if not called.reached:
            if c.random() < 0.5:
                called.reached = True
                self.answered.add(called.callback_id)
                self.write(ev.CallbackReached(at=self.now, callback_id=called.callback_id, attempt=called.attempt))
            else:
                self.over(call_id, HangupCause.NO_ANSWER)
        elif called.talked or c.random() < 0.2:
            self.over(call_id, HangupCause.NORMAL_CLEARING)
        elif called.offer is not None:
            if c.random() < 0.5:
                self.end_offer(call_id, ev.OfferOutcome.NO_ANSWER)
            else:
                self.talking[call_id] = called.offer.agent_id
                self.end_offer(call_id, ev.OfferOutcome.ANSWERED)
                called.talked = True
                done = ev.CallbackDone(at=self.now, callback_id=called.callback_id, agent_id=self.talking[call_id])
                self.write(done)

    def over(self, call_id: CallId, cause: HangupCause) -> None:
        called = self.calls[call_id]
        agent_id = self.talking.pop(call_id, None)
        if agent_id is not None:
            self.acd_does(self.acd.handle(call_id, cmd.ReleaseAgent(agent_id), self.now))
        else:
            self.acd_does(self.acd.handle(call_id, cmd.LeaveQueue(called.queue_id), self.now))
            self.end_offer(call_id, ev.OfferOutcome.CALLER_GONE)
        self.told = deque(one for one in self.told if one[0] != call_id)
        del self.calls[call_id]
        self.desk_does(self.desk.over(call_id, called, cause, self.now))

    def live_call(self) -> None:
        """A caller comes; or one who is there is answered, or leaves."""
        c = self.chance
        if not self.lines or c.random() < 0.5:
            self.live += 1
            call_id = CallId(f"live{self.live:05}")
            self.lines[call_id] = None
            join = cmd.JoinQueue(c.choice(list(QUEUES)), self.now)
            self.acd_does(self.acd.handle(call_id, join, self.now))
            return
        call_id = c.choice(sorted(self.lines))
        offer = self.lines.pop(call_id)
        if offer is None:
            self.acd_does(self.acd.handle(call_id, cmd.LeaveQueue(QueueId("q0")), self.now))
            return
        self.seen["live calls answered"] += 1
        answered = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
        self.acd_does(self.acd.handle(call_id, answered, self.now))
        self.acd_does(self.acd.handle(call_id, cmd.ReleaseAgent(offer.agent_id), self.now))

    def status(self, agent: AgentId, status: Status) -> None:
        status = Status.AVAILABLE if self.chance.random() < 0.6 else status
        self.acd_does(self.acd.set_status(agent, status, "LUNCH", self.now))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            name = min(self.timers, key=lambda timer: (self.timers[timer], timer))
            self.now = max(self.now, self.timers.pop(name))
            if name.startswith("callback:"):
                self.desk_does(self.desk.timer(name, self.now))
            else:
                self.acd_does(self.acd.timer(name, self.now))
            self.deliver()
        self.now = end

    def die(self) -> None:
        owed = {event.callback_id for event in self.owed()}
        reached = owed & self.answered
        self.now += 0.5
        self.begin()
        assert self.desk.open.keys() <= owed, "nothing is owed that was not"
        for lost in owed - self.desk.open.keys():
            failed = next(e for e in reversed(self.journal) if e.callback_id == lost)
            assert isinstance(failed, ev.CallbackFailed), "no promise is lost"
            assert (failed.reason == "interrupted") == (lost in reached)
        self.seen["crashes"] += 1

    # --- what must be true ----------------------------------------------------------------------------------------

    def step(self) -> None:
        self.chance.choices(self.rules, self.weights)[0][1]()
        self.deliver()
        waiting = {call_id for queue_id in QUEUES for call_id in self.acd.waiting_calls(queue_id)}
        owed = {event.callback_id for event in self.owed()}
        calling = Counter(called.callback_id for called in self.calls.values())
        for callback_id, promise in self.desk.open.items():
            places = [
                promise.entry in waiting,
                calling[callback_id] == 1,
                f"callback:{callback_id}" in self.timers,
            ]
            done = any(c.talked and c.callback_id == callback_id for c in self.calls.values())
            assert sum(places) == 1, f"a promise is in one place: {places}"
            assert done or callback_id in owed, "what is open is owed by the journal"
        held = {agent.call_id for agent in self.acd.agents.values() if agent.state is not State.IDLE}
        assert held <= {None, *self.calls, *self.lines}, "no agent is kept for a call that is over"
        assert {c.callback_id for c in self.calls.values()} <= self.desk.open.keys(), "who is called was promised it"
        numbers = Counter((p.asked.queue_id, p.asked.number) for p in self.desk.open.values())
        assert all(count == 1 for count in numbers.values()), "a number has one promise in a queue"


def run(steps: int, seed: int) -> Counter[str]:
    """Raises SystemExit naming seed and step. Returns what was seen."""
    model = Model(str(seed))
    for number in range(steps):
        try:
            model.step()
            model.acd.check()
        except Exception as error:
            raise SystemExit(f"seed {seed}, step {number}: {error!r}") from error
    return model.seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    for number in range(max(1, arguments.steps // 1000)):
        seen += run(1000, arguments.seed + number)
    shown = " ".join(f"{name.replace(' ', '-')}={count}" for name, count in sorted(seen.items()))
    print(f"fuzz-callbacks steps={arguments.steps} seed={arguments.seed} {shown}")


if __name__ == "__main__":
    main()
