"""The same callers and agents under other rules: what would have been.

From the first decision that falls otherwise, what followed was never seen. So people are taken as they were observed,
and only the ACD decides anew: callers join when they did; an offered agent answers after the time that this call's
agent took (else the queue's median), the call lasts as long as it did (else the median), wrap-up as long as it did
unless its rule is one of those changed; agents log in, take breaks and lose their phones when they did. Agents answer
every offer: not-ready for missed calls is not taken over, since who would have missed which call is not known.

*Callbacks.* A caller who left a number leaves one when told of it again, after the same time, and the promise waits in
the line from then on; of callers who were never told, the same share as of the others does, by a hash of the call. An
agent who is offered a promise is reserved for as long as dialling, greeting and consent took then, or took in vain, and
then talks; the next attempt follows as long after a vain one as it did. What nobody saw is taken by the queue's medians
and its share of numbers that answered. Callers who were promised a callback in no queue, or by the centre, are so
again. A promise counts neither as an answered nor as an abandoned call: callbacks have a line of their own.

*Patience.* A caller who abandoned had the patience that was seen. Of one who was answered, or given up by the queue,
only the lower end is known (the wait: the observation is censored). Such a caller gets the rest from the queue's
Kaplan-Meier estimate of patience, conditioned on the wait, at a quantile that is a hash of the call; beyond the longest
abandoned wait the caller stays.

Both columns that are compared, before and after, are made by this model; what was really recorded stands beside them,
and the distance between *recorded* and *before* says what the model is worth.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Changed, Decision, ToCall
from pbx.domain.agent import Status
from pbx.domain.agent_status import BUSY, REJECTED, RONA
from pbx.domain.ids import AgentId, CallId, QueueId
from pbx.domain.service_level import End
from pbx.simulation.replay import Replay
from pbx.simulation.replay_observed import Wait
from pbx.simulation.replay_outcome import Outcome
from pbx.simulation.replay_read import Configured
from pbx.simulation.replay_usual import Usual, decided_s, quantile, usual
from pbx.wire.messages import AgentConfig, QueueConfig

Override = Callable[[QueueConfig | AgentConfig], QueueConfig | AgentConfig]
_MISSED = (RONA, BUSY, REJECTED)
_BUSY = ("RESERVED", "RINGING", "ON_CALL", "WRAP_UP")


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
        waits = self._replayed.seen.waits
        follow = {id(one) for wait in waits for one in (wait.promise, wait.again) if one is not None}
        for wait in waits:
            if id(wait) not in follow:  # those follow from what becomes of another wait
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
            self._at(self.now + patience_s, lambda: self._abandon(wait))
        self._do(self._acd.handle(wait.call_id, wait.join, self.now))

    def _patience(self, wait: Wait) -> float | None:
        waited_s = 0.0 if wait.over_at is None else wait.over_at - wait.at
        if wait.join.callback:
            # A promise has none, but somebody may cancel it.
            return waited_s if wait.end is End.ABANDONED and wait.vain_s is None else None
        if wait.end is End.ABANDONED and not wait.promised:
            return waited_s
        return self._usually(wait).patience.after(waited_s, quantile(wait))

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
            self.outcome.took(self._waits[call_id], self.now, end)

    def _usually(self, wait: Wait) -> Usual:
        """A promise may wait in a queue that nobody joined."""
        return self._usual.get(wait.join.queue_id) or usual([])

    # --- callbacks --------------------------------------------------------------------------------------------------

    def _told_of_callback(self, wait: Wait) -> None:
        usually = self._usually(wait)
        if wait.promised or wait.callback_offered_at is not None:
            after_s = decided_s(wait)
        else:
            after_s = usually.decides_s if quantile(wait, "callback") < usually.leaves_number else None
        if after_s is not None:
            self._at(self.now + after_s, lambda: self._leave_number(wait))

    def _leave_number(self, wait: Wait) -> None:
        call_id, queue_id = wait.call_id, self._acd.waits_in(wait.call_id)
        there = call_id in self._waiting and self._waits[call_id] is wait and call_id not in self._offers
        if queue_id is None or not there:
            return  # an agent was sooner
        self._waiting.discard(call_id)
        self.outcome.promised[wait.join.queue_id] += 1
        self._do(self._acd.handle(call_id, cmd.LeaveQueue(queue_id), self.now))
        if wait.promise is not None:
            self._join(wait.promise)
        elif not wait.promised:  # else the number had been promised one before
            join = replace(wait.join, queue_id=queue_id, callback=True, preferred=None, preferred_s=0.0, caller=None)
            self._join(Wait(CallId(f"{call_id}-callback"), join, self.now))

    def _reserved(self, wait: Wait, offer: ev.OfferMade) -> None:
        """An agent is, and the number is dialled."""
        usually, call_id = self._usually(wait), wait.call_id
        self.outcome.attempts[wait.join.queue_id] += 1
        unknown = wait.vain_s is None and wait.end is not End.ANSWERED
        if wait.vain_s is not None or (unknown and quantile(wait, "reached") >= usually.reached):
            vain_s = usually.vain_s if wait.vain_s is None else wait.vain_s
            self._at(self.now + vain_s, lambda: self._in_vain(call_id, offer))
        else:
            called_s = usually.called_s if wait.ring_s is None else wait.ring_s
            self._at(self.now + called_s, lambda: self._answer(call_id, offer))

    def _in_vain(self, call_id: CallId, offer: ev.OfferMade) -> None:
        if self._offers.get(call_id) is not offer:
            return
        del self._offers[call_id]
        self._waiting.discard(call_id)
        gone = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.CALLER_GONE)
        self._do(self._acd.handle(call_id, gone, self.now))
        wait = self._waits[call_id]
        following = wait.again
        if following is not None and wait.over_at is not None:
            self._at(self.now + following.at - wait.over_at, lambda: self._join(following))

    def _answer(self, call_id: CallId, offer: ev.OfferMade) -> None:
        if self._offers.get(call_id) is not offer:
            return
        del self._offers[call_id]
        self._over(call_id, End.ANSWERED)
        answered = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.ANSWERED)
        self._do(self._acd.handle(call_id, answered, self.now))
        wait = self._waits[call_id]
        talk_s = self._usually(wait).talk_s if wait.talk_s is None else wait.talk_s
        self._at(self.now + talk_s, lambda: self._release(wait, offer))

    def _release(self, wait: Wait, offer: ev.OfferMade) -> None:
        agent_id = offer.agent_id
        self._do(self._acd.handle(wait.call_id, cmd.ReleaseAgent(agent_id), self.now))
        timer = f"wrap_up:{agent_id}"
        if timer in self._timers and self._wrap_up_as_seen.get(offer.queue_id, True):
            seen_s = self._usually(wait).wrap_up_s if wait.wrap_up_s is None else wait.wrap_up_s
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
                    if wait.join.callback:
                        self._reserved(wait, offer)
                        continue
                    ring_s = self._usually(wait).ring_s if wait.ring_s is None else wait.ring_s
                    self._at(self.now + ring_s, lambda c=call_id, o=offer: self._answer(c, o))  # type: ignore[misc]
                case ToCall(call_id=call_id, event=ev.OfferWithdrawn(offer_id=offer_id)):
                    self._at(self.now, lambda c=call_id, o=offer_id: self._withdrawn(c, o))  # type: ignore[misc]
                case ToCall(call_id=call_id, event=ev.CallbackOffered()):
                    self._told_of_callback(self._waits[call_id])
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
