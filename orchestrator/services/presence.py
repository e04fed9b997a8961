"""Who is there: the last heartbeat of every POP, kept in memory and every few seconds in the database. That a POP
fails, or is well again, is noted once, whatever number of centres sees it, and goes to the audit log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import PopRevisionRow, PopRow
from orchestrator.domain.grants import EVERYTHING, Caller
from orchestrator.services import audit
from pbx.wire.messages import Heartbeat

log = logging.getLogger(__name__)

KEEP_EVERY_S = 10.0
CONNECTED_S = 7.0
"""Three heartbeats may be missing before a POP counts as away."""


LOOK_EVERY_S = 1.0


class State(StrEnum):
    OK = "ok"
    AWAY = "away"
    """Nothing was heard of it for ``CONNECTED_S``."""
    MEDIA_SERVER_DOWN = "media_server_down"
    NO_AUDIO = "no_audio"
    """Its media server answers, and carries no audio."""


@dataclass(frozen=True, slots=True)
class Presence:
    heartbeat: Heartbeat | None
    last_seen_at: float | None
    connected: bool

    @property
    def clock_ahead_s(self) -> float | None:
        """By how many seconds its host's clock is ahead of the centre's, less what the heartbeat took to come;
        negative: behind; None: not known."""
        beat, seen_at = self.heartbeat, self.last_seen_at
        return None if beat is None or beat.clock_at is None or seen_at is None else beat.clock_at - seen_at

    @property
    def state(self) -> State | None:
        """None: it was never heard of."""
        beat = self.heartbeat
        if beat is None:
            return None
        if not self.connected:
            return State.AWAY
        if not beat.engine_up:
            return State.MEDIA_SERVER_DOWN
        return State.NO_AUDIO if beat.carries_audio is False else State.OK


class PresenceBoard:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: dict[str, tuple[Heartbeat, float]] = {}
        self._unsaved: set[str] = set()
        self._noted: dict[str, str | None] = {}

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._seen[heartbeat.pop_id] = (heartbeat, self._clock())
        self._unsaved.add(heartbeat.pop_id)

    def of(self, row: PopRow) -> Presence:
        if row.pop_id in self._seen:
            return self._of(row.pop_id)
        if row.heartbeat is not None and row.last_seen_at is not None:
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
        save_at = self._clock() + KEEP_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.judge()
                if self._clock() >= save_at:
                    save_at = self._clock() + KEEP_EVERY_S
                    await self.save()
            except (SQLAlchemyError, OSError) as error:
                log.warning("heartbeats were not kept: %s", type(error).__name__)

    async def judge(self) -> None:
        """Note the POPs whose state is another than before, of those that this process has heard of. The database is
        asked only where one seems to be."""
        now = self._clock()
        seen = {pop_id: self._of(pop_id).state for pop_id in self._seen}
        if not (changed := {pop_id: state for pop_id, state in seen.items() if self._noted.get(pop_id) != state}):
            return
        async with self._database.write(config=True) as session:
            rows = list(await session.scalars(select(PopRow).where(PopRow.pop_id.in_(changed))))
            for row in rows:
                state, former = changed[row.pop_id], row.state
                if state is None or former == state:
                    continue
                values = {"state": state.value, "state_since": now}
                await session.execute(update(PopRow).where(PopRow.pop_id == row.pop_id).values(**values))
                if former is not None:
                    say = log.info if state is State.OK else log.error
                    say("%sPOP %s is %s", "" if state is State.OK else "ALARM ", row.pop_id, state.value)
                    caller = Caller("centre", "centre", EVERYTHING, action="pop_state", thing=f"pops/{row.pop_id}")
                    await audit.append(session, caller, state.value, [f"was {former}", *self._reasons(row.pop_id)], now)
        self._noted |= changed

    def _of(self, pop_id: str) -> Presence:
        heartbeat, seen_at = self._seen[pop_id]
        return Presence(heartbeat, seen_at, self._clock() - seen_at < CONNECTED_S)

    def _reasons(self, pop_id: str) -> list[str]:
        beat = self._seen[pop_id][0]
        return [beat.audio_reason] if beat.audio_reason else []

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
