"""A POP's journal run again through the ACD: the same rules must give the same decisions.

What the ACD was told is fed to it anew, at the times at which it was told. Agents' changes are both its output and the
trace of what agents and calls did: a change that does not follow from what was fed so far is such an act, and says
which by where the agent is and where it goes. What the call core decided is not replayed: keyed digits and answers of
lookups are not in the journal, and the ACD does not need them.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pbx.bootstrap import holidays_of
from pbx.controller.config_store import ConfigStore, shifts_of
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Changed, Decision, ToCall
from pbx.domain.agent import Agent, State, Status
from pbx.domain.consent import RegimeTable
from pbx.domain.e164 import E164
from pbx.domain.errors import IllegalTransition
from pbx.domain.explain import Why
from pbx.domain.ids import AgentId, CallId, PhoneId, QueueId
from pbx.domain.matching import Choice
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Asked, overdue_numbers
from pbx.domain.service_level import End
from pbx.domain.sorted_blocks import Place
from pbx.simulation import replay_spanning
from pbx.simulation.replay_observed import Chose, Observed
from pbx.simulation.replay_read import DECISIONS, SAME_ACT_S, Configured, Journal, Row, Run
from pbx.wire.messages import AgentConfig, ConfigEntry


@dataclass(frozen=True, slots=True)
class Difference:
    seq: int
    """The event of the journal; 0: what the replay decided is not in the journal."""
    at: float
    call_id: CallId | None
    recorded: str
    replayed: str

    def __str__(self) -> str:
        where = f"event {self.seq}" if self.seq else "no event"
        of = f" of call {self.call_id}" if self.call_id else ""
        return f"{where}{of} at {self.at:.6f}: recorded {self.recorded}, replayed {self.replayed}"


@dataclass(slots=True)
class Report:
    runs: int = 0
    decisions: int = 0
    """Compared and the same: offers, withdrawals, refusals, overflows, waits that ended."""
    offers: int = 0
    changes: int = 0
    """Agents' changes that were the same."""
    unheard: int = 0
    """Decisions of the replay about calls that were over, or callbacks that were not dialled yet, or of a controller
    that died before it wrote them."""
    callbacks: int = 0
    """Attempts that waited for an agent."""
    guessed: int = 0
    """Joins of which the outside numbers rung before could not be told from the journal."""
    difference: Difference | None = None
    why: list[Explained] = field(default_factory=list)
    """Of the one call that was asked for."""
    replayed: list[Replay] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explained:
    """What happened to a call in a queue, and the ACD's reasons: for an offer to whom, and for a wait what kept each of
    those who may take the call."""

    at: float
    what: str
    choice: Choice | None = None
    wait: Why | None = None


