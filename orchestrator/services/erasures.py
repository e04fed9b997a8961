"""What was erased at a POP, told again to one whose key store came back from a backup."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import EventRow
from pbx.domain.events import RecordingErased
from pbx.wire.messages import ErasedRecordings, ErasedRequest

PAGE = 1000
_erased = msgspec.json.Decoder(RecordingErased)


async def page(database: Database, pop_id: str, asked: ErasedRequest) -> ErasedRecordings:
    """Those of the POP after what it has seen, the oldest first."""
    of_pop = (EventRow.pop_id == pop_id, EventRow.kind == RecordingErased.__name__, EventRow.id > asked.after)
    statement = select(EventRow.id, EventRow.data).where(*of_pop).order_by(EventRow.id).limit(PAGE)
    async with database.read() as session:
        rows = (await session.execute(statement)).all()
    ids = [_erased.decode(data.encode()).recording_id for _, data in rows]
    return ErasedRecordings(recording_ids=list(ids), upto=rows[-1][0] if rows else asked.after, more=len(rows) == PAGE)
