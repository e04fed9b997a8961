"""Spans of all calls of this POP, from the events on their way to the journal; with the wrap-ups, which are agents'."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pbx.domain import events as ev
from pbx.domain.agent import State
from pbx.domain.call_trace import ROOT, CallTrace, Span
from pbx.domain.ids import AgentId, CallId

Send = Callable[[CallId, Span], None]


class CallTraces:
    """``chosen``: whether a call has a trace at all."""

    def __init__(self, send: Send, chosen: Callable[[CallId], bool]) -> None:
        self._send, self._chosen = send, chosen
        self._calls: dict[CallId, CallTrace] = {}
        self._talks: dict[AgentId, CallId] = {}
        """The last conversation of an agent whose wrap-up is to come."""
        self._wrap_ups: dict[AgentId, tuple[CallId, float]] = {}

    def heard(self, call_id: CallId | None, events: Sequence[ev.Event]) -> None:
        for event in events:
            if isinstance(event, ev.AgentChanged):
                self._agent(event)
            elif call_id is not None:
                for span in self._handle(call_id, event):
                    self._send(call_id, span)

    def adopted(self, call_id: CallId, events: Sequence[ev.Event]) -> None:
        """A call of the last run goes on: the spans that were over then were sent then."""
        for event in events:
            self._handle(call_id, event)

    def _handle(self, call_id: CallId, event: ev.Event) -> list[Span]:
        trace = self._calls.get(call_id)
        if trace is None:
            if not isinstance(event, ev.CallBegun) or not self._chosen(call_id):
                return []
            trace = self._calls[call_id] = CallTrace()
        if isinstance(event, ev.TalkStarted):
            self._talks[event.agent_id] = call_id
        elif isinstance(event, ev.CallEnded):
            del self._calls[call_id]
        return trace.handle(event)

    def _agent(self, event: ev.AgentChanged) -> None:
        agent_id = event.agent_id
        if event.state == State.WRAP_UP.value:
            if (call_id := self._talks.pop(agent_id, None)) is not None:
                self._wrap_ups[agent_id] = call_id, event.at
        elif (began := self._wrap_ups.pop(agent_id, None)) is not None:
            call_id, at = began
            self._send(call_id, Span(f"wrap-up {at}", ROOT, "wrap-up", at, event.at))
