"""The POP's spans on their way out: where each is in its trace, and that of a command of the centre."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbx.domain.call_trace import Span
from pbx.domain.ids import CallId
from pbx.wire.messages import CommandReply, CommandRequest
from pbx.wire.telemetry.call_place import place_of, trace_of

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces


class CallSpans:
    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    def chosen(self, call_id: CallId) -> bool:
        trace_id = trace_of(call_id)
        return trace_id is not None and self._traces.chosen(trace_id)

    def send(self, call_id: CallId, span: Span) -> None:
        place = place_of(call_id, span.key)
        if place is not None:
            parent = None if span.parent is None else place_of(call_id, span.parent)
            self._traces.add(
                place, parent, span.name, span.started_at, span.ended_at, span.attributes, failed=span.failed
            )

    @contextmanager
    def command(self, request: CommandRequest) -> Iterator[Callable[[CommandReply], None]]:
        """A span below that of who asked, which points at the call it is about."""
        above = self._traces.begin(request.traceparent)
        if above is None:
            yield lambda reply: None
            return
        call = place_of(getattr(request.command, "call_id", ""))
        name = f"command {type(request.command).__name__}"
        with self._traces.span(name, "server", above, [call] if call is not None else []) as span:
            if call is not None:
                span.attributes["call.id"] = str(request.command.call_id)  # type: ignore[union-attr]

            def told(reply: CommandReply) -> None:
                if reply.error_id is not None:
                    span.attributes["error.id"] = span.failed = reply.error_id

            yield told
