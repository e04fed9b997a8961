"""The same callers and agents under other rules: what would have been.

From the first decision that falls otherwise, what followed was never seen. So people are taken as they were observed,
and only the ACD decides anew: callers join when they did; an offered agent answers after the time that this call's
agent took (else the queue's median), the call lasts as long as it did (else the median), wrap-up as long as it did
unless its rule is one of those changed; agents log in, take breaks and lose their phones when they did. Agents answer
every offer: not-ready for missed calls is not taken over, since who would have missed which call is not known.

*Patience.* A caller who abandoned had the patience that was seen. Of one who was answered, or given up by the queue,
only the lower end is known (the wait: the observation is censored). Such a caller gets the rest from the queue's
Kaplan-Meier estimate of patience, conditioned on the wait, at a quantile that is a hash of the call; beyond the longest
abandoned wait the caller stays.

Both columns that are compared, before and after, are made by this model; what was really recorded stands beside them,
and the distance between *recorded* and *before* says what the model is worth.
"""

from __future__ import annotations

import heapq
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Changed, Decision, ToCall
from pbx.domain.agent import Status
from pbx.domain.agent_status import BUSY, REJECTED, RONA
from pbx.domain.ids import AgentId, CallId, QueueId
from pbx.domain.service_level import Contact, End, Figures, figures, occupancy
from pbx.simulation.replay import Replay
from pbx.simulation.replay_observed import Wait
from pbx.simulation.replay_read import Configured
from pbx.wire.messages import AgentConfig, QueueConfig

Override = Callable[[QueueConfig | AgentConfig], QueueConfig | AgentConfig]
_MISSED = (RONA, BUSY, REJECTED)
_BUSY = ("RESERVED", "RINGING", "ON_CALL", "WRAP_UP")


@dataclass(slots=True)
class Outcome:
    """By the queue that was joined."""

    contacts: dict[QueueId, list[Contact]] = field(default_factory=lambda: defaultdict(list))
    busy_s: dict[QueueId, float] = field(default_factory=lambda: defaultdict(float))
    staffed_s: dict[QueueId, float] = field(default_factory=lambda: defaultdict(float))
    """Of agents with the skills of the queue."""

    def figures(self, queue_id: QueueId, threshold_s: float) -> Figures:
        return figures(self.contacts.get(queue_id, ()), threshold_s)

    def add(self, other: Outcome) -> None:
        for queue_id, contacts in other.contacts.items():
            self.contacts[queue_id] += contacts
        for mine, theirs in ((self.busy_s, other.busy_s), (self.staffed_s, other.staffed_s)):
            for queue_id, seconds in theirs.items():
                mine[queue_id] += seconds

    def occupancy(self, queue_id: QueueId) -> float | None:
        return occupancy(self.busy_s[queue_id], self.staffed_s[queue_id])


class Patience:
    """Kaplan and Meier, Journal of the American Statistical Association 53 (1958)."""

    def __init__(self, waits: Iterable[Wait]) -> None:
        seen = sorted((w.over_at - w.at, w.end is not End.ABANDONED) for w in waits if w.over_at is not None)
        self._steps: list[tuple[float, float]] = []
        """Time, and the share whose patience is longer."""
        left, share = len(seen), 1.0
        for waited_s, censored in seen:
            if not censored:
                share *= 1 - 1 / left
                self._steps.append((waited_s, share))
            left -= 1

    def after(self, waited_s: float, quantile: float) -> float | None:
        """Of a caller who was still there then; None: longer than anybody was seen to have."""
        there = next((share for at, share in reversed(self._steps) if at <= waited_s), 1.0)
        return next((at for at, share in self._steps if at > waited_s and share <= there * (1 - quantile)), None)


@dataclass(frozen=True, slots=True)
class Usual:
    """Of a queue, in seconds: what is taken for calls that did not come to it."""

    ring_s: float
    talk_s: float
    wrap_up_s: float
    patience: Patience


def usual(waits: list[Wait]) -> Usual:
    def median(values: Iterable[float | None], otherwise: float) -> float:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else otherwise

    return Usual(
        median((w.ring_s for w in waits), 3.0),
        median((w.talk_s for w in waits), 180.0),
        median((w.wrap_up_s for w in waits), 0.0),
        Patience(w for w in waits if w.end is not End.REFUSED),
    )


