"""Traces by OpenTelemetry, sent by OTLP over HTTP. Spans are told when they are over, with their times: those of calls
come from events, which have theirs. Imported only where traces are wanted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pbx.wire.telemetry.call_place import Place

Value = str | int | float | bool
Kind = Literal["internal", "server", "client", "consumer"]

QUEUE = 16_384
"""Spans that wait to be sent; what is more is dropped. A call has about ten."""
BATCH = 1024
SEND_EVERY_MS = 1000
SEND_S = 5.0
CLOSE_S = 2.0

_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
_SCOPE = InstrumentationScope("callplane")
_here: ContextVar[Place | None] = ContextVar("span", default=None)


@dataclass(slots=True)
class Open:
    """A span that is not over. ``failed``: why it counts as an error."""

    place: Place
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: str | None = None


class Traces:
    """``ratio``: of how many traces that begin here, and of calls, something is sent."""

    def __init__(self, url: str, service: str, ratio: float = 1.0, **attributes: str) -> None:
        self._resource = Resource.create({"service.name": service, **attributes})
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=url, timeout=SEND_S),
            max_queue_size=QUEUE,
            schedule_delay_millis=SEND_EVERY_MS,
            max_export_batch_size=BATCH,
        )
        self._least = round(ratio * (1 << 64))
        self._propagator = TraceContextTextMapPropagator()

    def here(self) -> Place | None:
        """The span that is open in this task."""
        return _here.get()

    def chosen(self, trace_id: int) -> bool:
        """The same answer at every POP and at the centre, as TraceIdRatioBased has it."""
        return trace_id & ((1 << 64) - 1) < self._least

    def add(
        self,
        place: Place,
        parent: Place | None,
        name: str,
        started_at: float,
        ended_at: float,
        attributes: Mapping[str, Value],
        *,
        kind: Kind = "internal",
        failed: str | None = None,
        links: Sequence[Place] = (),
    ) -> None:
        """Send a span that is over. Times are seconds since the epoch."""
        self._processor.on_end(
            ReadableSpan(
                name,
                _context(place),
                None if parent is None else _context(parent),
                self._resource,
                dict(attributes),
                kind=_KINDS[kind],
                links=[Link(_context(link)) for link in links],
                status=Status(StatusCode.UNSET) if failed is None else Status(StatusCode.ERROR, failed),
                start_time=round(started_at * 1e9),
                end_time=round(max(started_at, ended_at) * 1e9),
                instrumentation_scope=_SCOPE,
            )
        )

    @contextmanager
    def span(self, name: str, kind: Kind, parent: Place, links: Sequence[Place] = ()) -> Iterator[Open]:
        """What is done in the block, below ``parent``."""
        began, made = time.time(), Open(Place(parent.trace_id, _span_id()))
        token = _here.set(made.place)
        try:
            yield made
        except Exception as error:
            made.failed = made.failed or type(error).__name__
            raise
        finally:
            _here.reset(token)
            above = parent if parent.span_id else None
            self.add(
                made.place, above, name, began, time.time(), made.attributes, kind=kind, failed=made.failed, links=links
            )

    def begin(self, traceparent: str | None) -> Place | None:
        """Below which a span begins that somebody asks for; without an asker's place, of a new trace (its span id is
        0). None: nothing of it is to be sent."""
        if traceparent:
            asked = get_current_span(self._propagator.extract({"traceparent": traceparent})).get_span_context()
            if asked.is_valid:
                return Place(asked.trace_id, asked.span_id) if asked.trace_flags.sampled else None
        trace_id = random.getrandbits(128) | 1 << 127
        return Place(trace_id, 0) if self.chosen(trace_id) else None

    def close(self) -> None:
        """Sends what waits. Blocks, for at most ``CLOSE_S``: whoever is not there then does without."""
        closing = threading.Thread(target=self._processor.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _context(place: Place) -> SpanContext:
    return SpanContext(place.trace_id, place.span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _span_id() -> int:
    return random.getrandbits(64) | 1
