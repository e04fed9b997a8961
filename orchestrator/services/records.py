"""The rows of calls, made anew from all their events: CDRs, recordings, voicemails, and what they count for."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection
from typing import Any, cast

import msgspec
from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db import bulk
from orchestrator.adapters.db.models import CallRow, CorrectionRow, EventRow, RecordingRow
from orchestrator.services import report_rows, units, voicemails
from orchestrator.services.report_sums import Deltas
from pbx.domain.cdr import Cdr
from pbx.domain.ids import CallId
from pbx.wire.codec import project_call
from pbx.wire.messages import EventEnvelope

log = logging.getLogger(__name__)

EVENTS = cast(Table, EventRow.__table__)
CALLS = cast(Table, CallRow.__table__)
RECORDINGS = cast(Table, RecordingRow.__table__)
CHUNK = 500


async def project(
    session: AsyncSession,
    calls: Collection[tuple[str, str]],
    wrapped_up: Collection[str],
    deltas: Deltas,
    *,
    anew: bool = False,
) -> None:
    """Make the rows of these (POP, call) as if they had never been there. ``wrapped_up``: calls of which only an
    agent's wrap-up is new; ``anew``: trust nothing that was made before."""
    ordered = sorted(calls)
    for start in range(0, len(ordered), CHUNK):
        pop_of = {call_id: pop_id for pop_id, call_id in ordered[start : start + CHUNK]}
        records = await _read(session, pop_of)
        gone = pop_of.keys() - records.keys()
        rows = [row for call_id, cdr in records.items() for row in _recording_rows(pop_of[call_id], cdr)]
        await bulk.put(session, CALLS, [call_row(pop_of[call_id], cdr) for call_id, cdr in records.items()])
        if gone:
            await session.execute(delete(CALLS).where(CALLS.c.call_id.in_(gone)))
        kept = [row["recording_id"] for row in rows]
        stale = RECORDINGS.c.call_id.in_(list(pop_of)), RECORDINGS.c.recording_id.not_in(kept)
        await session.execute(delete(RECORDINGS).where(*stale))
        await bulk.put(session, RECORDINGS, rows)
        await units.keep(session, list(records.values()))
        await voicemails.project(session, pop_of, list(records.values()))
        await report_rows.project(session, pop_of, records, deltas, anew=anew)
    rest = sorted(set(wrapped_up) - {call_id for _, call_id in ordered})
    for start in range(0, len(rest), CHUNK):
        await report_rows.wrap_up(session, rest[start : start + CHUNK], deltas)


async def _read(session: AsyncSession, pop_of: dict[str, str]) -> dict[str, Cdr]:
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
    records = {}
    for call_id, history in envelopes.items():
        try:
            records[call_id] = project_call(CallId(call_id), history)
        except msgspec.MsgspecError as error:
            log.error("call %s has an event that does not fit its kind (%s); it has no record", call_id, error)
    for corrected in await session.execute(
        select(CorrectionRow.call_id, CorrectionRow.number).where(
            CorrectionRow.call_id.in_(list(records)), CorrectionRow.number.is_not(None)
        )
    ):
        records[corrected.call_id].cli = corrected.number
    return records


def call_row(pop_id: str, cdr: Cdr) -> dict[str, Any]:
    derived = {"wait_s": cdr.wait_s, "talk_s": cdr.talk_s, "abandoned": cdr.abandoned}
    return {
        "call_id": cdr.call_id,
        "pop_id": pop_id,
        "did": cdr.did,
        "queue_id": cdr.queue_id,
        "agent_id": cdr.agent_id,
        "offered_at": cdr.offered_at,
        "ended_at": cdr.ended_at,
        "cdr": msgspec.json.encode({**msgspec.to_builtins(cdr), **derived}).decode(),
    }


def _recording_rows(pop_id: str, cdr: Cdr) -> list[dict[str, Any]]:
    return [
        {
            "recording_id": recording.recording_id,
            "call_id": cdr.call_id,
            "pop_id": pop_id,
            "started_at": recording.started_at,
            "region": recording.region,
            "duration_ms": recording.duration_ms,
            "size_bytes": recording.size_bytes,
            "sha256": recording.sha256,
            "discarded": recording.discarded,
            "kind": recording.kind,
        }
        for recording in cdr.recordings
    ]
