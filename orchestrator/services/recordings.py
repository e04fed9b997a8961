"""Recordings: the centre has their metadata; their bytes stay at the POP and pass through on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.models import RecordingRow
from orchestrator.domain.problems import NotFound, PopRefused
from orchestrator.services import commands, scope
from pbx.wire.messages import EraseRecording, ReadRecording

CHUNK = 512 * 1024


async def get(session: AsyncSession, recording_id: str) -> RecordingRow:
    row = await scope.get(session, RecordingRow, recording_id)
    if row is None:
        raise NotFound("recording", recording_id)
    return row


async def erase(bus: Bus, row: RecordingRow) -> None:
    """Its POP destroys it and says so by an event. Raises PopRefused and what ``commands.send`` raises: then it is
    still there."""
    await commands.send(bus, row.pop_id, EraseRecording(recording_id=row.recording_id, call_id=row.call_id))


@dataclass(frozen=True, slots=True)
class Content:
    """A recording's bytes from ``offset``; ``first`` is the beginning of them, read already."""

    total_size: int
    offset: int
    first: bytes
    minors: bool = False


async def open_content(
    bus: Bus, row: RecordingRow, offset: int, length: int | None, *, minors: bool = False
) -> Content:
    """``minors``: it is of one, and the caller may open it."""
    asked = CHUNK if length is None else min(CHUNK, length)
    command = ReadRecording(recording_id=row.recording_id, offset=offset, length=asked, minors=minors)
    reply = await commands.send(bus, row.pop_id, command)
    return Content(reply.total_size, offset, reply.blob, minors)


async def rest(bus: Bus, row: RecordingRow, content: Content, end: int) -> AsyncIterator[bytes]:
    """The bytes up to ``end`` (exclusive), ``first`` included."""
    at = content.offset
    chunk = content.first[: end - at]
    while True:
        yield chunk
        at += len(chunk)
        if at >= end:
            return
        command = ReadRecording(
            recording_id=row.recording_id, offset=at, length=min(CHUNK, end - at), minors=content.minors
        )
        chunk = (await commands.send(bus, row.pop_id, command)).blob
        if not chunk:
            raise PopRefused("recording_cut", f"the recording ended at byte {at} of {end}")
