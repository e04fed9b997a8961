"""What a hold or a mark is about: all calls with a number, one call, or one recording."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallRow, HoldRow, MinorMarkRow, RecordingRow
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Forbidden, NotFound
from orchestrator.domain.rights import OneOf
from orchestrator.services import scope
from orchestrator.services.rights_keys import RightsKeys


async def subject_of(
    session: AsyncSession, keys: RightsKeys, row: HoldRow | MinorMarkRow, spec: OneOf, sealed_as: str
) -> None:
    """Write it to ``row``, a number sealed under ``sealed_as``. Raises NotFound for what the caller does not see, and
    Forbidden for a number where the caller sees a part only: it counts everywhere."""
    if spec.number is not None:
        if not current().whole:
            raise Forbidden("a number is one in all units and regions, and needs a grant for all of them")
        row.kind, row.digest = "number", keys.subject(spec.number)
        row.number = keys.seal(spec.number, sealed_as)
    elif spec.call_id is not None:
        call = await scope.get(session, CallRow, spec.call_id)
        if call is None:
            raise NotFound("call", spec.call_id)
        row.kind, row.call_id, row.pop_id = "call", call.call_id, call.pop_id
    else:
        recording = await scope.get(session, RecordingRow, spec.recording_id or "")
        if recording is None:
            raise NotFound("recording", spec.recording_id or "")
        row.kind, row.recording_id = "recording", recording.recording_id
        row.call_id, row.pop_id = recording.call_id, recording.pop_id
