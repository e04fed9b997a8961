"""A call as spans: what it did, one inside the other, each with its times. Made from its events as they come, so that a
restarted controller that has heard them again goes on with the same. Nothing personal is in them: no number, no
name, no digit, and nobody's id but those of configuration and of offers, by which the API tells the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from pbx.domain import events as ev
from pbx.domain.ids import OfferId

ROOT = "call"
Value = str | int | float | bool


@dataclass(slots=True)
class Span:
    """``key`` is its name within the call, ``parent`` another's key; ``failed``: why it counts as an error."""

    key: str
    parent: str | None
    name: str
    started_at: float
    ended_at: float = 0.0
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: str | None = None


class CallTrace:
    """One call. ``handle`` returns the spans that are over with an event."""

    def __init__(self) -> None:
        self._root: Span | None = None
        self._node: Span | None = None
        self._wait: Span | None = None
        self._talk: Span | None = None
        self._offers: dict[OfferId, Span] = {}
        self._recordings: dict[str, Span] = {}
        self._count = 0

    def handle(self, event: ev.Event) -> list[Span]:
        match event:
            case ev.LegOffered():
                self._root = Span(ROOT, None, "call", event.at, attributes={"call.direction": "inbound"})
            case ev.CallbackDialled() | ev.CallPlaced():
                self._root = Span(ROOT, None, "call", event.at, attributes={"call.direction": "outbound"})
            case ev.FlowStarted() if self._root is not None:
                self._root.attributes |= {"flow.id": event.flow_id, "flow.version": event.version}
            case ev.NodeEntered(node=node):
                over = self._over(self._node, event.at)
                self._node = self._open(f"node {node}", event.at, {"flow.node": node})
                return over
            case ev.QueueJoined() if self._talk is None:
                over = self._over(self._wait, event.at)
                attributes: dict[str, Value] = {"queue.id": event.queue_id, "queue.position": event.position}
                self._wait = self._open("wait", event.at, attributes)
                return over
            case ev.QueueRefused() if self._root is not None and self._wait is None:
                self._root.attributes["queue.refused"] = event.reason
            case ev.QueueRefused(reason=reason) | ev.WaitEnded(reason=reason):
                return self._wait_over(event.at, reason)
            case ev.QueueOverflowed() if self._wait is not None:
                self._wait.attributes["queue.overflowed_to"] = event.queue_id
            case ev.OfferMade():
                above = ROOT if self._wait is None else self._wait.key
                made: dict[str, Value] = {"offer.id": event.offer_id, "queue.id": event.queue_id}
                self._offers[event.offer_id] = self._open("offer", event.at, made, above)
            case ev.OfferEnded(offer_id=offer_id):
                return self._offer_over(self._offers.pop(offer_id, None), event)
            case ev.TalkStarted():
                over = [*self._wait_over(event.at, "answered"), *self._over(self._node, event.at)]
                over += self._over(self._talk, event.at)
                self._node, self._talk = None, self._open("talk", event.at, {"queue.id": event.queue_id})
                return over
            case ev.TalkEnded(reason=reason):
                talk, self._talk = self._talk, None
                return self._over(talk, event.at, {"talk.ended": reason})
            case ev.RecordingStarted():
                self._recordings[event.recording_id] = self._open("recording", event.at, {})
            case ev.RecordingEnded():
                lost = "not placed" if not event.size_bytes and not event.discarded else None
                span = self._recordings.pop(event.recording_id, None)
                return self._over(span, event.at, {"recording.discarded": event.discarded}, lost)
            case ev.CommandFailed(command=command, error=error) if self._root is not None:
                self._root.attributes["media_server.failed"] = f"{command}: {error}"
            case ev.CallEnded():
                return self._ended(event)
        return []

    def _open(self, name: str, at: float, attributes: dict[str, Value], parent: str = ROOT) -> Span:
        self._count += 1
        return Span(f"{self._count}", parent, name, at, attributes=attributes)

    @staticmethod
    def _over(
        span: Span | None, at: float, more: dict[str, Value] | None = None, failed: str | None = None
    ) -> list[Span]:
        if span is None:
            return []
        span.ended_at, span.failed = at, failed
        span.attributes |= more or {}
        return [span]

    def _wait_over(self, at: float, why: str) -> list[Span]:
        wait, self._wait = self._wait, None
        return self._over(wait, at, {"wait.ended": why})

    def _offer_over(self, span: Span | None, event: ev.OfferEnded) -> list[Span]:
        outcome = event.outcome
        fine = outcome in (ev.OfferOutcome.ANSWERED, ev.OfferOutcome.CALLER_GONE, ev.OfferOutcome.WITHDRAWN)
        return self._over(span, event.at, {"offer.outcome": outcome.value}, None if fine else outcome.value)

    def _ended(self, event: ev.CallEnded) -> list[Span]:
        at, reason = event.ended_at, event.reason
        over = self._wait_over(at, reason.value) + self._over(self._node, at) + self._over(self._talk, at)
        for span in (*self._offers.values(), *self._recordings.values()):
            over += self._over(span, at)
        bad = (ev.EndReason.ENGINE_FAILED, ev.EndReason.INTERRUPTED)
        ended: dict[str, Value] = {"call.end_reason": reason.value, "call.cause": int(event.cause)}
        over += self._over(self._root, max(at, event.at), ended, reason.value if reason in bad else None)
        self._root = self._node = self._wait = self._talk = None
        return over
