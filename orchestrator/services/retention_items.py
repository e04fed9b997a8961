"""What is kept, with its age, country and queue, for retention; and how one of them goes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, and_, bindparam, cast, delete, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import CallbackRow, CallRow, ClearedCallRow, CorrectionRow, RecordingRow
from orchestrator.domain.report_facts import country_of
from orchestrator.domain.retention import rules_of
from orchestrator.domain.subject import forms
from orchestrator.services import commands, records
from orchestrator.services.callbacks import CLOSED
from orchestrator.services.pop_names import MARK
from orchestrator.services.records import EVENTS
from orchestrator.services.report_sums import Deltas
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.callback_events import CallbackRequested
from pbx.domain.forgetting import ERASED, cleared
from pbx.wire.messages import EraseRecording, ForgetNumber

PAGE = 200
FORGET_S = 60.0
_SET = update(EVENTS).where(EVENTS.c.id == bindparam("of")).values(data=bindparam("new"))
_SOUNDS = {"recording": "conversation", "voicemail": "voicemail"}
_EVIDENCE = ("ConsentGranted", "ConsentRefused", "VoicemailGranted")
_OF_EVIDENCE: dict[str, Any] = {
    "prompt_id": "", "prompt_sha256": "", "language": "", "digit": None, "played_ms": 0,
    "prompt_ids": [], "prompt_sha256s": [],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    kind: str
    key: str
    """Of a recording, voicemail or callback its id, else the call's."""
    call_id: str
    """Of a callback the one in which it was asked for; without such, that of the last attempt, or empty."""
    pop_id: str
    at: float
    country: str | None
    queue_id: str | None
    caller_country: str | None
    number: str | None
    """Or what the POP calls it."""

    @property
    def rules(self) -> str:
        """The kind whose policies hold."""
        return rules_of(self.kind)


def _item(kind: str, key: str, at: float, call: Any) -> Item:
    number = call.cli
    return Item(
        kind,
        key,
        call.call_id,
        call.pop_id,
        at,
        country_of(call.did),
        call.queue_id,
        call.caller_country,
        number if number is not None and number[:1] in ("+", MARK) else None,
    )


# The database reads the record: a million of them, decoded here, would keep the centre from its callers.
_CALL = (
    CallRow.call_id,
    CallRow.pop_id,
    CallRow.did,
    CallRow.queue_id,
    CallRow.cdr["cli"].as_string().label("cli"),
    CallRow.cdr["caller_country"].as_string().label("caller_country"),
)


_CALLBACK: tuple[Any, ...] = (
    func.coalesce(CallbackRow.asked_in, CallbackRow.call_id, "").label("call_id"),
    CallbackRow.pop_id,
    CallbackRow.did,
    CallbackRow.queue_id,
    CallbackRow.number.label("cli"),
    literal(None).label("caller_country"),
)


async def of_kind(
    session: AsyncSession, kind: str, before: float | None = None, pauses: float = 0.0
) -> AsyncIterator[Item]:
    """All that are kept, the oldest ids first; ``before``: only those that began earlier. ``pauses``: how much longer
    than each page took nothing is done after it, so that whoever asks the centre meanwhile does not wait."""
    after = ""
    while True:
        began = time.monotonic()
        page = _page(kind, after, before)
        rows = (await session.execute(page.limit(PAGE))).all()
        for row in rows:
            yield _item(kind, row.key, row.began, row)
        if len(rows) < PAGE:
            return
        after = rows[-1].key
        await asyncio.sleep(pauses * (time.monotonic() - began))


def _page(kind: str, after: str, before: float | None) -> Any:
    if kind == "callback":
        # From when it was asked for, as a record is from its call: the record of that call had the number, too.
        key, at = CallbackRow.callback_id, CallbackRow.requested_at
        chosen = select(key.label("key"), at.label("began"), *_CALLBACK)
        chosen = chosen.where(CallbackRow.state.in_(CLOSED), CallbackRow.number != ERASED)
    elif kind in _SOUNDS:
        key, at = RecordingRow.recording_id, RecordingRow.started_at
        chosen = select(key.label("key"), at.label("began"), *_CALL).join(
            CallRow, CallRow.call_id == RecordingRow.call_id
        )
        chosen = chosen.where(~RecordingRow.discarded, RecordingRow.kind == _SOUNDS[kind])
    else:
        key, at = CallRow.call_id, CallRow.offered_at  # type: ignore[assignment]
        cleared = exists().where(and_(ClearedCallRow.call_id == CallRow.call_id, ClearedCallRow.kind == kind))
        chosen = select(key.label("key"), at.label("began"), *_CALL).where(CallRow.ended_at.is_not(None), ~cleared)
        if kind == "consent_evidence":
            sounds = exists().where(and_(RecordingRow.call_id == CallRow.call_id, ~RecordingRow.discarded))
            told = cast(CallRow.cdr, Text).contains('"prompt_sha256')
            chosen = chosen.where(told, ~sounds)  # what proves that a recording was allowed stays as long as it does
    chosen = chosen.where(at.is_not(None), key > after).order_by(key)
    return chosen if before is None else chosen.where(at < before)


