"""Virtual hold: callers who gave a number and keep the place. Pure: no clock, no I/O.

A promise waits in the ACD like a call that entered when it did, so that by effective priority neither starves the
other. When an agent is reserved for it, its number is dialled under a call of its own. Invariants:

* a number has one open promise in one queue;
* a promise waits in the ACD, is being dialled, or has a timer: exactly one of them;
* a number is dialled at most ``callback_attempts`` times, and never again after it has answered;
* no attempt is made outside of the hours in which the number's country may be called.

``CallbackDialled`` is written before the media server is asked. So after a crash an attempt whose outcome nobody knows
is one that was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.called_back import CalledBack
from pbx.domain.calling_hours import CallingHours
from pbx.domain.e164 import E164, Cli, CliKind
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallbackId, CallId, LegId, QueueId, derive
from pbx.domain.queue import Queue

RING_S = 30.0
"""How long the customer's phone rings; the agent is reserved meanwhile."""
MAX_OPEN = 1000
"""Promises of one queue."""
CHECK_S = 3600.0
"""The longest timer: the wall clock may be set while it runs."""


class Stage(Enum):
    WAITING = "waiting"
    """In the ACD, or for the hour or the next attempt."""
    DIALLED = "dialled"
    REACHED = "reached"


@dataclass(slots=True)
class Promise:
    asked: ev.CallbackRequested
    queue_id: QueueId
    """Where it waits now: queues overflow."""
    attempts: int = 0
    retry_at: float = 0.0
    stage: Stage = Stage.WAITING
    entry: CallId | None = None
    """The id under which it waits in the ACD, which will be that of the call."""


