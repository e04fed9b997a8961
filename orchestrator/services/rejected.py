"""What ingest set aside, looked at and given a second chance: ``callplane centre rejected``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.adapters.bus.client import Delivered
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import RejectedBatchRow
from orchestrator.services.ingest import Ingest, is_of_data


@dataclass(frozen=True, slots=True)
class Batch:
    batch_id: int
    pop_id: str
    received_at: float
    reason: str
    events: int | None
    """None: it cannot be read."""
    calls: frozenset[str] = frozenset()


@dataclass(slots=True)
class Again:
    batches: int = 0
    events: int = 0
    """That were new."""
    left: int = 0


async def batches(database: Database, ingest: Ingest) -> list[Batch]:
    """All that are set aside, the oldest first."""
    return [_told(ingest, row) async for row in _rows(database)]


async def store(database: Database, ingest: Ingest, told: Callable[[str], None] = lambda line: None) -> Again:
    """Each once more, in a transaction of its own; what is stored is no longer aside. It may run beside a working
    centre, and again after it was cut off. Raises SQLAlchemyError where the database is away."""
    done = Again()
    async for row in _rows(database):
        batch = _told(ingest, row)
        if batch.events is None:
            done.left += 1
            told(f"{batch.batch_id}: cannot be read ({batch.reason})")
            continue
        try:
            new = await ingest.store([Delivered(row.subject, row.payload, row.id)])
        except SQLAlchemyError as error:
            if not is_of_data(error):
                raise
            done.left += 1
            told(f"{batch.batch_id}: the database refuses it again ({type(error).__name__})")
            continue
        async with database.write() as session:
            await session.execute(delete(RejectedBatchRow).where(RejectedBatchRow.id == row.id))
        done.batches, done.events = done.batches + 1, done.events + new
        told(f"{batch.batch_id}: {new} of {batch.events} events of {batch.pop_id} were new, and are stored")
    return done


async def _rows(database: Database) -> AsyncIterator[RejectedBatchRow]:
    """One at a time: they are as large as the bus lets them be."""
    after = 0
    while True:
        async with database.read() as session:
            chosen = select(RejectedBatchRow).where(RejectedBatchRow.id > after).order_by(RejectedBatchRow.id).limit(1)
            row = await session.scalar(chosen)
        if row is None:
            return
        after = row.id
        yield row


def _told(ingest: Ingest, row: RejectedBatchRow) -> Batch:
    pop_id = row.subject.split(".")[1]
    try:
        events = ingest.rows(Delivered(row.subject, row.payload, row.id))
    except (msgspec.MsgspecError, ValueError):
        return Batch(row.id, pop_id, row.received_at, row.reason, None)
    calls = frozenset(event["call_id"] for event in events if event["call_id"] is not None)
    return Batch(row.id, pop_id, row.received_at, row.reason, len(events), calls)
