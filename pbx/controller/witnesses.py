"""Who watches the POP at work: the tally, always, and traces where they are wanted. None of them changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from pbx.controller.call_traces import CallTraces
from pbx.controller.tally import Tally
from pbx.domain.events import Event
from pbx.domain.ids import CallId
from pbx.ports.journal import Journal
from pbx.wire.messages import CommandReply, CommandRequest

Told = Callable[[CommandReply], None]
OpenSpan = Callable[[CommandRequest], AbstractContextManager[Told]]


class Witnesses:
    """``open_span`` makes a span around each command of the centre, which is told the reply."""

    def __init__(self, traces: CallTraces | None = None, open_span: OpenSpan | None = None) -> None:
        self.tally = Tally()
        self.commands: Counter[tuple[str, str]] = Counter()
        """(command, outcome): ``done``, or the error's id."""
        self._traces, self._open_span = traces, open_span

    def listen(self, journal: Journal) -> None:
        journal.on_events(self.tally.heard)
        if self._traces is not None:
            journal.on_events(self._traces.heard)

    def adopted(self, call_id: CallId, events: Sequence[Event]) -> None:
        """A call of the last run that goes on, and what it had done."""
        self.tally.adopted(call_id, events)
        if self._traces is not None:
            self._traces.adopted(call_id, events)

    @contextmanager
    def command(self, request: CommandRequest) -> Iterator[Told]:
        """Around the carrying out of a command; the block tells the reply."""
        name = type(request.command).__name__

        def told(reply: CommandReply) -> None:
            self.commands[name, reply.error_id or "done"] += 1

        if self._open_span is None:
            yield told
            return
        with self._open_span(request) as span:

            def told_both(reply: CommandReply) -> None:
                told(reply)
                span(reply)

            yield told_both
