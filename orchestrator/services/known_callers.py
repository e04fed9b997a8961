"""Whose token it is, kept for a moment: programs that ask hundreds of times a second are looked up once in it.

What this process changes counts at once, whatever it is; what another one revoked, within ``KEPT_S``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.adapters.db.engine import Database
from orchestrator.domain import access
from orchestrator.domain.grants import Caller, Grant
from orchestrator.services import tokens

KEPT_S = 1.0
MOST = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    changes: int
    caller_id: str
    name: str
    grants: tuple[Grant, ...]
    user_id: str | None
    expires_at: float | None

    def caller(self) -> Caller:
        """Each request has its own: it notes there what it does."""
        return Caller(self.caller_id, self.name, self.grants, user_id=self.user_id, expires_at=self.expires_at)


class KnownCallers:
    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._clock, self._monotonic = database, clock, monotonic
        self._known: dict[str, _Known] = {}
        self._looking: dict[tuple[str, int], asyncio.Future[_Known | None]] = {}
        """Asked for by several at once, it is looked up once."""

    async def find(self, token: str) -> Caller | None:
        key, began, changes = access.token_hash(token), self._monotonic(), self._database.changes
        known = self._known.get(key)
        if known is not None and known.changes == changes and began - known.at < KEPT_S:
            return known.caller() if known.expires_at is None or self._clock() < known.expires_at else None
        self._known.pop(key, None)
        looking = self._looking.get((key, changes))
        if looking is None:
            looking = self._looking[key, changes] = asyncio.ensure_future(self._look_up(token, key, began, changes))
            looking.add_done_callback(lambda _: self._looking.pop((key, changes), None))
        # Whoever goes away while it is looked up takes it from nobody else.
        known = await asyncio.shield(looking)
        return None if known is None else known.caller()

    async def _look_up(self, token: str, key: str, began: float, changes: int) -> _Known | None:
        async with self._database.read() as session:
            found = await tokens.find(session, token, self._clock())
        if found is None:  # who guesses is always looked up, and fills nothing
            return None
        known = self._known[key] = _Known(
            began, changes, found.caller_id, found.name, found.grants, found.user_id, found.expires_at
        )
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return known
