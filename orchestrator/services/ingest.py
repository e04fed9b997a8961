"""Events of the POPs into the database: each once, with the projections of the calls they belong to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import Table
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from orchestrator.adapters.bus.client import Bus, BusDown, Delivered
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import EventRow, RejectedBatchRow
from orchestrator.services import agent_times, callbacks, ingest_spans, records
from orchestrator.services.erased_numbers import ErasedNumbers
from orchestrator.services.report_sums import Deltas
from orchestrator.services.webhook_queue import WebhookQueue
from pbx.wire import subjects
from pbx.wire.messages import EventBatch
from pbx.wire.telemetry.counts import Histogram

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

log = logging.getLogger(__name__)

EVENTS = cast(Table, EventRow.__table__)
IDENTITY = ("pop_id", "journal_id", "seq")
CHUNK = 500
RETRY_S = 1.0
TRIES = 3
"""So often a batch is tried whose data the database refuses; another writer may have been in the way."""
OF_DATA = frozenset(("21", "22", "23"))
"""Classes of SQLSTATE: cardinality violation, data exception, integrity constraint violation (SQL:2023, table 38)."""


@dataclass(slots=True)
class IngestMeter:
    """What ingest counts."""

    events: Counter[str] = field(default_factory=Counter)
    """POP -> events that were new."""
    lag_s: dict[str, float] = field(default_factory=dict)
    """POP -> seconds from its newest event to the commit, of the last batch."""
    rejected: int = 0
    transactions: Histogram = field(default_factory=Histogram)
    stuck: str | None = "has not begun"
    """Why nothing is stored now."""


class Ingest:
    def __init__(
        self,
        database: Database,
        stored: Callable[[], None],
        webhooks: WebhookQueue | None = None,
        traces: Traces | None = None,
        erased: ErasedNumbers | None = None,
        eraser_wanted: Callable[[], None] = lambda: None,
    ) -> None:
        """``eraser_wanted`` is called after a commit that gave an erasure more to do."""
        self._erased, self._eraser_wanted = erased, eraser_wanted
        self.meter = IngestMeter()
        self._traces = traces
        self._database = database
        self._stored = stored
        """Called after a commit that brought new events."""
        self._webhooks = webhooks
        self._decoder = msgspec.json.Decoder(EventBatch)

    async def run(self, bus: Bus) -> None:
        """What comes over the bus, until cancelled."""
        while True:
            await bus.wait_connected()
            try:
                messages = await bus.next_batches()
                if not messages:
                    self.meter.stuck = None
                    continue
                await self._store_at_last(messages)
                for message in messages:
                    await message.ack()
            except BusDown:
                self.meter.stuck = "the bus is away"
                await asyncio.sleep(RETRY_S)

    async def _store_at_last(self, messages: list[Delivered]) -> None:
        """However long the database is away. Given back to the bus, they would come after newer ones. A message that it
        refuses for what is in it is set aside: those of all other POPs must not wait for it for ever."""
        tries = 0
        while True:
            try:
                await self.store(messages)
            except (SQLAlchemyError, OSError) as error:
                tries += 1
                if is_of_data(error) and tries >= TRIES:
                    await self._apart(messages, error)
                    return
                if self.meter.stuck is None:
                    log.error("events wait: the database refused them (%s)", type(error).__name__)
                self.meter.stuck = "the database refuses events"
                await asyncio.sleep(RETRY_S)
            else:
                self.meter.stuck = None
                return

    async def _apart(self, messages: list[Delivered], error: Exception) -> None:
        """One by one, until the one is found that cannot be stored."""
        if len(messages) > 1:
            for message in messages:
                await self._store_at_last([message])
            return
        [message] = messages
        state = getattr(getattr(error, "orig", None), "sqlstate", None)
        reason = f"the database refused it: {type(error).__name__}, SQLSTATE {state}"
        text = (
            "ALARM batch %d on %s was set aside, its events are missing in records and reports: %s; 'callplane centre"
            " rejected' says which, and tries again"
        )
        log.error(text, message.sequence, message.subject, reason, extra={"pop_id": message.subject.split(".")[1]})
        while True:
            try:
                async with self._database.write() as session:
                    session.add(_set_aside(message, reason))
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(RETRY_S)
            else:
                break
        self.meter.rejected += 1
        self.meter.stuck = None

    async def store(self, messages: list[Delivered]) -> int:
        """One transaction for all of ``messages``; the number of events that were new."""
        began = time.time()
        rows: list[dict[str, Any]] = []
        rejected: list[RejectedBatchRow] = []
        for message in messages:
            try:
                rows.extend(self.rows(message))
            except (msgspec.MsgspecError, ValueError) as error:
                pop_id = message.subject.split(".")[1]
                text = "batch %d on %s is unreadable and was set aside ('callplane centre rejected' lists it)"
                log.error(text, message.sequence, message.subject, extra={"pop_id": pop_id})
                rejected.append(_set_aside(message, str(error)))
        new: list[dict[str, Any]] = []
        queued = joined = False
        async with self._database.write(projections=True) as session:
            if self._erased is not None:
                joined = await self._erased.take(session, rows)
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                stored = set(map(tuple, await self._database.insert_new(session, EVENTS, chunk, IDENTITY)))
                new += _taken(chunk, stored)
            session.add_all(rejected)
            deltas = Deltas()
            # Only what is new: an agent's events are in the journals of several POPs, and only of the last of them it
            # is known how far they were taken.
            wrapped_up = await agent_times.project(session, new, deltas)
            touched = Counter((row["pop_id"], row["call_id"]) for row in new if row["call_id"] is not None)
            projecting = time.time()
            await records.project(session, touched.keys(), wrapped_up, deltas)
            projected = time.time()
            await callbacks.project(session, rows)
            await deltas.store(session)
            if self._webhooks is not None and new:
                queued = await self._webhooks.put(session, new)
        if new:
            self._stored()
        if joined:
            self._eraser_wanted()
        if queued and self._webhooks is not None:
            self._webhooks.wake()
        self._count(rows, new, len(rejected), time.time() - began)
        if self._traces is not None:
            ingest_spans.send(self._traces, touched, (began, time.time()), (projecting, projected))
        return len(new)

    def _count(self, rows: list[dict[str, Any]], new: list[dict[str, Any]], rejected: int, s: float) -> None:
        meter, now = self.meter, time.time()
        for row in new:
            meter.events[row["pop_id"]] += 1
        newest: dict[str, float] = {}
        for row in rows:
            newest[row["pop_id"]] = max(row["at"], newest.get(row["pop_id"], 0.0))
        meter.lag_s.update({pop_id: max(0.0, now - at) for pop_id, at in newest.items()})
        meter.rejected += rejected
        meter.transactions.observe(s)

    def rows(self, message: Delivered) -> list[dict[str, Any]]:
        """Of the table of events. Raises MsgspecError or ValueError: it is no batch of that POP."""
        batch = self._decoder.decode(message.data)
        if subjects.events(batch.pop_id) != message.subject:
            raise ValueError("the batch names another POP than its subject")
        return [
            {
                "pop_id": batch.pop_id,
                "journal_id": batch.journal_id,
                "seq": event.seq,
                "call_id": event.call_id,
                "kind": event.kind,
                "at": event.at,
                "data": bytes(event.data).decode(),
            }
            for event in batch.events
        ]


def is_of_data(error: Exception) -> bool:
    """Whether the database is well, and what is to be stored is at fault."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, DataError | IntegrityError) or (isinstance(state, str) and state[:2] in OF_DATA)


def _set_aside(message: Delivered, reason: str) -> RejectedBatchRow:
    return RejectedBatchRow(subject=message.subject, reason=reason, payload=message.data, received_at=time.time())


def _taken(rows: list[dict[str, Any]], stored: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Those of ``rows`` that were stored now, each once: a batch may hold one twice."""
    found = []
    for row in rows:
        identity = tuple(row[name] for name in IDENTITY)
        if identity in stored:
            stored.remove(identity)
            found.append(row)
    return found
