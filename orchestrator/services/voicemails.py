"""Voicemails: which there are, who has heard them, and their end."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import RecordingRow, VoicemailRow
from orchestrator.domain.problems import NotFound, PopRefused
from orchestrator.services import commands, holds, scope
from orchestrator.services.context import Services
from pbx.domain.cdr import Cdr
from pbx.wire.messages import EraseRecording

log = logging.getLogger(__name__)


async def get(session: AsyncSession, voicemail_id: str, *, to_change: bool = False) -> VoicemailRow:
    row = await scope.get(session, VoicemailRow, voicemail_id, to_change=to_change)
    if row is None or row.deleted_at is not None:
        raise NotFound("voicemail", voicemail_id)
    return row


async def hear(services: Services, voicemail_id: str) -> None:
    """The first time counts."""
    async with services.database.write() as session:
        row = await get(session, voicemail_id, to_change=True)
        row.heard_at = time.time() if row.heard_at is None else row.heard_at


async def delete(services: Services, voicemail_id: str) -> None:
    """Its POP destroys the recording first, if no legal hold keeps it; one that is there no longer is no obstacle."""
    async with services.database.read() as session:
        row = await get(session, voicemail_id)
        recording = await session.get(RecordingRow, voicemail_id)
        if recording is not None:
            await holds.refuse_held(session, services.rights, services.names, recording)
    erase = EraseRecording(recording_id=row.voicemail_id, call_id=row.call_id)
    try:
        await commands.send(services.bus, row.pop_id, erase)
    except PopRefused as refused:
        if refused.error_id != "unknown_recording":
            raise
        log.warning("voicemail %s was at its POP no longer when it was deleted", voicemail_id)
    async with services.database.write() as session:
        again = await session.get(VoicemailRow, voicemail_id, with_for_update=True)
        if again is not None:
            again.deleted_at = time.time()


async def project(session: AsyncSession, pop_of: Mapping[str, str], records: Collection[Cdr]) -> None:
    """Bring the rows of these calls up to date, in place: what is known of them here stays."""
    calls = [cdr.call_id for cdr in records]
    found = await session.scalars(select(VoicemailRow).where(VoicemailRow.call_id.in_(calls)).with_for_update())
    there = {row.voicemail_id: row for row in found}
    for cdr in records:
        recordings = {one.recording_id: one for one in cdr.recordings if not one.discarded}
        for message in cdr.voicemails:
            recording = recordings.get(message.recording_id or "")
            if message.left_at is None or recording is None:
                continue
            row = there.pop(recording.recording_id, None)
            if row is None:
                row = VoicemailRow(voicemail_id=recording.recording_id, call_id=cdr.call_id)
                session.add(row)
            row.pop_id, row.mailbox = pop_of[cdr.call_id], message.mailbox
            row.did, row.cli = cdr.did, cdr.cli
            row.left_at, row.ended_by = message.left_at, message.ended_by or ""
            row.region, row.duration_ms = recording.region, recording.duration_ms
    for gone in there.values():
        await session.delete(gone)