async def erase_sound(bus: Bus, item: Item) -> None:
    """Raises what ``commands.send`` raises."""
    await commands.send(bus, item.pop_id, EraseRecording(recording_id=item.key, call_id=item.call_id, surely=True))


async def forget_at_pop(bus: Bus, keys: RightsKeys, run_id: str, pop_id: str, items: list[Item]) -> None:
    """Whatever is of a person in these calls, and these callbacks' numbers, out of the POP's journal. Raises what
    ``commands.send`` raises."""
    numbers = {item.number for item in items if item.number is not None and item.number[0] == "+"}
    command = ForgetNumber(
        erasure_id=run_id,
        key=keys.numbers_at(pop_id).hex(),
        digests=sorted({digest for number in numbers for digest in keys.digests_at(pop_id, number)}),
        before=time.time(),
        call_ids=[item.call_id for item in items if item.kind == "cdr"],
        whole=True,
        callback_ids=[item.key for item in items if item.kind == "callback"],
    )
    await commands.send(bus, pop_id, command, FORGET_S)


async def clear(database: Database, kind: str, items: list[Item]) -> None:
    """Records lose all numbers but the dialled one, what was keyed in and looked up, names and notes; evidence what it
    says beyond whether, when and under which rule. The calls stay, and count in reports as before."""
    async with database.write(projections=True) as session:
        for item in items:
            rows = await session.execute(
                select(EVENTS.c.id, EVENTS.c.kind, EVENTS.c.data).where(EVENTS.c.call_id == item.call_id)
            )
            changed = [
                {"of": event_id, "new": new}
                for event_id, event_kind, data in rows
                if (new := _cleared(kind, item, event_kind, data)) is not None
            ]
            if changed:
                await session.execute(_SET, changed)
            if kind == "cdr":
                await session.execute(delete(CorrectionRow).where(CorrectionRow.call_id == item.call_id))
        now = time.time()
        done = [{"call_id": item.call_id, "kind": kind, "at": now} for item in items]
        await session.execute(insert(ClearedCallRow), done)
        deltas = Deltas()
        await records.project(session, [(item.pop_id, item.call_id) for item in items], (), deltas, anew=True)
        await deltas.store(session)


async def clear_callbacks(database: Database, items: list[Item]) -> None:
    """Closed callbacks lose their numbers, here and in the events that they are made anew from."""
    ids = {item.key for item in items}
    first, last = min(item.at for item in items), max(item.at for item in items)
    async with database.write(projections=True) as session:
        for pop_id in sorted({item.pop_id for item in items}):
            # By the index of calls: these events are of none.
            loose = EVENTS.c.call_id.is_(None), EVENTS.c.pop_id == pop_id, EVENTS.c.kind == CallbackRequested.__name__
            chosen = select(EVENTS.c.id, EVENTS.c.data).where(*loose, EVENTS.c.at.between(first - 1, last + 1))
            changed = [
                {"of": event_id, "new": new.decode()}
                for event_id, data in await session.execute(chosen)
                if json.loads(data).get("callback_id") in ids
                and (new := cleared(CallbackRequested.__name__, data.encode(), lambda _number: False)) is not None
            ]
            if changed:
                await session.execute(_SET, changed)
        ordered = sorted(ids)
        for start in range(0, len(ordered), PAGE):
            mine = CallbackRow.callback_id.in_(ordered[start : start + PAGE])
            await session.execute(update(CallbackRow).where(mine).values(number=ERASED))


def _cleared(kind: str, item: Item, event_kind: str, data: str) -> str | None:
    if kind == "cdr":
        number = item.number
        known = frozenset(forms(number)) if number is not None and number[0] == "+" else frozenset[str]()
        new = cleared(event_kind, data.encode(), known.__contains__)
        return None if new is None else new.decode()
    if event_kind not in _EVIDENCE:
        return None
    fact = json.loads(data)
    return json.dumps({name: _OF_EVIDENCE.get(name, value) for name, value in fact.items()}, separators=(",", ":"))
