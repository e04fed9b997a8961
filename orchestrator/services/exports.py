"""All data of a number, read for an export (GDPR Art. 15, 20), within what the caller sees.

Of calls with the person all is told; of others only the facts that name the number, for the rest of them is somebody
else's (Art. 15(4)).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import (
    CallbackRow,
    CallRow,
    CorrectionRow,
    DeliveryRow,
    EventRow,
    PopRow,
    RecordingRow,
    VoicemailRow,
)
from orchestrator.services import scope, subject_search
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.forgetting import Forgotten

CHUNK = 500
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class SubjectData:
    calls: Sequence[CallRow]
    corrections: Sequence[CorrectionRow]
    events: Sequence[EventRow]
    callbacks: Sequence[CallbackRow]
    voicemails: Sequence[VoicemailRow]
    recordings: Sequence[RecordingRow]
    messages: Sequence[DeliveryRow]


async def pops(session: AsyncSession) -> list[str]:
    """Whom to ask for what they call the number: those that the caller sees."""
    return [pop.pop_id for pop in await session.scalars(scope.limited(select(PopRow)))]


async def read(session: AsyncSession, keys: RightsKeys, number: str, pseudonyms: Sequence[str]) -> SubjectData:
    """``pseudonyms``: what POPs of strict regions call the number."""
    named = Forgotten(keys.numbers, keys.digests(number), pseudonyms)
    found = await subject_search.search(session, number, named, pseudonyms=pseudonyms)
    naming = {event for call, events in found.naming.items() if call not in found.party for event in events}
    naming |= {event for events in found.loose.values() for event in events}
    events = await _all(session, EventRow, EventRow.call_id, found.party)
    events += await _all(session, EventRow, EventRow.id, naming)
    return SubjectData(
        calls=await _all(session, CallRow, CallRow.call_id, found.party),
        corrections=await _all(session, CorrectionRow, CorrectionRow.call_id, found.party),
        events=sorted(events, key=lambda row: row.id),
        callbacks=await _all(session, CallbackRow, CallbackRow.callback_id, found.callbacks),
        voicemails=await _all(session, VoicemailRow, VoicemailRow.call_id, found.party),
        recordings=await _all(session, RecordingRow, RecordingRow.call_id, found.party),
        messages=await subject_search.deliveries(session, number, named, found, pseudonyms),
    )


async def _all(session: AsyncSession, entity: type[Row], column: Any, keys: Collection[Any]) -> list[Row]:
    ordered, rows = sorted(keys), list[Row]()
    for start in range(0, len(ordered), CHUNK):
        rows += await session.scalars(select(entity).where(column.in_(ordered[start : start + CHUNK])))
    return rows
