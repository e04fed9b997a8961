"""Who is there: the last heartbeat of every POP, kept in memory and every few seconds in the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import PopRevisionRow, PopRow
from pbx.wire.messages import Heartbeat

log = logging.getLogger(__name__)

KEEP_EVERY_S = 10.0
CONNECTED_S = 7.0
"""Three heartbeats may be missing before a POP counts as away."""


@dataclass(frozen=True, slots=True)
class Presence:
    heartbeat: Heartbeat | None
    last_seen_at: float | None
    connected: bool


class PresenceBoard:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: dict[str, tuple[Heartbeat, float]] = {}
        self._unsaved: set[str] = set()

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._seen[heartbeat.pop_id] = (heartbeat, self._clock())
        self._unsaved.add(heartbeat.pop_id)

    def of(self, row: PopRow) -> Presence:
        if row.pop_id in self._seen:
            heartbeat, seen_at = self._seen[row.pop_id]
        elif row.heartbeat is not None and row.last_seen_at is not None:
            heartbeat, seen_at = msgspec.convert(row.heartbeat, Heartbeat), row.last_seen_at
        else:
            return Presence(None, None, False)
        return Presence(heartbeat, seen_at, self._clock() - seen_at < CONNECTED_S)

    async def seconds_behind(self, session: AsyncSession, rows: Collection[PopRow]) -> dict[str, float]:
        """POP -> for how long what it runs has not been the newest; POPs that were never heard of are left out."""
        applied = {row.pop_id: beat.revision for row in rows if (beat := self.of(row).heartbeat) is not None}
        chosen = select(PopRevisionRow).where(PopRevisionRow.pop_id.in_(applied)).order_by(PopRevisionRow.at.desc())
        oldest = {row.pop_id: row.at for row in await session.scalars(chosen) if row.revision > applied[row.pop_id]}
        now = self._clock()
        return {pop_id: max(0.0, now - oldest[pop_id]) if pop_id in oldest else 0.0 for pop_id in applied}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            try:
                await self.save()
            except (SQLAlchemyError, OSError) as error:
                log.warning("heartbeats were not kept: %s", type(error).__name__)

    async def save(self) -> None:
        saving = {pop_id: self._seen[pop_id] for pop_id in self._unsaved}
        if not saving:
            return
        # One at a time with configuration changes, which write all POPs in another order: they would deadlock.
        async with self._database.write(config=True) as session:
            for pop_id, (heartbeat, seen_at) in saving.items():
                values = {"heartbeat": msgspec.to_builtins(heartbeat), "last_seen_at": seen_at}
                await session.execute(update(PopRow).where(PopRow.pop_id == pop_id).values(**values))
                applied = PopRevisionRow.pop_id == pop_id, PopRevisionRow.revision <= heartbeat.revision
                await session.execute(delete(PopRevisionRow).where(*applied))
        self._unsaved -= saving.keys()
