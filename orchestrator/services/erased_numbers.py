"""Events that come in after an erasure of what was before it (a POP was away, its journal came back from a backup, they
waited on the bus): they are stored without the number, and their calls become part of the erasure."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import ErasedNumberRow, ErasureRow, ErasureStepRow
from orchestrator.services import holds
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.forgetting import ERASED, caller_of, digest, forget

log = logging.getLogger(__name__)


class ErasedNumbers:
    """Nothing is looked at but a time as long as no erasure is newer than the events."""

    def __init__(self, database: Database, keys: RightsKeys) -> None:
        self._database, self._key = database, keys.numbers
        self._changes = -1
        self._newest = 0.0
        self._of: dict[str, tuple[str, float]] = {}
        """Digest -> the newest erasure of it, and its time."""
        self._spared: frozenset[str] = frozenset()

    async def take(self, session: AsyncSession, rows: list[dict[str, Any]]) -> bool:
        """Change these rows of the table of events before they are stored. True when an erasure has more to do."""
        await self._refresh(session)
        found: dict[tuple[str, str], str] = {}
        for row in rows:
            if row["at"] > self._newest or row["call_id"] in self._spared:
                continue
            self._scrub(row, found)
        for (erasure_id, call_id), pop_id in found.items():
            await self._join(session, erasure_id, call_id, pop_id)
        return bool(found)

    async def _refresh(self, session: AsyncSession) -> None:
        if self._database.changes == self._changes:
            return
        self._changes = self._database.changes
        chosen = select(ErasedNumberRow.digest, ErasedNumberRow.erasure_id, ErasedNumberRow.before, ErasureRow.holds)
        joined = chosen.join(ErasureRow, ErasureRow.erasure_id == ErasedNumberRow.erasure_id)
        found = await session.execute(joined.order_by(ErasedNumberRow.before))
        rows = [(digested, erasure_id, before) for digested, erasure_id, before, held in found if not held]
        self._of = {digested: (erasure_id, before) for digested, erasure_id, before in rows}
        self._newest = max((before for _, _, before in rows), default=0.0)
        active = await holds.active(session, time.time())
        self._spared = frozenset(active.calls) | frozenset(active.records)

    def _scrub(self, row: dict[str, Any], found: dict[tuple[str, str], str]) -> None:
        erasures: set[str] = set()

        def erased(number: str) -> bool:
            erasure_id, before = self._of.get(digest(self._key, number), ("", 0.0))
            concerned: bool = row["at"] <= before
            if concerned:
                erasures.add(erasure_id)
            return concerned

        try:
            caller = caller_of(row["kind"], json.loads(row["data"]))
            new = forget(row["kind"], row["data"].encode(), erased, personal=False)
        except ValueError:
            return  # said where it is read
        if new is None:
            return
        row["data"] = new.decode()
        if row["call_id"] is not None and caller is not None and caller != ERASED and erased(caller):
            for erasure_id in erasures:
                found[erasure_id, row["call_id"]] = row["pop_id"]

    async def _join(self, session: AsyncSession, erasure_id: str, call_id: str, pop_id: str) -> None:
        if await session.get(ErasureStepRow, (erasure_id, "call", call_id)) is None:
            session.add(step(erasure_id, "call", call_id, pop_id=pop_id, call_id=call_id, detail={"with": True}))
        if (pop := await session.get(ErasureStepRow, (erasure_id, "pop", pop_id))) is not None:
            pop.state = "pending"  # its journal has the number, or it would not have come from there
        erasure = await session.get(ErasureRow, erasure_id)
        if erasure is not None:
            erasure.state = "running"


def step(
    erasure_id: str,
    kind: str,
    thing: str,
    *,
    pop_id: str | None = None,
    call_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> ErasureStepRow:
    return ErasureStepRow(
        erasure_id=erasure_id,
        kind=kind,
        thing=thing,
        pop_id=pop_id,
        call_id=call_id,
        state="pending",
        detail=detail or {},
        at=time.time(),
    )
