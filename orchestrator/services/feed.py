"""The live stream of events. Every reader reads the database from its own cursor and is only woken from here, so
that a slow reader loses nothing and holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import func, select

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import EventRow

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
        """Events after the cursor, for ever; an empty list whenever nothing came for ``idle_s``."""
        statement = select(EventRow).order_by(EventRow.id).limit(PAGE)
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
                    rows = list(await session.scalars(statement.where(EventRow.id > after)))
                if rows:
                    after = rows[-1].id
                    yield rows
                    continue
                try:
                    await asyncio.wait_for(woken.wait(), idle_s)
                except TimeoutError:
                    yield []
        finally:
            self._waiting.discard(woken)