@dataclass(frozen=True, slots=True)
class Noted:
    """For the journal."""

    event: ev.CallbackEvent


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the router do it in the name of ``call_id``."""

    call_id: CallId
    command: cmd.RouterCommand


@dataclass(frozen=True, slots=True)
class Dial:
    """Begin the call ``call_id`` with these two events."""

    call_id: CallId
    dialled: ev.CallbackDialled
    offer: ev.OfferMade


Decision = Noted | Ask | Dial | cmd.SetTimer | cmd.CancelTimer
Answer = ev.CallbackPromised | ev.CallbackRefused


class Callbacks:
    """Methods return decisions in the order in which they must be carried out."""

    def __init__(
        self,
        queue: Callable[[QueueId], Queue | None],
        hours: Callable[[E164], CallingHours],
        number: Callable[[str, str], E164 | None],
        country: Callable[[E164], str | None],
    ) -> None:
        """``number`` makes of what a caller keyed in, and the DID's country, a number that may be called."""
        self._queue, self._hours, self._number, self._country = queue, hours, number, country
        self.open: dict[CallbackId, Promise] = {}
        self._by_number: dict[tuple[QueueId, E164], CallbackId] = {}
        self._entries: dict[CallId, CallbackId] = {}
        self._dialled: dict[CallId, CallbackId] = {}
        self._made = 0
        self.held = False
        """Nobody is called, whatever the hour."""

    # --- in and out -------------------------------------------------------------------------------------------------

    def restore(
        self, events: Iterable[ev.CallbackEvent], now: float, live: Mapping[CallbackId, CallId] = MappingProxyType({})
    ) -> list[Decision]:
        """Take up the promises of the last run from all events of those that are open. ``live``: the calls that keep
        some of them now."""
        for event in events:
            promise = self.open.get(event.callback_id)
            match event:
                case ev.CallbackRequested():
                    self._add(event)
                case ev.CallbackDialled(attempt=attempt) if promise is not None:
                    promise.attempts, promise.stage = attempt, Stage.DIALLED
                case ev.CallbackReached() if promise is not None:
                    promise.stage = Stage.REACHED
                case ev.CallbackMissed(retry_at=retry_at) if promise is not None:
                    promise.retry_at, promise.stage = retry_at, Stage.WAITING
                case _:
                    pass
        decisions: list[Decision] = []
        for promise in list(self.open.values()):
            keeper = live.get(promise.asked.callback_id)
            if keeper is not None and promise.stage is not Stage.WAITING:
                self._dialled[keeper] = promise.asked.callback_id
                continue
            match promise.stage:
                case Stage.WAITING:
                    decisions += self._wait(promise, now)
                case Stage.DIALLED:
                    decisions += self._missed(promise, None, now)
                case Stage.REACHED:
                    decisions += self._fail(promise, "interrupted", now)
        return decisions

    def request(self, call_id: CallId | None, asked: cmd.RequestCallback, now: float) -> tuple[Answer, list[Decision]]:
        """What to answer, and to do. A promise that is open already stands; nothing is changed by a refusal."""
        number = self._number(asked.number, asked.country)
        if number is None:
            return ev.CallbackRefused(at=now, reason="bad_number"), []
        known = self._by_number.get((asked.queue_id, number))
        if known is not None:
            return ev.CallbackPromised(at=now, callback_id=known, existing=True), []
        if sum(promise.asked.queue_id == asked.queue_id for promise in self.open.values()) >= MAX_OPEN:
            return ev.CallbackRefused(at=now, reason="full"), []
        self._made += 1
        callback_id = CallbackId(derive(now, "callback", asked.queue_id, number, self._made))
        requested = ev.CallbackRequested(
            at=now,
            callback_id=callback_id,
            queue_id=asked.queue_id,
            number=number,
            did=asked.did,
            trunk=asked.trunk,
            language=asked.language,
            entered_at=asked.entered_at,
            priority=asked.priority,
            needs=asked.needs,
            by=asked.by,
            not_before=asked.not_before,
            call_id=call_id,
        )
        promise = self._add(requested)
        answer = ev.CallbackPromised(at=now, callback_id=callback_id, existing=False)
        return answer, [Noted(requested), *self._wait(promise, now)]

    def cancel(self, callback_id: CallbackId, by: str, now: float) -> list[Decision] | None:
        """None: too late, the number is being called. Raises KeyError for a promise that is not open."""
        promise = self.open[callback_id]
        if promise.stage is not Stage.WAITING:
            return None
        cancelled = ev.CallbackCancelled(at=now, callback_id=callback_id, by=by)
        return [*self._leave(promise), Noted(cancelled), *self._close(promise)]

    def hold(self, held: bool, now: float) -> list[Decision]:
        """Call nobody from now on, or again. An attempt that has begun goes on."""
        if held == self.held:
            return []
        self.held = held
        waiting = [promise for promise in self.open.values() if promise.stage is Stage.WAITING]
        return [decision for promise in waiting for decision in (*self._leave(promise), *self._wait(promise, now))]

    def _next_open(self, promise: Promise, at: float) -> float | None:
        """When the number may be called, from ``at`` on; None: not before the next look."""
        return None if self.held else self._hours(promise.asked.number).next_open(at)

    def _add(self, requested: ev.CallbackRequested) -> Promise:
        promise = Promise(requested, requested.queue_id, retry_at=requested.not_before or 0.0)
        self.open[requested.callback_id] = promise
        self._by_number[requested.queue_id, requested.number] = requested.callback_id
        return promise

    def _close(self, promise: Promise) -> list[Decision]:
        asked = promise.asked
        del self.open[asked.callback_id]
        del self._by_number[asked.queue_id, asked.number]
        return [cmd.CancelTimer(_timer(promise))]

    def _fail(self, promise: Promise, reason: str, now: float) -> list[Decision]:
        failed = ev.CallbackFailed(at=now, callback_id=promise.asked.callback_id, reason=reason)
        return [*self._leave(promise), Noted(failed), *self._close(promise)]

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _wait(self, promise: Promise, now: float) -> list[Decision]:
        """Into the ACD when the number may be called; before that, a timer."""
        promise.stage = Stage.WAITING
        begin = max(now, promise.retry_at)
        opens = self._next_open(promise, begin)
        if opens is None or opens > now:
            delay_s = CHECK_S if opens is None else min(opens - now, CHECK_S)
            return [cmd.SetTimer(_timer(promise), delay_s)]
        asked = promise.asked
        promise.queue_id = asked.queue_id
        promise.entry = entry = CallId(derive(now, asked.callback_id, promise.attempts + 1))
        self._entries[entry] = asked.callback_id
        join = cmd.JoinQueue(
            asked.queue_id,
            entered_at=min(now, asked.entered_at),
            priority=asked.priority,
            needs=asked.needs,
            callback=True,
        )
        return [Ask(entry, join)]

    def _leave(self, promise: Promise) -> list[Decision]:
        entry, promise.entry = promise.entry, None
        if entry is None:
            return []
        self._entries.pop(entry, None)
        return [Ask(entry, cmd.LeaveQueue(promise.queue_id))]

    def timer(self, name: str, now: float) -> list[Decision]:
        promise = self.open.get(CallbackId(name.partition(":")[2]))
        if promise is None or promise.stage is not Stage.WAITING or promise.entry is not None:
            return []
        return self._wait(promise, now)

    def waits(self, call_id: CallId) -> bool:
        """Whether what the ACD tells ``call_id`` is for here."""
        return call_id in self._entries

    def told(self, call_id: CallId, event: ev.Event, now: float) -> list[Decision]:
        """What the ACD says to a promise that waits there."""
        promise = self.open.get(self._entries.get(call_id, CallbackId("")))
        if promise is None:
            if isinstance(event, ev.OfferMade):  # crossed with its leaving
                return [Ask(call_id, cmd.EndOffer(event.offer_id, event.agent_id, ev.OfferOutcome.CALLER_GONE))]
            return []
        match event:
            case ev.OfferMade():
                return self._offered(promise, call_id, event, now)
            case ev.QueueOverflowed(queue_id=queue_id):
                promise.queue_id = queue_id
            case ev.QueueRefused(reason=reason):
                self._entries.pop(call_id)
                promise.entry = None
                return self._fail(promise, reason if reason == "unknown_queue" else "refused", now)
            case _:
                pass
        return []

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _offered(self, promise: Promise, call_id: CallId, offer: ev.OfferMade, now: float) -> list[Decision]:
        asked = promise.asked
        if self._next_open(promise, now) != now:
            # The hour has passed while it waited: to the end of the line of this moment, not of the queue.
            gone = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.WITHDRAWN)
            return [*self._leave(promise), Ask(call_id, gone), *self._wait(promise, now)]
        del self._entries[call_id]
        promise.entry, promise.stage = None, Stage.DIALLED
        promise.attempts += 1
        self._dialled[call_id] = asked.callback_id
        dialled = ev.CallbackDialled(
            at=now,
            callback_id=asked.callback_id,
            attempt=promise.attempts,
            leg_id=LegId(derive(now, "leg", call_id)),
            did=asked.did,
            cli=Cli(CliKind.NUMBER, asked.number),
            caller_country=self._country(asked.number),
            trunk=asked.trunk,
            language=asked.language,
            queue_id=promise.queue_id,
            entered_at=min(now, asked.entered_at),
            priority=asked.priority,
            needs=asked.needs,
            ring_s=RING_S,
            asked_in=asked.call_id,
        )
        return [Dial(call_id, dialled, offer)]

    def not_dialled(self, dial: Dial, now: float) -> list[Decision]:
        """There is no such DID any more: nobody was called."""
        offer = dial.offer
        gone = cmd.EndOffer(offer.offer_id, offer.agent_id, ev.OfferOutcome.CALLER_GONE)
        promise = self.open[self._dialled.pop(dial.call_id)]
        return [Ask(dial.call_id, gone), *self._fail(promise, "unknown_did", now)]

    def over(self, call_id: CallId, call: CalledBack, cause: HangupCause | None, now: float) -> list[Decision]:
        """The call of an attempt has ended."""
        promise = self.open.get(self._dialled.pop(call_id, CallbackId("")))
        if promise is None:
            return []
        if call.talked:
            return self._close(promise)  # the call itself has written that it is done
        if not call.reached:
            return self._missed(promise, cause, now)
        lost = cause is HangupCause.NETWORK_OUT_OF_ORDER  # the media server's, or while there was no controller
        return self._fail(promise, "interrupted" if lost else "left", now)

    def _missed(self, promise: Promise, cause: HangupCause | None, now: float) -> list[Decision]:
        queue = self._queue(promise.asked.queue_id)
        if queue is None or promise.attempts >= queue.callback_attempts:
            return self._fail(promise, "not_reached" if queue is not None else "unknown_queue", now)
        promise.retry_at = now + queue.callback_retry_s
        missed = ev.CallbackMissed(
            at=now,
            callback_id=promise.asked.callback_id,
            attempt=promise.attempts,
            cause=cause,
            retry_at=promise.retry_at,
        )
        return [Noted(missed), *self._wait(promise, now)]


def _timer(promise: Promise) -> str:
    return f"callback:{promise.asked.callback_id}"
