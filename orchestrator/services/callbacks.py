"""Callbacks: what POPs have promised, from their events; scheduled and cancelled by the POP that keeps the promise."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallbackRow, DidRow, QueueRow
from orchestrator.domain.problems import NotFound
from orchestrator.domain.resources import CallbackSpec
from orchestrator.services import commands, scope
from orchestrator.services.context import Services
from pbx.domain import callback_events as ev
from pbx.wire.codec import decode_event
from pbx.wire.messages import CancelCallback, CommandReply, ScheduleCallback

log = logging.getLogger(__name__)


class CallbackState(StrEnum):
    WAITING = "waiting"
    CALLING = "calling"
    REACHED = "reached"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


CLOSED = (CallbackState.DONE, CallbackState.FAILED, CallbackState.CANCELLED)
KINDS = frozenset(kind.__name__ for kind in ev.LEDGER)


async def get(session: AsyncSession, callback_id: str) -> CallbackRow:
    row = await scope.get(session, CallbackRow, callback_id)
    if row is None:
        raise NotFound("callback", callback_id)
    return row


async def schedule(services: Services, spec: CallbackSpec) -> CommandReply:
    async with services.database.read() as session:
        did = await scope.get(session, DidRow, spec.did, named=True)
        if did is None:
            raise NotFound("did", spec.did)
        if await scope.get(session, QueueRow, spec.queue_id, named=True) is None:
            raise NotFound("queue", spec.queue_id)
    command = ScheduleCallback(
        did=spec.did,
        queue_id=spec.queue_id,
        number=spec.number,
        not_before=None if spec.not_before is None else spec.not_before.timestamp(),
        language=spec.language,
        priority=spec.priority,
    )
    return await commands.send(services.bus, did.pop_id, command)


async def cancel(services: Services, callback_id: str) -> None:
    async with services.database.read() as session:
        row = await get(session, callback_id)
    await commands.send(services.bus, row.pop_id, CancelCallback(callback_id=callback_id, by="api"))


async def project(session: AsyncSession, events: Iterable[dict[str, Any]]) -> None:
    """Carry callbacks on by ``events``, rows of the table of events in the order of their POPs' journals. What a row
    has seen already is passed over: batches come more than once."""
    for event in events:
        if event["kind"] not in KINDS:
            continue
        try:
            fact = decode_event(event["kind"], event["data"].encode())
        except msgspec.MsgspecError as error:
            log.error("a %s of POP %s does not fit its kind (%s)", event["kind"], event["pop_id"], error)
            continue
        if isinstance(fact, ev.CallbackEvent):
            await _apply(session, event, fact)


async def _apply(session: AsyncSession, event: dict[str, Any], fact: ev.CallbackEvent) -> None:
    row = await session.get(CallbackRow, fact.callback_id)
    if isinstance(fact, ev.CallbackRequested):
        if row is None:
            session.add(_new(event, fact))
            await session.flush()
        return
    if row is None or (row.journal_id == event["journal_id"] and event["seq"] <= row.seq):
        return
    row.journal_id, row.seq = event["journal_id"], event["seq"]
    match fact:
        case ev.CallbackDialled(attempt=attempt):
            row.state, row.attempts, row.call_id = CallbackState.CALLING, attempt, event["call_id"]
        case ev.CallbackReached():
            row.state = CallbackState.REACHED
        case ev.CallbackMissed(retry_at=retry_at):
            row.state, row.not_before = CallbackState.WAITING, retry_at
        case ev.CallbackDone(agent_id=agent_id):
            row.state, row.agent_id, row.ended_at = CallbackState.DONE, agent_id, fact.at
        case ev.CallbackFailed(reason=reason):
            row.state, row.reason, row.ended_at = CallbackState.FAILED, reason, fact.at
        case ev.CallbackCancelled():
            row.state, row.ended_at = CallbackState.CANCELLED, fact.at
        case _:
            return


def _new(event: dict[str, Any], asked: ev.CallbackRequested) -> CallbackRow:
    return CallbackRow(
        callback_id=asked.callback_id,
        pop_id=event["pop_id"],
        queue_id=asked.queue_id,
        did=asked.did,
        number=asked.number,
        state=CallbackState.WAITING,
        requested_by=asked.by,
        requested_at=asked.at,
        not_before=asked.not_before,
        asked_in=asked.call_id,
        attempts=0,
        journal_id=event["journal_id"],
        seq=event["seq"],
    )
