"""What is to be sent to webhooks: written in the transaction that stores the events and makes what they tell, so that
either both are there or neither."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from pydantic import ValidationError
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import CallUnitRow
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import (
    AgentRow,
    CallbackRow,
    CallRow,
    DeliveryRow,
    DidRow,
    QueueRow,
    RecordingRow,
    VoicemailRow,
    WebhookRow,
)
from orchestrator.domain.webhook_kinds import ALL, KINDS, About, Kind
from orchestrator.domain.webhook_message import Happened, message_id
from pbx.domain.event_base import Event
from pbx.wire.codec import decode_event

log = logging.getLogger(__name__)

DELIVERIES = cast(Table, DeliveryRow.__table__)
CHUNK = 500
Stored = Mapping[str, Any]
"""A row of the table of events."""
Payload = Callable[[Happened], bytes]
"""The body of a message: what the API shows of it, in its own words. Raises ValidationError where that cannot be."""
_NOUNS: dict[About, tuple[type[Any], str]] = {
    About.CALL: (CallRow, "call_id"),
    About.MOMENT: (CallRow, "call_id"),
    About.RECORDING: (RecordingRow, "recording_id"),
    About.VOICEMAIL: (VoicemailRow, "recording_id"),
    About.CALLBACK: (CallbackRow, "callback_id"),
}
"""What a message is about: its table, and the name of its key in the event."""


@dataclass(frozen=True, slots=True)
class _Hook:
    webhook_id: str
    events: Sequence[str]
    unit_id: str | None
    listens: bool

    def wants(self, kind: Kind) -> bool:
        return (ALL in self.events or kind.name in self.events) and (self.listens or not kind.listened_to)


class WebhookQueue:
    def __init__(
        self, database: Database, payload: Payload, wake: Callable[[], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._payload = payload
        self._clock = clock
        self.wake = wake
        """To be called after the commit."""

    async def put(self, session: AsyncSession, events: Sequence[Stored]) -> bool:
        """Queue what these events, all of them new, are to tell; call it when what is made of them is made. True when
        there is anything to send."""
        columns = WebhookRow.webhook_id, WebhookRow.events, WebhookRow.unit_id, WebhookRow.listens
        hooks = [_Hook(*row) for row in await session.execute(select(*columns).where(WebhookRow.active))]
        wanted = {kind.name for kind in KINDS.values() if any(hook.wants(kind) for hook in hooks)}
        chosen = [row for row in events if row["kind"] in wanted]
        queued = False
        for start in range(0, len(chosen), CHUNK):
            told = await self._read(session, chosen[start : start + CHUNK])
            scoped = any(hook.unit_id is not None for hook in hooks)
            units = await units_of(session, told) if scoped else {}
            rows = [row for one in told for row in self._rows(one, hooks, units.get(one.subject))]
            if rows:
                await self._database.insert_new(session, DELIVERIES, rows, ("id",))
                queued = True
        return queued

    def _rows(self, told: Happened, hooks: Iterable[_Hook], unit_id: str | None) -> list[dict[str, Any]]:
        takers = [
            hook.webhook_id
            for hook in hooks
            if hook.wants(told.kind) and (hook.unit_id is None or hook.unit_id == unit_id)
        ]
        if not takers:
            return []
        try:
            body = self._payload(told).decode()
        except ValidationError:
            log.error("a %s cannot be told to webhooks: what it is about does not fit the API", told.kind.name)
            return []
        return [
            delivery(taker, told.message_id, told.kind.name, told.subject, told.event.at, body, self._clock())
            for taker in takers
        ]

    async def _read(self, session: AsyncSession, events: Sequence[Stored]) -> list[Happened]:
        found = [(row, KINDS[row["kind"]], event) for row in events if (event := _event(row)) is not None]
        keys: dict[type[Any], set[str]] = {}
        for row, kind, event in found:
            if kind.about in _NOUNS:
                keys.setdefault(_NOUNS[kind.about][0], set()).add(_key(row, kind, event))
        things = {noun: await _rows_of(session, noun, wanted) for noun, wanted in keys.items()}
        told = []
        for row, kind, event in found:
            thing = things[_NOUNS[kind.about][0]].get(_key(row, kind, event)) if kind.about in _NOUNS else None
            if thing is None and kind.about is not About.AGENT:
                continue  # it has no record: its events do not fit, or somebody deleted it
            named = message_id(event.at, row["pop_id"], row["journal_id"], row["seq"])
            told.append(Happened(kind, named, row["pop_id"], _subject(row, kind, event), event, thing))
        return told


def delivery(
    webhook_id: str, message: str, kind: str, subject: str, at: float, body: str, now: float
) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "message_id": message,
        "kind": kind,
        "subject": subject,
        "at": at,
        "body": body,
        "state": "waiting",
        "made_at": now,
        "since": now,
        "next_at": now,
        "attempts": 0,
    }


def _event(row: Stored) -> Event | None:
    try:
        return decode_event(row["kind"], row["data"].encode())
    except msgspec.MsgspecError:
        return None  # said where it is stored


def _key(row: Stored, kind: Kind, event: Event) -> str:
    name = _NOUNS[kind.about][1]
    return str(row["call_id"] if name == "call_id" else getattr(event, name))


def _subject(row: Stored, kind: Kind, event: Event) -> str:
    if kind.about in (About.CALLBACK, About.AGENT):
        return str(getattr(event, "callback_id" if kind.about is About.CALLBACK else "agent_id"))
    return str(row["call_id"])


async def _rows_of(session: AsyncSession, noun: type[Any], keys: Collection[str]) -> dict[str, Any]:
    column = next(iter(noun.__table__.primary_key))
    rows = await session.scalars(select(noun).where(column.in_(sorted(keys))))
    return {getattr(row, column.name): row for row in rows}


async def units_of(session: AsyncSession, told: Iterable[Happened]) -> dict[str, str | None]:
    """Subject -> its business unit."""
    calls, agents, callbacks = set[str](), set[str](), dict[str, CallbackRow]()
    for one in told:
        if one.kind.about is About.AGENT:
            agents.add(one.subject)
        elif one.kind.about is About.CALLBACK:
            callbacks[one.subject] = one.row
        else:
            calls.add(one.subject)
    units = await _units(session, CallUnitRow.call_id, CallUnitRow.unit_id, calls)
    units |= await _units(session, AgentRow.agent_id, AgentRow.unit_id, agents)
    queues = await _units(session, QueueRow.queue_id, QueueRow.unit_id, {row.queue_id for row in callbacks.values()})
    dids = await _units(session, DidRow.number, DidRow.unit_id, {row.did for row in callbacks.values()})
    return units | {key: queues.get(row.queue_id) or dids.get(row.did) for key, row in callbacks.items()}


async def _units(session: AsyncSession, key: Any, unit_id: Any, wanted: Collection[str]) -> dict[str, str | None]:
    if not wanted:
        return {}
    rows = (await session.execute(select(key, unit_id).where(key.in_(sorted(wanted))))).all()
    return {row[0]: row[1] for row in rows}
