"""What is right of a call where its events are wrong or silent (GDPR Art. 16). Events are what was heard, and stay; the
correction lies over them, in the record and in all that is made of it, also when that is made anew."""

from __future__ import annotations

import time

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallRow, CorrectionRow
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Conflict
from orchestrator.domain.rights import CorrectionSpec
from orchestrator.services import calls, records
from orchestrator.services.report_sums import Deltas


async def get(session: AsyncSession, call_id: str) -> CorrectionRow | None:
    """None: nothing was corrected. Raises NotFound for a call that the caller does not see."""
    await calls.get(session, call_id)
    return await session.get(CorrectionRow, call_id)


async def put(session: AsyncSession, call_id: str, spec: CorrectionSpec) -> CorrectionRow | None:
    """In a transaction of projections. Raises Conflict while the call is live: its events would be heard again."""
    call: CallRow = await calls.get(session, call_id)
    if call.ended_at is None:
        raise Conflict("live", "the call is not over yet")
    row = await session.get(CorrectionRow, call_id, with_for_update=True)
    if spec == CorrectionSpec():
        if row is not None:
            await session.delete(row)
        row = None
    else:
        if row is None:
            row = CorrectionRow(call_id=call_id)
            session.add(row)
        row.number, row.name, row.note = spec.number, spec.name, spec.note
        row.corrected_at, row.corrected_by = time.time(), current().name
    await session.flush()
    deltas = Deltas()
    await records.project(session, [(call.pop_id, call_id)], (), deltas, anew=True)
    await deltas.store(session)
    return row
