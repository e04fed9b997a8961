"""The outbox's publisher: configuration changes to the POPs' buckets, in order, until acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.adapters.bus.client import Bucket, Bus, BusDown
from orchestrator.adapters.db.models import OutboxRow, PopRow
from orchestrator.services.unit_of_work import UnitsOfWork

log = logging.getLogger(__name__)

PAGE = 500
RETRY_S = 0.5


class ConfigPublisher:
    """One per installation: two would publish the same rows in turn and could swap their order."""

    def __init__(self, units: UnitsOfWork, bus: Bus) -> None:
        self._units = units
        self._database = units.database
        self._bus = bus
        self._wake = asyncio.Event()
        self._session = -1
        self._buckets: set[str] = set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._bus.wait_connected()
            self._wake.clear()
            try:
                if self._session != (session := self._bus.session):
                    self._buckets = set()
                    await self._check_buckets()
                    self._session = session  # what was not checked to its end is checked again
                if await self._publish_page():
                    continue
            except BusDown:
                await asyncio.sleep(RETRY_S)
                continue
            except (SQLAlchemyError, OSError) as error:
                log.warning("configuration waits: the database cannot be asked (%s)", type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            try:
                # The pause also covers what another process (the command line) wrote.
                async with asyncio.timeout(5.0):
                    await self._wake.wait()
            except TimeoutError:
                log.debug("nothing was written in 5 s")

    async def _check_buckets(self) -> None:
        """A bus that lost its disk has no buckets: write them again. One whose buckets are newer than the database has
        outlived it, and a former database came back from a backup: what it says counts from now on."""
        async with self._database.read() as session:
            pop_ids = list(await session.scalars(select(PopRow.pop_id).order_by(PopRow.pop_id)))
        for pop_id in pop_ids:
            await self._ensure(pop_id)

    async def _ensure(self, pop_id: str) -> None:
        if pop_id in self._buckets:
            return
        made = await self._bus.ensure_bucket(pop_id)
        there = Bucket(0, frozenset()) if made else await self._bus.bucket(pop_id)
        async with self._units.begin() as unit:
            row = await unit.session.get(PopRow, pop_id, with_for_update=True)
            if row is not None and there.revision > row.config_revision:
                log.warning("the database is older than what POP %s was told: it is told all anew", pop_id)
                row.config_revision = there.revision
                await unit.publish_all(pop_id, there.keys)
            elif row is not None and made:
                await unit.publish_all(pop_id)
        self._buckets.add(pop_id)

    async def _publish_page(self) -> bool:
        """Publish the oldest rows; True when there were any."""
        async with self._database.read() as session:
            heads = list(await session.scalars(select(OutboxRow).order_by(OutboxRow.id).limit(PAGE)))
        for pop_id in {row.pop_id for row in heads if row.key} - self._buckets:
            await self._ensure(pop_id)
            return True  # what is waiting may have been written anew
        by_pop: dict[str, list[OutboxRow]] = defaultdict(list)
        for row in heads:
            by_pop[row.pop_id].append(row)
        sent: list[int] = []
        results = await asyncio.gather(*(self._publish(rows, sent) for rows in by_pop.values()), return_exceptions=True)
        if sent:
            async with self._database.write() as session:
                await session.execute(delete(OutboxRow).where(OutboxRow.id.in_(sent)))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return bool(heads)

    async def _publish(self, rows: list[OutboxRow], sent: list[int]) -> None:
        for row in rows:
            try:
                if row.key:
                    await self._bus.put(row.pop_id, row.key, row.revision, row.payload)
                else:
                    await self._bus.drop_bucket(row.pop_id)
                    self._buckets.discard(row.pop_id)
            except BusDown:
                self._buckets.discard(row.pop_id)  # perhaps the bucket is what is missing
                raise
            sent.append(row.id)
