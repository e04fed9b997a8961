"""All that the centre has of a number, within what the caller sees. Events are searched as text: the number is found
wherever it stands, in kinds, too, that this version does not know. That reads every event (some seconds a million), and
happens as seldom as somebody exercises a right.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallbackRow, CallRow, CorrectionRow, DeliveryRow, EventRow
from orchestrator.domain.grants import current
from orchestrator.domain.subject import core
from orchestrator.services import scope
from pbx.domain.forgetting import IsForgotten, holds

SPAN = 100_000
"""Ids of events that one statement looks through."""
CHUNK = 500


@dataclass(slots=True)
class Found:
    calls: dict[str, str] = field(default_factory=dict)
    """Call -> its POP, of all that name the number."""
    party: set[str] = field(default_factory=set)
    """Calls that were with the person."""
    callbacks: dict[str, str] = field(default_factory=dict)
    """Callback -> its POP."""
    loose: dict[str, list[int]] = field(default_factory=dict)
    """Events of no call, by their callback; the empty one: of nothing else."""
    naming: dict[str, list[int]] = field(default_factory=dict)
    """Events of a call that name the number."""


async def search(
    session: AsyncSession,
    number: str,
    named: IsForgotten,
    until: float | None = None,
    pseudonyms: Sequence[str] = (),
) -> Found:
    """``named``: whether a text that may be a number is a form of this one. ``until``: facts up to this time.
    ``pseudonyms``: what POPs of strict regions call it."""
    found = Found()
    async for row in _events(session, number, until, pseudonyms):
        if not holds(row.data, named):
            continue
        if row.call_id is not None:
            found.calls[row.call_id] = row.pop_id
            found.naming.setdefault(row.call_id, []).append(row.id)
        else:
            callback_id = _callback_of(row.data)
            found.loose.setdefault(callback_id, []).append(row.id)
    await _callbacks(session, (number, *pseudonyms), found)
    chosen: Any = select(CallRow.call_id, CallRow.pop_id)
    mended: Select[Any] = chosen.join(CorrectionRow, CorrectionRow.call_id == CallRow.call_id)
    corrected = scope.limited(mended.where(CorrectionRow.number == number))
    for call_id, pop_id in await session.execute(corrected):
        found.calls[call_id] = pop_id
    found.party = await party(session, found.calls, (number, *pseudonyms))
    return found


async def party(session: AsyncSession, calls: Collection[str], names: Collection[str]) -> set[str]:
    """Those of the calls whose record is with the number."""
    ordered, with_person = sorted(calls), set[str]()
    for start in range(0, len(ordered), CHUNK):
        rows = select(CallRow.call_id, CallRow.cdr).where(CallRow.call_id.in_(ordered[start : start + CHUNK]))
        with_person |= {call_id for call_id, cdr in await session.execute(rows) if cdr.get("cli") in names}
    return with_person


async def _events(
    session: AsyncSession, number: str, until: float | None, pseudonyms: Sequence[str]
) -> AsyncIterator[Any]:
    first, last = (await session.execute(select(func.min(EventRow.id), func.max(EventRow.id)))).one()
    columns = select(EventRow.id, EventRow.pop_id, EventRow.call_id, EventRow.data)
    wanted = columns.where(_in(EventRow.data, number, pseudonyms))
    if (seen := _seen()) is not None:
        wanted = wanted.where(seen)
    if until is not None:
        wanted = wanted.where(EventRow.at <= until)
    for start in range(first or 0, (last or -1) + 1, SPAN):
        page = wanted.where(EventRow.id >= start, EventRow.id < start + SPAN).order_by(EventRow.id)
        for row in await session.execute(page):
            yield row


def _seen() -> Any:
    """Events of calls by the scope; those of no call are sorted out by their callbacks."""
    condition = scope.within(EventRow)
    return None if condition is None else or_(condition, EventRow.call_id.is_(None))


def _callback_of(data: str) -> str:
    try:
        value = json.loads(data)
    except ValueError:
        return ""
    return str(value.get("callback_id", "")) if isinstance(value, dict) else ""


def _in(column: Any, number: str, pseudonyms: Sequence[str]) -> Any:
    return or_(*(column.contains(text, autoescape=True) for text in (core(number), *pseudonyms)))


async def _callbacks(session: AsyncSession, names: Sequence[str], found: Found) -> None:
    rows = scope.limited(select(CallbackRow)).where(
        or_(CallbackRow.number.in_(names), CallbackRow.callback_id.in_(sorted(filter(None, found.loose))))
    )
    found.callbacks = {row.callback_id: row.pop_id for row in await session.scalars(rows)}
    if not current().whole:
        found.loose = {key: events for key, events in found.loose.items() if key in found.callbacks}


async def deliveries(
    session: AsyncSession, number: str, named: IsForgotten, found: Found, pseudonyms: Sequence[str] = ()
) -> list[DeliveryRow]:
    """Messages for webhooks that name the number; with a limited scope those about calls and callbacks in it."""
    rows = select(DeliveryRow).where(_in(DeliveryRow.body, number, pseudonyms)).order_by(DeliveryRow.id)
    subjects = found.calls.keys() | found.callbacks.keys()
    return [
        row
        for row in await session.scalars(rows)
        if holds(row.body, named) and (current().whole or row.subject in subjects)
    ]