class Unlike(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def replay(journal: Journal, since: float = -math.inf, until: float = math.inf, why: CallId | None = None) -> Report:
    """Compare all decisions from ``since`` to ``until``, up to the first difference; ``why``: explain this call."""
    report = Report()
    for run in journal.runs:
        if run.rows and run.rows[-1].at >= since and run.rows[0].at <= until:
            report.runs += 1
            try:
                report.replayed.append(Replay(run, report, since, until, why))
                report.replayed[-1].play()
            except Unlike as unlike:
                report.difference = unlike.difference
                break
    return report


class Replay:
    """One run of the controller."""

    def __init__(
        self,
        run: Run,
        report: Report | None = None,
        since: float = -math.inf,
        until: float = math.inf,
        why: CallId | None = None,
    ) -> None:
        self.acd = Acd()
        self.acd.others_first = self._others_first
        self.run = run
        self.report = report or Report()
        self._since, self._until, self._why = since, until, why
        self._store = ConfigStore(RegimeTable({}), {}, holidays_of)
        self._due: deque[ev.AgentChanged] = deque()
        """Changes that followed from what was fed and are yet to be met in the journal."""
        self._told: dict[CallId, list[ev.Event]] = defaultdict(list)
        self._callbacks: set[CallId] = set()
        """That waited before they were calls."""
        self._tried: dict[CallId, tuple[E164, ...]] = {}
        self._taken_up: set[AgentId] = set()
        """Agents whom this controller took up busy, and who are so still."""
        self._leaves_to_router = False
        self.seen = Observed()

    def _others_first(self, queue_id: QueueId) -> Place | None:
        """Where other POPs' calls stood is not in the journal, but what came of it is."""
        return (-math.inf, CallId("")) if self._leaves_to_router else None

    def play(self) -> None:
        for one in self.run.in_force:
            self.configure(one, self.run.began_at)
        self._due.clear()
        rows = self.run.rows
        for number, row in enumerate(rows):
            if row.at > self._until:
                break
            if isinstance(row.event, ev.RouterAwaited):
                continue
            self._leaves_to_router = self.run.left_to_router(number)
            if isinstance(row.event, ev.AgentChanged):
                self._meet(row, row.event)
                continue
            if self._due:
                raise self._unlike(row, self._due[0])
            following = rows[number + 1].event if number + 1 < len(rows) else None
            self._feed(row, following)
        # What is due still was lost with the controller, within the journal's last moments.
        self._compare()

    # --- feeding ------------------------------------------------------------------------------------------------

    def _do(self, row: Row, act: Callable[[], Iterable[Decision]]) -> None:
        try:
            decisions = act()
        except (IllegalTransition, KeyError) as error:
            raise Unlike(Difference(row.seq, row.at, row.call_id, _said(row.event), repr(error))) from error
        for decision in decisions:
            match decision:
                case Changed(event=event):
                    self._due.append(event)
                case ToCall(call_id=call_id, event=event) if isinstance(event, DECISIONS):
                    self._told[call_id].append(event)
                    if call_id == self._why:
                        self._explain(event)
                    if isinstance(event, ev.QueueRefused):
                        self.seen.over(call_id, event.at, End.GIVEN_UP if event.asked is None else End.REFUSED)
                    elif isinstance(event, ev.CallbackOffered):
                        self.seen.offered_callback(call_id, event.at)
                    elif isinstance(event, ev.WaitEnded):
                        if event.reason == "number":
                            self._tried[call_id] = (*self._tried.get(call_id, ()), E164(event.target))
                        self.seen.over(call_id, event.at, End.GIVEN_UP)
                case _:
                    pass

    def _explain(self, event: ev.Event) -> None:
        """While it is as the ACD saw it."""
        choice = None
        if isinstance(event, ev.OfferMade) and self.acd.agents[event.agent_id].chosen == event.offer_id:
            choice = self.acd.why_agent(event.offer_id)
        self.report.why.append(Explained(event.at, _said(event), choice))

    def _waits(self, at: float, what: str) -> None:
        """The call that is explained waits on, or is still rung for."""
        if self._why is not None and self.acd.waits_in(self._why) is not None:
            self.report.why.append(Explained(at, what, wait=self.acd.why_waiting(self._why, at)))

    def _feed(self, row: Row, following: object) -> None:
        at, event = row.at, row.event
        match event:
            case Configured():
                # Its time was taken before that of its effects, which say when it really took effect.
                if isinstance(following, ev.AgentChanged) and 0 <= following.at - at < SAME_ACT_S:
                    at = following.at
                self._do(row, lambda: self.configure(event, at))
            case ev.CallbackQueued(call_id=call_id, asked=asked):
                self._callbacks.add(call_id)
                self.report.callbacks += 1
                waits = self._join(call_id, asked, at)
                self.seen.joined(call_id, waits, at)
                self.seen.promise(call_id, self.run.promise(asked, at))
                self._do(row, lambda: self.acd.handle(call_id, waits, at))
            case ev.AgentAdopted():
                if event.state == State.IDLE.name:
                    self.seen.chosen.append(Chose(at, event.agent_id, Status[event.status], event.reason))
                else:  # busy with what no wait of this run led to
                    self._taken_up.add(event.agent_id)
                self._do(row, lambda: self.acd.adopt_agent(event, at))
            case ev.WaitAdopted(asked=asked):
                self._tried[event.call_id] = event.tried
                self.seen.joined(event.call_id, self._join(event.call_id, replace(asked, again=True), at), at)
                if asked.callback:
                    self.seen.promise(event.call_id, self.run.promise(asked, at))
                self._do(row, lambda: self.acd.adopt_wait(event, None, at))
            case ev.QueueJoined(asked=Asked() as asked) | ev.QueueRefused(asked=Asked() as asked):
                joining = row.call_id or CallId("")
                join = self._join(joining, asked, at)
                self.seen.joined(joining, join, at)
                self._do(row, lambda: self.acd.handle(joining, join, at))
                if joining == self._why:
                    self._waits(at, f"joined {join.queue_id}")
            case ev.QueueLeft(call_id=call_id, queue_id=queue_id):
                if self.run.left_a_number(call_id, at):
                    self.seen.left_a_number(call_id, at)
                self.seen.over(call_id, at, End.ABANDONED)
                self._do(row, lambda: self.acd.handle(call_id, cmd.LeaveQueue(queue_id), at))
            case ev.PhoneReachable(phone_id=phone_id, reachable=reachable):
                self._do(row, lambda: self.acd.phone_reachable(phone_id, reachable, at))
            case ev.QueuesShared() | ev.ProposalTaken() | ev.AgentLent() | ev.LentOfferEnded():
                self._do(row, lambda: replay_spanning.feed(self.acd, self.run, self.seen, event))
            case ev.TimerFired(timer=timer):
                self._do(row, lambda: self.acd.timer(timer, at))
                if timer.partition(":")[2] == self._why:
                    self._waits(at, f"timer {timer.partition(':')[0]}")
            case _:
                raise AssertionError("the reader gives nothing else")

    def _join(self, call_id: CallId, asked: Asked, at: float) -> cmd.JoinQueue:
        """The numbers that were tried are those to which this wait overflowed; of a caller whom somebody hands back,
        those that a caller of that age has behind."""
        if not asked.again:
            queue = self._store.queues.get(asked.queue_id)
            overdue = overdue_numbers(queue.steps, at - asked.entered_at) if queue is not None and asked.tried else ()
            self._tried[call_id] = overdue
        tried = self._tried.get(call_id, ())
        self.report.guessed += len(tried) != asked.tried
        return cmd.JoinQueue(
            asked.queue_id,
            asked.entered_at,
            asked.priority,
            asked.needs,
            asked.preferred,
            asked.preferred_s,
            value=asked.value,
            pop_id=asked.pop_id,
            while_closed=asked.while_closed,
            callback=asked.callback,
            tried=tried,
            again=asked.again,
        )

    def configure(self, one: Configured, now: float) -> list[Decision]:
        """As the POP does; what it refused is refused here too."""
        if one.entity is None:
            match self._store.remove(one.key):
                case Queue(queue_id=queue_id):
                    return self.acd.remove_queue(queue_id, now)
                case AgentConfig(agent_id=agent_id):
                    return self.acd.remove_agent(AgentId(agent_id), now)
                case _:
                    return []
        match self._store.put(one.key, ConfigEntry(revision=0, entity=one.entity)):
            case Queue() as queue:
                return self.acd.put_queue(queue, now)
            case AgentConfig() as agent:
                return self.acd.put_agent(
                    AgentId(agent.agent_id),
                    PhoneId(agent.phone_id),
                    agent.skills,
                    agent.country,
                    now,
                    cost=agent.cost,
                    weight=agent.weight,
                    shifts=shifts_of(agent),
                    site=agent.site,
                )
            case _:
                return []

    # --- agents' changes ------------------------------------------------------------------------------------------

    def _meet(self, row: Row, event: ev.AgentChanged) -> None:
        if not self._due:
            agent = self.acd.agents.get(event.agent_id)
            if agent is None:
                raise Unlike(Difference(row.seq, row.at, None, _said(event), "no such agent"))
            self._do(row, lambda: self._act(agent, event))
        if not self._due or self._due[0] != event:
            raise self._unlike(row, self._due[0] if self._due else None)
        self._due.popleft()
        self.report.changes += self._since <= event.at
        if event.agent_id in self._taken_up and event.state == State.IDLE.name:
            self._taken_up.discard(event.agent_id)
            self.seen.chosen.append(Chose(row.at, event.agent_id, Status[event.status], event.reason))

    def _act(self, agent: Agent, event: ev.AgentChanged) -> list[Decision]:
        """What somebody did, so that the agent came to be what ``event`` says."""
        acd, who, now = self.acd, agent.agent_id, event.at
        call_id, offer_id, new = agent.call_id or CallId(""), agent.offer_id, State[event.state]
        match agent.state, new:
            case State.WRAP_UP, State.WRAP_UP if event.until is not None and event.until > agent.wrap_up_until:
                return acd.extend_wrap_up(who, event.until - agent.wrap_up_until, now)
            case old, _ if old is new:
                self.seen.chosen.append(Chose(now, who, Status[event.status], event.reason))
                return acd.set_status(who, Status[event.status], event.reason, now)
            case State.RESERVED, State.RINGING if offer_id is not None:
                return acd.handle(call_id, cmd.AgentRings(offer_id, who), now)
            case ((State.RESERVED | State.RINGING), State.ON_CALL) if offer_id is not None:
                self.seen.answered(agent, now)
                return acd.handle(call_id, cmd.EndOffer(offer_id, who, ev.OfferOutcome.ANSWERED), now)
            case ((State.RESERVED | State.RINGING), State.IDLE) if offer_id is not None:
                # Without a word of the call it died by a defect.
                outcome = self.run.outcomes.get(offer_id, ev.OfferOutcome.CALLER_GONE)
                if outcome is ev.OfferOutcome.CALLER_GONE:
                    self.seen.not_reached(agent, now)
                    self.seen.over(call_id, now, End.ABANDONED)
                return acd.handle(call_id, cmd.EndOffer(offer_id, who, outcome), now)
            case State.ON_CALL, State.WRAP_UP:
                self.seen.released(agent, now)
                return acd.handle(call_id, cmd.ReleaseAgent(who), now)
            case State.WRAP_UP, State.IDLE:
                self.seen.wrapped_up(agent, now)
                if (who, now) in self.run.engaged:
                    other, request = self.run.engaged[who, now]
                    return acd.handle(other, cmd.EngageAgent(request, who, from_wrap_up=True), now)
                return acd.timer(f"wrap_up:{who}", now)
            case State.IDLE, State.ENGAGED if (who, now) in self.run.engaged:
                other, request = self.run.engaged[who, now]
                return acd.handle(other, cmd.EngageAgent(request, who), now)
            case State.ENGAGED, State.IDLE:
                return acd.handle(call_id, cmd.FreeAgent(who), now)
            case State.ENGAGED, State.ON_CALL if (call_id, who) in self.run.talked:
                return acd.handle(call_id, cmd.PutOnCall(who, self.run.talked[call_id, who]), now)
            case _:
                return []

    # --- comparing ------------------------------------------------------------------------------------------------

    @staticmethod
    def _unlike(row: Row, due: ev.Event | None) -> Unlike:
        replayed = "no change" if due is None else _said(due)
        return Unlike(Difference(row.seq, row.at, row.call_id, _said(row.event), replayed))

    def _compare(self) -> None:
        """What each call was told, in its order."""
        differences: list[Difference] = []
        for call_id in self.run.decisions.keys() | self._told.keys():
            recorded = [row for row in self.run.decisions.get(call_id, ()) if row.at <= self._until]
            told = self._told.get(call_id, [])
            if call_id in self._callbacks:
                # What a callback is told before its number is dialled is not in the journal.
                begun = next((n for n, event in enumerate(told) if isinstance(event, ev.OfferMade)), len(told))
                begun = begun if recorded else len(told)
                self.report.unheard += begun
                told = told[begun:]
            for row, event in zip(recorded, told, strict=False):
                if row.event != event:
                    differences.append(Difference(row.seq, row.at, call_id, _said(row.event), _said(event)))
                    break
                if row.at >= self._since:
                    self.report.decisions += 1
                    self.report.offers += isinstance(event, ev.OfferMade)
            else:
                for row in recorded[len(told) :][:1]:
                    differences.append(Difference(row.seq, row.at, call_id, _said(row.event), "nothing"))
                for event in told[len(recorded) :]:
                    if event.at < self.run.last_heard.get(call_id, 0.0):
                        differences.append(Difference(0, event.at, call_id, "nothing", _said(event)))
                        break
                    self.report.unheard += 1
        if differences:
            raise Unlike(min(differences, key=lambda one: (one.at, one.seq)))


def _said(event: object) -> str:
    match event:
        case ev.AgentChanged():
            return f"agent {event.agent_id} {event.status} {event.state}"
        case ev.OfferMade():
            return f"offer {event.offer_id} to agent {event.agent_id}, epoch {event.epoch}"
        case ev.QueueRefused():
            return f"refused by {event.queue_id}: {event.reason}"
        case ev.QueueOverflowed():
            return f"overflow from {event.from_queue_id} to {event.queue_id}"
        case ev.WaitEnded():
            return f"wait in {event.queue_id} ended: {event.reason}"
        case ev.CallbackOffered():
            return f"callback offered in {event.queue_id}"
        case _:
            return type(event).__name__
