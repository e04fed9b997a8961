"""Events of the POPs into the database: each once, with the projections of the calls they belong to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.adapters.bus.client import Bus, BusDown, Delivered
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import EventRow, RejectedBatchRow
from orchestrator.services import agent_times, callbacks, records
from orchestrator.services.report_sums import Deltas
from orchestrator.services.webhook_queue import WebhookQueue
from pbx.wire import subjects
from pbx.wire.messages import EventBatch

log = logging.getLogger(__name__)

EVENTS = cast(Table, EventRow.__table__)
IDENTITY = ("pop_id", "journal_id", "seq")
CHUNK = 500
RETRY_S = 1.0


class Ingest:
    def __init__(
        self, database: Database, bus: Bus, stored: Callable[[], None], webhooks: WebhookQueue | None = None
    ) -> None:
        self._database = database
        self._bus = bus
        self._stored = stored
        """Called after a commit that brought new events."""
        self._webhooks = webhooks
        self._decoder = msgspec.json.Decoder(EventBatch)

    async def run(self) -> None:
        while True:
            await self._bus.wait_connected()
            try:
                messages = await self._bus.next_batches()
                if not messages:
                    continue
                try:
                    await self.store(messages)
                except (SQLAlchemyError, OSError) as error:
                    log.error("events wait on the bus: the database refused them (%s)", type(error).__name__)
                    for message in messages:
                        await message.nak()
                    await asyncio.sleep(RETRY_S)
                    continue
                for message in messages:
                    await message.ack()
            except BusDown:
                await asyncio.sleep(RETRY_S)

    async def store(self, messages: list[Delivered]) -> int:
        """One transaction for all of ``messages``; the number of events that were new."""
        rows: list[dict[str, Any]] = []
        rejected: list[RejectedBatchRow] = []
        for message in messages:
            try:
                rows.extend(self._rows(message))
            except (msgspec.MsgspecError, ValueError) as error:
                log.error("batch %d on %s is unreadable and was set aside", message.sequence, message.subject)
                rejected.append(
                    RejectedBatchRow(
                        subject=message.subject, reason=str(error), payload=message.data, received_at=time.time()
                    )
                )
        new: list[dict[str, Any]] = []
        touched, queued = set[tuple[str, str]](), False
        async with self._database.write(projections=True) as session:
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                stored = set(map(tuple, await self._database.insert_new(session, EVENTS, chunk, IDENTITY)))
                new += _taken(chunk, stored)
            touched.update((row["pop_id"], row["call_id"]) for row in new if row["call_id"] is not None)
            session.add_all(rejected)
            deltas = Deltas()
            wrapped_up = await agent_times.project(session, rows, deltas)
            await records.project(session, touched, wrapped_up, deltas)
            await callbacks.project(session, rows)
            await deltas.store(session)
            if self._webhooks is not None and new:
                queued = await self._webhooks.put(session, new)
        if new:
            self._stored()
        if queued and self._webhooks is not None:
            self._webhooks.wake()
        return len(new)

    def _rows(self, message: Delivered) -> list[dict[str, Any]]:
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


def _taken(rows: list[dict[str, Any]], stored: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Those of ``rows`` that were stored now, each once: a batch may hold one twice."""
    found = []
    for row in rows:
        identity = tuple(row[name] for name in IDENTITY)
        if identity in stored:
            stored.remove(identity)
            found.append(row)
    return found
