"""The live stream of events. Every reader reads the database from its own cursor and is only woken from here, so
that a slow reader loses nothing and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
from sqlalchemy import func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import AgentRow, CallbackRow, EventRow
from orchestrator.services import scope

PAGE = 500


@dataclass(frozen=True, slots=True)
class Selection:
    pop_id: str | None = None
    call_id: str | None = None


class EventFeed:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: set[asyncio.Event] = set()

    def wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def newest(self) -> int:
        async with self._database.read() as session:
            return await session.scalar(select(func.max(EventRow.id))) or 0

    async def follow(self, after: int, chosen: Selection, idle_s: float) -> AsyncIterator[list[EventRow]]:
        """Events after the cursor that the caller sees, for ever; an empty list when nothing came for ``idle_s``."""
        seen = scope.within(EventRow)
        statement = select(EventRow, true() if seen is None else seen).order_by(EventRow.id).limit(PAGE)
        if seen is not None:
            statement = statement.where(or_(seen, EventRow.call_id.is_(None)))
        if chosen.pop_id is not None:
            statement = statement.where(EventRow.pop_id == chosen.pop_id)
        if chosen.call_id is not None:
            statement = statement.where(EventRow.call_id == chosen.call_id)
        woken = asyncio.Event()
        self._waiting.add(woken)
        try:
            while True:
                woken.clear()
                async with self._database.read() as session:
                    found = list(await session.execute(statement.where(EventRow.id > after)))
                    rows = [row for row, visible in found if visible or await _concerns(session, row)]
                if found:
                    after = found[-1][0].id
                    if rows:
                        yield rows
                    continue
                try:
                    async with asyncio.timeout(idle_s):
                        await woken.wait()
                except TimeoutError:
                    yield []
        finally:
            self._waiting.discard(woken)


async def _concerns(session: AsyncSession, row: EventRow) -> bool:
    """Of an event outside calls, for a caller with limits: whether it is about an agent or a callback of the scope."""
    data = msgspec.json.decode(row.data)
    for name, noun in (("callback_id", CallbackRow), ("agent_id", AgentRow)):
        if isinstance(key := data.get(name), str):
            return await scope.get(session, noun, key) is not None
    return False
