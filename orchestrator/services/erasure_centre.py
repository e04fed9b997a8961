"""What an erasure changes in the centre's own tables. Events are what everything is made of: they lose the number, and
what is made of them is made anew, so that ``callplane centre rebuild`` brings nothing back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import (
    CallbackRow,
    CallRow,
    CorrectionRow,
    ErasureStepRow,
    RecordingRow,
    RejectedBatchRow,
    WebhookRow,
)
from orchestrator.domain.grants import calling
from orchestrator.services import holds, records, subject_search
from orchestrator.services.callbacks import CLOSED
from orchestrator.services.erased_numbers import step
from orchestrator.services.records import EVENTS
from orchestrator.services.report_sums import Deltas
from orchestrator.services.subject_search import Found
from pbx.domain.forgetting import ERASED, IsForgotten, forget, without
from pbx.domain.forgetting import holds as names

if TYPE_CHECKING:
    from orchestrator.services.erasing import Erasure

CHUNK = 50
"""Calls of one transaction."""
_SET = update(EVENTS).where(EVENTS.c.id == bindparam("of")).values(data=bindparam("new"))


async def calls(database: Database, erasure: Erasure) -> None:
    """Calls that are over lose the number; of those with the person what was keyed in and looked up goes, too, and each
    recording gets a step."""
    for chunk in await _chunks(database, erasure, "call"):
        async with database.write(projections=True) as session:
            active, now = await holds.active(session, time.time()), time.time()
            done: list[tuple[str, str]] = []
            for row in await _again(session, chunk):
                call = await session.get(CallRow, row.thing)
                if call is None or call.ended_at is None:
                    row.why = "live" if call is not None else "not_heard_of_yet"
                    continue
                if row.detail.get("with"):
                    await _recordings(session, erasure, row, active)
                if (hold_id := active.of_call(row.thing)) is not None:
                    row.state, row.why, row.at = "held", hold_id, now
                    continue
                chosen = EVENTS.c.call_id == row.thing
                changed = await _scrub(session, chosen, erasure.forgotten, personal=bool(row.detail.get("with")))
                if row.detail.get("with"):
                    await session.execute(delete(CorrectionRow).where(CorrectionRow.call_id == row.thing))
                row.detail = {**row.detail, "changed": row.detail.get("changed", 0) + changed}
                row.state, row.why, row.at = "done", None, now
                done.append((call.pop_id, call.call_id))
            await session.flush()
            deltas = Deltas()
            await records.project(session, done, (), deltas, anew=True)
            await deltas.store(session)


async def _recordings(session: AsyncSession, erasure: Erasure, call: ErasureStepRow, active: holds.Holds) -> None:
    rows = await session.scalars(
        select(RecordingRow).where(RecordingRow.call_id == call.thing, ~RecordingRow.discarded)
    )
    for recording in rows:
        key = (erasure.erasure_id, "recording", recording.recording_id)
        if await session.get(ErasureStepRow, key) is not None:
            continue
        where = {"region": recording.region, "kind": recording.kind}
        made = step(*key, pop_id=recording.pop_id, call_id=call.thing, detail=where)
        hold_id = active.of_recording(recording.recording_id, call.thing)
        if hold_id is not None:
            made.state, made.why = "held", hold_id
        session.add(made)


async def callbacks(database: Database, erasure: Erasure) -> None:
    """Those that are over; the POP cancels the others."""
    for chunk in await _chunks(database, erasure, "callback"):
        async with database.write(projections=True) as session:
            active = await holds.active(session, time.time())
            for row in await _again(session, chunk):
                callback = await session.get(CallbackRow, row.thing)
                if callback is not None and callback.state not in CLOSED:
                    row.why = "open"
                    continue
                hold_id = None if callback is None else active.of_call(callback.asked_in or "")
                if hold_id is not None:
                    row.state, row.why, row.at = "held", hold_id, time.time()
                    continue
                events = EVENTS.c.id.in_(row.detail.get("events", []))
                changed = await _scrub(session, events, erasure.forgotten, personal=False)
                if callback is not None and erasure.forgotten(callback.number):
                    callback.number = ERASED
                row.detail = {"events": [], "changed": row.detail.get("changed", 0) + changed}
                row.state, row.why, row.at = "done", None, time.time()


async def messages(database: Database, erasure: Erasure) -> None:
    """Messages for webhooks that wait, are dead or were sent, and batches that nobody could read."""
    for chunk in await _chunks(database, erasure, "deliveries"):
        async with database.write() as session:
            for row in await _again(session, chunk):
                await _deliveries(session, erasure, row)
    for chunk in await _chunks(database, erasure, "batches"):
        async with database.write() as session:
            for row in await _again(session, chunk):
                changed = await _batches(session, erasure.forgotten)
                row.detail = {"changed": row.detail.get("changed", 0) + changed}
                row.state, row.at = "done", time.time()


async def _deliveries(session: AsyncSession, erasure: Erasure, row: ErasureStepRow) -> None:
    others = select(ErasureStepRow).where(ErasureStepRow.erasure_id == erasure.erasure_id)
    steps = list(await session.scalars(others))
    if any(one.state == "pending" and one.kind in ("call", "callback") for one in steps):
        row.why = "calls"  # a call that ends yet tells of itself
        return
    if erasure.number is None:
        row.state, row.at = "done", time.time()
        return
    found = Found(calls={one.thing: "" for one in steps if one.kind == "call"})
    found.callbacks = {one.thing: "" for one in steps if one.kind == "callback"}
    active = await holds.active(session, time.time())
    with calling(erasure.caller):
        of = (erasure.number, erasure.forgotten, found, erasure.pseudonyms)
        rows = await subject_search.deliveries(session, *of)
    free = [one for one in rows if active.of_call(one.subject) is None]
    sent: dict[str, int] = dict(row.detail.get("sent", {}))
    for one in free:
        if one.state == "delivered":
            sent[one.webhook_id] = sent.get(one.webhook_id, 0) + 1
        await session.delete(one)
    hooks = await session.execute(
        select(WebhookRow.webhook_id, WebhookRow.url).where(WebhookRow.webhook_id.in_(sorted(sent)))
    )
    urls = {**row.detail.get("urls", {}), **{hook[0]: hook[1] for hook in hooks}}
    gone = row.detail.get("deleted", 0) + len(free)
    row.detail = {"deleted": gone, "sent": sent, "urls": urls}
    row.state, row.why, row.at = "done", None, time.time()


async def _batches(session: AsyncSession, forgotten: IsForgotten) -> int:
    changed = 0
    for batch in await session.scalars(select(RejectedBatchRow)):
        text = batch.payload.decode("utf-8", "surrogateescape")
        if names(text, forgotten) or names(batch.reason, forgotten):
            batch.payload = without(text, forgotten).encode("utf-8", "surrogateescape")
            batch.reason = without(batch.reason, forgotten)
            changed += 1
    return changed


async def _scrub(session: AsyncSession, chosen: Any, forgotten: IsForgotten, *, personal: bool) -> int:
    rows = await session.execute(select(EVENTS.c.id, EVENTS.c.kind, EVENTS.c.data).where(chosen))
    changed = []
    for event_id, kind, data in rows:
        try:
            new = forget(kind, data.encode(), forgotten, personal=personal)
        except ValueError:
            new = without(data, forgotten).encode()
        if new is not None:
            changed.append({"of": event_id, "new": new.decode()})
    if changed:
        await session.execute(_SET, changed)
    return len(changed)


async def _chunks(database: Database, erasure: Erasure, kind: str) -> Iterable[Sequence[ErasureStepRow]]:
    of = ErasureStepRow.erasure_id == erasure.erasure_id, ErasureStepRow.kind == kind
    async with database.read() as session:
        rows = select(ErasureStepRow).where(*of, ErasureStepRow.state == "pending").order_by(ErasureStepRow.thing)
        found = list(await session.scalars(rows))
    return [found[start : start + CHUNK] for start in range(0, len(found), CHUNK)]


async def _again(session: AsyncSession, chunk: Sequence[ErasureStepRow]) -> list[ErasureStepRow]:
    """The same rows in this transaction, as far as they still are pending."""
    keys = [(row.erasure_id, row.kind, row.thing) for row in chunk]
    found = [await session.get(ErasureStepRow, key) for key in keys]
    return [row for row in found if row is not None and row.state == "pending"]
