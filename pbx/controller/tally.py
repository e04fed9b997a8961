"""Counts of what happened at this POP since the controller started, from the events on their way to the journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pbx.domain import events as ev
from pbx.domain.ids import CallId, QueueId
from pbx.wire.telemetry.counts import WAIT_S, Histogram

_NO_QUEUE = QueueId("")


@dataclass(slots=True)
class _Call:
    """What decides whether a caller who hangs up now has abandoned; see ``Cdr.abandoned``."""

    queue_id: QueueId = _NO_QUEUE
    since: float = 0.0
    """When it entered that queue."""
    waits: bool = False
    talks: bool = False
    """With an agent: a queue that it joins meanwhile is consulted."""
    talked: bool = False
    waited: bool = False
    """Before anybody talked to the caller."""
    served: bool = False
    """The last conversation did not end by handing the caller on."""
    settled: bool = False
    """Promised a callback, left a message, or talked to an outside number."""


class QueueCounts:
    """Of one queue. A caller who is handed on to it has entered it, too."""

    __slots__ = ("abandoned", "answered", "entered", "overflowed", "refused", "waits", "waits_abandoned")

    def __init__(self) -> None:
        self.entered = self.answered = self.abandoned = self.overflowed = 0
        self.refused: Counter[str] = Counter()
        self.waits = Histogram(WAIT_S)
        """Seconds that callers waited who were answered."""
        self.waits_abandoned = Histogram(WAIT_S)


class Tally:
    """Abandoned is who ``Cdr.abandoned`` says it is. Plain integers: an event costs a look into a dict."""

    def __init__(self) -> None:
        self.queues: defaultdict[QueueId, QueueCounts] = defaultdict(QueueCounts)
        self.begun: Counter[str] = Counter({"inbound": 0, "outbound": 0})
        self.ended: Counter[str] = Counter({reason.value: 0 for reason in ev.EndReason})
        self.offers: Counter[str] = Counter({outcome.value: 0 for outcome in ev.OfferOutcome})
        self.recordings: Counter[str] = Counter({"started": 0, "placed": 0, "destroyed": 0, "failed": 0})
        self.consents: Counter[str] = Counter({"granted": 0, "refused": 0})
        self.failed_commands: Counter[str] = Counter()
        self.failed_lookups: Counter[str] = Counter()
        self._calls: defaultdict[CallId, _Call] = defaultdict(_Call)
        """Those that have entered a queue."""
        self._hear: dict[type[ev.Event], Callable[[CallId, Any], None]] = {
            ev.LegOffered: self._offered,
            ev.CallbackDialled: self._dialled,
            ev.CallPlaced: lambda call_id, event: self.begun.update(("outbound",)),
            ev.CallbackReached: self._reached,
            ev.QueueJoined: self._joined,
            ev.QueueRefused: self._refused,
            ev.QueueOverflowed: self._overflowed,
            ev.TalkStarted: self._talk_started,
            ev.TalkEnded: self._talk_ended,
            ev.ParkEnded: self._park_ended,
            ev.ForwardAnswered: self._settled,
            ev.CallbackPromised: self._settled,
            ev.VoicemailLeft: self._settled,
            ev.OfferEnded: self._offer_ended,
            ev.RecordingStarted: self._recording_started,
            ev.RecordingEnded: self._recording_ended,
            ev.ConsentGranted: lambda call_id, event: self.consents.update(("granted",)),
            ev.ConsentRefused: lambda call_id, event: self.consents.update(("refused",)),
            ev.CommandFailed: self._command_failed,
            ev.LookupEnded: self._looked_up,
            ev.CallEnded: self._ended,
        }

    def heard(self, call_id: CallId | None, events: Sequence[ev.Event]) -> None:
        """Events on their way to the journal."""
        if call_id is None:
            return
        hear = self._hear
        for event in events:
            told = hear.get(type(event))
            if told is not None:
                told(call_id, event)

    def adopted(self, call_id: CallId, events: Sequence[ev.Event]) -> None:
        """A call of the last run goes on: what it is doing is known, what it did was counted then."""
        before = Tally()
        before.heard(call_id, events)
        self._calls.update(before._calls)

    def _offered(self, call_id: CallId, event: ev.LegOffered) -> None:
        self.begun["inbound"] += 1

    def _dialled(self, call_id: CallId, event: ev.CallbackDialled) -> None:
        self.begun["outbound"] += 1
        self._calls[call_id].queue_id = event.queue_id

    def _reached(self, call_id: CallId, event: ev.CallbackReached) -> None:
        """A customer who is called back waits from here on."""
        self._enters(self._calls[call_id], self._calls[call_id].queue_id, event.at)

    def _joined(self, call_id: CallId, event: ev.QueueJoined) -> None:
        call = self._calls[call_id]
        if not call.talks and not (event.again and call.waits):
            self._enters(call, event.queue_id, event.at)

    def _enters(self, call: _Call, queue_id: QueueId, at: float) -> None:
        self.queues[queue_id].entered += 1
        call.queue_id, call.since, call.waits = queue_id, at, True
        call.waited |= not call.talked

    def _refused(self, call_id: CallId, event: ev.QueueRefused) -> None:
        self.queues[event.queue_id].refused[event.reason] += 1

    def _overflowed(self, call_id: CallId, event: ev.QueueOverflowed) -> None:
        self.queues[event.from_queue_id].overflowed += 1
        call = self._calls[call_id]
        if call.waits:
            call.queue_id = event.queue_id

    def _talk_started(self, call_id: CallId, event: ev.TalkStarted) -> None:
        call = self._calls[call_id]
        if call.waits:
            counts = self.queues[call.queue_id]
            counts.answered += 1
            counts.waits.observe(event.at - call.since)
        call.waits, call.talks, call.talked, call.served = False, True, True, True

    def _talk_ended(self, call_id: CallId, event: ev.TalkEnded) -> None:
        call = self._calls[call_id]
        call.talks, call.since = False, event.at
        call.served = event.reason != "transferred"

    def _park_ended(self, call_id: CallId, event: ev.ParkEnded) -> None:
        if event.reason == "timed_out":
            self._calls[call_id].served = False

    def _settled(self, call_id: CallId, event: ev.Event) -> None:
        call = self._calls[call_id]
        call.settled, call.waits = True, False

    def _offer_ended(self, call_id: CallId, event: ev.OfferEnded) -> None:
        self.offers[event.outcome.value] += 1

    def _recording_started(self, call_id: CallId, event: ev.RecordingStarted) -> None:
        self.recordings["started"] += 1

    def _recording_ended(self, call_id: CallId, event: ev.RecordingEnded) -> None:
        placed = "placed" if event.size_bytes else "failed"
        self.recordings["destroyed" if event.discarded else placed] += 1

    def _command_failed(self, call_id: CallId, event: ev.CommandFailed) -> None:
        self.failed_commands[event.command] += 1
        if event.command == "StartRecording":
            self.recordings["failed"] += 1

    def _looked_up(self, call_id: CallId, event: ev.LookupEnded) -> None:
        if event.error:
            self.failed_lookups[event.error] += 1

    def _ended(self, call_id: CallId, event: ev.CallEnded) -> None:
        self.ended[event.reason.value] += 1
        call = self._calls.pop(call_id, None)
        if call is None or event.reason is not ev.EndReason.CALLER_HUNG_UP:
            return
        if call.waited and not (call.talks or call.served or call.settled):
            counts = self.queues[call.queue_id]
            counts.abandoned += 1
            counts.waits_abandoned.observe(max(0.0, event.ended_at - call.since))
