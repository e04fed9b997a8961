"""Events of the POPs into the database: each once, with the projections of the calls they belong to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import msgspec
from sqlalchemy import Table, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus, BusDown, Delivered
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import CallRow, EventRow, RecordingRow, RejectedBatchRow
from orchestrator.services import callbacks, units, voicemails
from pbx.domain.cdr import Cdr
from pbx.domain.ids import CallId
from pbx.wire import subjects
from pbx.wire.codec import project_call
from pbx.wire.messages import EventBatch, EventEnvelope

log = logging.getLogger(__name__)

EVENTS = cast(Table, EventRow.__table__)
CHUNK = 500
RETRY_S = 1.0


class Ingest:
    def __init__(self, database: Database, bus: Bus, stored: Callable[[], None]) -> None:
        self._database = database
        self._bus = bus
        self._stored = stored
        """Called after a commit that brought new events."""
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
        new, touched = 0, set[tuple[str, str]]()
        async with self._database.write() as session:
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                stored = await self._database.insert_new(session, EVENTS, chunk, ("pop_id", "call_id"))
                new += len(stored)
                touched.update((pop_id, call_id) for pop_id, call_id in stored if call_id is not None)
            session.add_all(rejected)
            await project(session, touched)
            await callbacks.project(session, rows)
        if new:
            self._stored()
        return new

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


async def project(session: AsyncSession, calls: set[tuple[str, str]]) -> None:
    """Make the rows of these (POP, call) anew from all their events, as if they had never been there."""
    ordered = sorted(calls)
    for start in range(0, len(ordered), CHUNK):
        chunk = ordered[start : start + CHUNK]
        pop_of = {call_id: pop_id for pop_id, call_id in chunk}
        found = await session.execute(
            select(EVENTS.c.call_id, EVENTS.c.pop_id, EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.at, EVENTS.c.data)
            .where(EVENTS.c.call_id.in_(list(pop_of)))
            .order_by(EVENTS.c.call_id, EVENTS.c.pop_id, EVENTS.c.journal_id, EVENTS.c.seq)
        )
        envelopes: dict[str, list[EventEnvelope]] = defaultdict(list)
        for call_id, pop_id, seq, kind, at, data in found:
            if pop_of[call_id] == pop_id:
                raw = msgspec.Raw(data.encode())
                envelopes[call_id].append(EventEnvelope(seq=seq, call_id=call_id, kind=kind, at=at, data=raw))
        await session.execute(delete(RecordingRow).where(RecordingRow.call_id.in_(list(envelopes))))
        await session.execute(delete(CallRow).where(CallRow.call_id.in_(list(envelopes))))
        records = []
        for call_id, history in envelopes.items():
            try:
                cdr = project_call(CallId(call_id), history)
            except msgspec.MsgspecError as error:
                log.error("call %s has an event that does not fit its kind (%s); it has no record", call_id, error)
                continue
            session.add(_call_row(pop_of[call_id], cdr))
            session.add_all(_recording_rows(pop_of[call_id], cdr))
            records.append(cdr)
        await units.keep(session, records)
        await voicemails.project(session, pop_of, records)


def _call_row(pop_id: str, cdr: Cdr) -> CallRow:
    return CallRow(
        call_id=cdr.call_id,
        pop_id=pop_id,
        did=cdr.did,
        queue_id=cdr.queue_id,
        agent_id=cdr.agent_id,
        offered_at=cdr.offered_at,
        ended_at=cdr.ended_at,
        cdr={
            **msgspec.to_builtins(cdr),
            "wait_s": cdr.wait_s,
            "talk_s": cdr.talk_s,
            "abandoned": cdr.abandoned,
        },
    )


def _recording_rows(pop_id: str, cdr: Cdr) -> list[RecordingRow]:
    return [
        RecordingRow(
            recording_id=recording.recording_id,
            call_id=cdr.call_id,
            pop_id=pop_id,
            started_at=recording.started_at,
            region=recording.region,
            duration_ms=recording.duration_ms,
            size_bytes=recording.size_bytes,
            sha256=recording.sha256,
            discarded=recording.discarded,
            kind=recording.kind,
        )
        for recording in cdr.recordings
    ]
