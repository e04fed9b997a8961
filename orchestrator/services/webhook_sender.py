"""Sends what is queued for webhooks, at least once: what was sent and not noted before the process died is sent again,
under the same id.

One loop looks what is due and notes what became of it, each request is a task of its own. A target has a few requests
at once, one that fails a single one now and then (``webhook_pacing.Target``), and all that fail together no more than a
share, so that neither a slow nor a dead one holds others up. Of one call, callback or agent each message waits for the
one before, until that one is delivered or given up.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import DeliveryRow, WebhookRow
from orchestrator.adapters.webhook_target import Outcome, Targets
from orchestrator.domain.webhook_pacing import GIVE_UP_S, Target, next_attempt
from orchestrator.domain.webhook_signature import sign
from orchestrator.services import webhooks
from orchestrator.services.secret_box import BadKey, SecretBox

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests in all."""
PER_HOOK = 4
FAILING_AT_ONCE = 16
"""Of them, to targets that are failing."""
DEADLINE_S = 15.0
POLL_S = 1.0
RETRY_S = 1.0
GONE = 410


@dataclass(slots=True)
class Counts:
    """Since the process started."""

    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    """Attempts."""
    dead: int = 0
    """Deliveries that were given up."""
    stopped: int = 0
    """Webhooks whose target is gone."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """An attempt, to be noted."""

    delivery_id: int
    webhook_id: str
    outcome: Outcome
    at: float
    took_ms: int
    recovered: bool
    """The target had been failing."""


class WebhookSender:
    def __init__(
        self,
        database: Database,
        box: SecretBox,
        targets: Targets,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database, self._box, self._posts = database, box, targets
        self._clock, self._chance = clock, chance
        self._wake = asyncio.Event()
        self._known: dict[str, Target] = {}
        self._under_way: dict[int, tuple[str, asyncio.Task[None]]] = {}
        """Delivery -> webhook and task; until it is noted what became of it."""
        self._ended: list[_Ended] = []
        self.counts = Counts()

    def wake(self) -> None:
        self._wake.set()

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                try:
                    await self._note()
                    await self._begin()
                except (SQLAlchemyError, OSError) as error:
                    log.error("webhooks wait: the database refused (%s)", type(error).__name__)
                    await asyncio.sleep(RETRY_S)
                    continue
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue  # what had to wait may be due
        finally:
            tasks = [task for _, task in self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._under_way.clear()
            await self._posts.close()

    # --- what is due ------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        async with self._database.read() as session:
            hooks = list(await session.scalars(select(WebhookRow).where(WebhookRow.active)))
            busy = Counter(webhook_id for webhook_id, _ in self._under_way.values())
            for hook in sorted(hooks, key=lambda hook: busy[hook.webhook_id]):
                target = self._known.setdefault(hook.webhook_id, Target(PER_HOOK))
                room = min(target.may_have(busy[hook.webhook_id], self._clock()), self._room(target))
                for row in await self._due(session, hook.webhook_id, room) if room > 0 else ():
                    task = asyncio.create_task(self._attempt(hook, target, row), name=f"webhook delivery {row.id}")
                    self._under_way[row.id] = hook.webhook_id, task
        for gone in self._known.keys() - {hook.webhook_id for hook in hooks} - busy.keys():
            del self._known[gone]

    def _room(self, target: Target) -> int:
        room = AT_ONCE - len(self._under_way)
        if not target.failing:
            return room
        failing = sum(self._known[webhook_id].failing for webhook_id, _ in self._under_way.values())
        return min(room, FAILING_AT_ONCE - failing)

    async def _due(self, session: AsyncSession, webhook_id: str, most: int) -> list[DeliveryRow]:
        before = aliased(DeliveryRow)
        earlier = exists().where(
            before.webhook_id == DeliveryRow.webhook_id,
            before.subject == DeliveryRow.subject,
            before.id < DeliveryRow.id,
            before.state == "waiting",
        )
        due = (
            select(DeliveryRow)
            .where(
                DeliveryRow.webhook_id == webhook_id,
                DeliveryRow.state == "waiting",
                DeliveryRow.next_at <= self._clock(),
                DeliveryRow.id.not_in([at for at, (of, _) in self._under_way.items() if of == webhook_id]),
                ~earlier,
                # Somebody may have made it inactive since it was looked at: then nothing more is sent.
                exists().where(WebhookRow.webhook_id == webhook_id, WebhookRow.active),
            )
            .order_by(DeliveryRow.next_at, DeliveryRow.id)
            .limit(most)
        )
        return list(await session.scalars(due))

    async def _attempt(self, hook: WebhookRow, target: Target, row: DeliveryRow) -> None:
        began, now = time.monotonic(), self._clock()
        try:
            headers = sign(webhooks.keys_of(hook, self._box, now), row.message_id, int(now), row.body.encode())
            outcome = await self._posts.send(hook.url, headers, row.body.encode(), now)
        except BadKey:
            outcome = Outcome(None, "secret_unreadable")
        except Exception:  # whatever it is, the delivery must be tried again
            log.exception("delivery %d to webhook %s could not be attempted", row.id, hook.webhook_id)
            outcome = Outcome(None, "failed")
        self.counts.attempts += 1
        recovered = False
        if outcome.error is None:
            self.counts.delivered += 1
            recovered = target.answered()
        else:
            self.counts.failed += 1
            was = target.failing
            target.failed(self._clock(), self._chance(), outcome.retry_after_s)
            if target.failing and not was:
                log.warning("the target of webhook %s is failing (%s)", hook.webhook_id, _said(outcome))
        if recovered:
            log.info("the target of webhook %s is back", hook.webhook_id)
        took_ms = round(1000 * (time.monotonic() - began))
        self._ended.append(_Ended(row.id, hook.webhook_id, outcome, self._clock(), took_ms, recovered))
        self._wake.set()

    # --- what became of it ------------------------------------------------------------------------------------------

    async def _note(self) -> None:
        """All that has ended since the last time, in one transaction. If that fails, it is noted the next time."""
        noting = list(self._ended)
        if not noting:
            return
        dead = stopped = 0
        async with self._database.write() as session:
            for one in noting:
                dead += await self._note_one(session, one)
            for webhook_id in {one.webhook_id for one in noting if one.recovered}:
                at_once = update(DeliveryRow).where(*_waiting(webhook_id)).values(next_at=self._clock())
                await session.execute(at_once)
            for webhook_id in {one.webhook_id for one in noting if one.outcome.status == GONE}:
                stopped += await self._stop(session, webhook_id)
        del self._ended[: len(noting)]
        for one in noting:
            self._under_way.pop(one.delivery_id, None)
        self.counts.dead += dead
        self.counts.stopped += stopped

    async def _note_one(self, session: AsyncSession, one: _Ended) -> int:
        """How many died of it."""
        row = await session.get(DeliveryRow, one.delivery_id, with_for_update=True)
        if row is None:
            return 0  # its webhook was deleted meanwhile
        row.attempts += 1
        row.status, row.error = one.outcome.status, one.outcome.error
        row.attempted_at, row.took_ms = one.at, one.took_ms
        if one.outcome.error is None:
            row.state, row.next_at, row.ended_at = "delivered", None, one.at
            return 0
        if row.state != "waiting":
            return 0
        wish = one.outcome.retry_after_s
        row.next_at = next_attempt(row.attempts, row.since, one.at, self._chance(), wish)
        if row.next_at is not None:
            return 0
        row.state, row.ended_at = "dead", one.at
        log.warning("delivery %d to webhook %s is given up (%s)", row.id, row.webhook_id, _said(one.outcome))
        if not self._known[one.webhook_id].failing:
            return 1
        # Nobody tries what waits behind a failing target: it ends with the one that was tried.
        await session.flush()
        overdue = DeliveryRow.since <= one.at - GIVE_UP_S
        buried = update(DeliveryRow).where(*_waiting(one.webhook_id), overdue)
        values = {"state": "dead", "ended_at": one.at, "next_at": None, "error": one.outcome.error}
        return 1 + webhooks.count(await session.execute(buried.values(**values)))

    async def _stop(self, session: AsyncSession, webhook_id: str) -> int:
        """The target wants nothing any more. 1 when the webhook was active till now."""
        hook = await session.get(WebhookRow, webhook_id, with_for_update=True)
        if hook is None or not hook.active:
            return 0
        hook.active, hook.stopped_at, hook.stopped_why = False, self._clock(), "gone"
        log.warning("webhook %s is inactive now: its target is gone", webhook_id)
        values = {"state": "dead", "ended_at": self._clock(), "next_at": None, "error": "gone"}
        await session.execute(update(DeliveryRow).where(*_waiting(webhook_id)).values(**values))
        return 1


def _waiting(webhook_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return DeliveryRow.webhook_id == webhook_id, DeliveryRow.state == "waiting"


def _said(outcome: Outcome) -> str:
    return str(outcome.status) if outcome.error == "status" else outcome.error or ""