def recorded(runs: Iterable[Replay]) -> Outcome:
    outcome = Outcome()
    for run in runs:
        for wait in run.seen.waits:
            if wait.over_at is not None and wait.end is not None:
                # Until the agent answered, as a caller feels it.
                outcome.contacts[wait.join.queue_id].append(Contact(wait.over_at - wait.join.entered_at, wait.end))
    return outcome


class WhatIf:
    """One run of the controller under ``override``, which turns recorded configuration into that to be tried."""

    def __init__(self, replayed: Replay, usuals: Mapping[QueueId, Usual], override: Override) -> None:
        self.outcome = Outcome()
        self._run, self._override, self._usual = replayed.run, override, usuals
        self._wrap_up_as_seen: dict[QueueId, bool] = {}
        self._replayed = replayed
        self._model = Replay(replayed.run)
        self._acd: Acd = self._model.acd
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._set = 0
        self.now = 0.0
        self._timers: dict[str, int] = {}
        self._waits: dict[CallId, Wait] = {}
        self._waiting: set[CallId] = set()
        self._offers: dict[CallId, ev.OfferMade] = {}
        self._since: dict[AgentId, tuple[float, ev.AgentChanged]] = {}
        self._time: dict[AgentId, list[float]] = defaultdict(lambda: [0.0, 0.0])
        """Busy, and ready or busy."""

    def play(self) -> Outcome:
        rows, self.now = self._run.rows, self._run.began_at
        for one in self._run.in_force:
            self._configure(one)
        for row in rows:
            match row.event:
                case Configured() as one:
                    self._at(one.at, lambda one=one: self._configure(one))  # type: ignore[misc]
                case ev.PhoneReachable() as event:
                    self._at(event.at, lambda e=event: self._phone(e))  # type: ignore[misc]
                case _:
                    pass
        for chose in self._replayed.seen.chosen:
            if chose.reason not in _MISSED:
                self._at(chose.at, lambda c=chose: self._choose(c.agent_id, c.status, c.reason))  # type: ignore[misc]
        for wait in self._replayed.seen.waits:
            self._at(wait.at, lambda w=wait: self._join(w))  # type: ignore[misc]
        end = rows[-1].at if rows else 0.0
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self.now = end
        for _, last in list(self._since.values()):
            self._account(last)
        for queue in self._acd.queues():
            for agent in self._acd.agents.values():
                if queue.accepts(agent.skills):
                    busy_s, staffed_s = self._time[agent.agent_id]
                    self.outcome.busy_s[queue.queue_id] += busy_s
                    self.outcome.staffed_s[queue.queue_id] += staffed_s
        return self.outcome

    def _at(self, at: float, act: Callable[[], None]) -> int:
        self._set += 1
        heapq.heappush(self._agenda, (at, self._set, act))
        return self._set

    # --- what people do, as observed ------------------------------------------------------------------------------

    def _configure(self, one: Configured) -> None:
        entity = one.entity
        if entity is not None:
            entity = self._override(entity)
            if isinstance(entity, QueueConfig) and isinstance(one.entity, QueueConfig):
                self._wrap_up_as_seen[QueueId(entity.queue_id)] = entity.wrap_up_s == one.entity.wrap_up_s
        self._do(self._model.configure(Configured(one.at, one.key, entity), self.now))

    def _phone(self, event: ev.PhoneReachable) -> None:
        self._do(self._acd.phone_reachable(event.phone_id, event.reachable, self.now))

    def _choose(self, agent_id: AgentId, status: Status, reason: str | None) -> None:
        if agent_id in self._acd.agents:
            self._do(self._acd.set_status(agent_id, status, reason, self.now))

    def _join(self, wait: Wait) -> None:
        if wait.call_id in self._waiting:
            return  # transferred before the replay came so far
        self._waits[wait.call_id] = wait
        self._waiting.add(wait.call_id)
        patience_s = self._patience(wait)
        if patience_s is not None:
            self._at(wait.at + patience_s, lambda: self._abandon(wait))
        self._do(self._acd.handle(wait.call_id, wait.join, self.now))

    def _patience(self, wait: Wait) -> float | None:
        waited_s = 0.0 if wait.over_at is None else wait.over_at - wait.at
        if wait.end is End.ABANDONED:
            return waited_s
        hashed = blake2b(f"{wait.call_id}\0{wait.at}".encode(), digest_size=8).digest()
        return self._usual[wait.join.queue_id].patience.after(waited_s, int.from_bytes(hashed, "big") / 2**64)

    def _abandon(self, wait: Wait) -> None:
        if wait.call_id not in self._waiting or self._waits[wait.call_id] is not wait:
            return
        self._over(wait.call_id, End.ABANDONED)
        offer = self._offers.pop(wait.call_id, None)
        if offer is not None:
            gone = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.CALLER_GONE)
            self._do(self._acd.handle(wait.call_id, gone, self.now))
        else:
            self._do(self._acd.handle(wait.call_id, cmd.LeaveQueue(wait.join.queue_id), self.now))

    def _over(self, call_id: CallId, end: End) -> None:
        if call_id in self._waiting:
            self._waiting.discard(call_id)
            join = self._waits[call_id].join
            self.outcome.contacts[join.queue_id].append(Contact(self.now - join.entered_at, end))

    def _answer(self, call_id: CallId, offer: ev.OfferMade) -> None:
        if self._offers.get(call_id) is not offer:
            return
        del self._offers[call_id]
        self._over(call_id, End.ANSWERED)
        answered = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
        self._do(self._acd.handle(call_id, answered, self.now))
        wait = self._waits[call_id]
        talk_s = self._usual[wait.join.queue_id].talk_s if wait.talk_s is None else wait.talk_s
        self._at(self.now + talk_s, lambda: self._release(wait, offer))

    def _release(self, wait: Wait, offer: ev.OfferMade) -> None:
        agent_id = offer.agent_id
        self._do(self._acd.handle(wait.call_id, cmd.ReleaseAgent(agent_id), self.now))
        timer = f"wrap_up:{agent_id}"
        if timer in self._timers and self._wrap_up_as_seen.get(offer.queue_id, True):
            seen_s = self._usual[wait.join.queue_id].wrap_up_s if wait.wrap_up_s is None else wait.wrap_up_s
            self._timer(timer, seen_s)

    # --- what the ACD decides -------------------------------------------------------------------------------------

    def _do(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self._timer(timer, delay_s)
                case cmd.CancelTimer(timer=timer):
                    self._timers.pop(timer, None)
                case Changed(event=event):
                    self._account(event)
                case ToCall(call_id=call_id, event=ev.OfferMade() as offer):
                    self._offers[call_id] = offer
                    wait = self._waits[call_id]
                    ring_s = self._usual[wait.join.queue_id].ring_s if wait.ring_s is None else wait.ring_s
                    self._at(self.now + ring_s, lambda c=call_id, o=offer: self._answer(c, o))  # type: ignore[misc]
                case ToCall(call_id=call_id, event=ev.OfferWithdrawn(offer_id=offer_id)):
                    self._at(self.now, lambda c=call_id, o=offer_id: self._withdrawn(c, o))  # type: ignore[misc]
                case ToCall(call_id=call_id, event=ev.QueueRefused(asked=asked)):
                    self._over(call_id, End.GIVEN_UP if asked is None else End.REFUSED)
                case ToCall(call_id=call_id, event=ev.WaitEnded()):
                    self._over(call_id, End.GIVEN_UP)
                case _:
                    pass

    def _withdrawn(self, call_id: CallId, offer_id: str) -> None:
        offer = self._offers.get(call_id)
        if offer is not None and offer.offer_id == offer_id:
            del self._offers[call_id]
            ended = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.WITHDRAWN)
            self._do(self._acd.handle(call_id, ended, self.now))

    def _timer(self, timer: str, delay_s: float) -> None:
        def fire() -> None:
            if self._timers.get(timer) == number:
                del self._timers[timer]
                self._do(self._acd.timer(timer, self.now))

        number = self._at(self.now + delay_s, fire)
        self._timers[timer] = number

    def _account(self, event: ev.AgentChanged) -> None:
        former = self._since.get(event.agent_id)
        self._since[event.agent_id] = self.now, event
        if former is not None:
            since, before = former
            busy = before.state in _BUSY
            time = self._time[event.agent_id]
            time[0] += busy * (self.now - since)
            time[1] += (busy or before.status == "AVAILABLE") * (self.now - since)
