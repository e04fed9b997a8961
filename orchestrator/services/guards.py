"""Services whose transactions are watched: what has to hold when one begins, and what has to be written with it. A
request's conditions (``If-Match``, ``Idempotency-Key``) are checked so, without a handler knowing of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.direct import Fixed
from orchestrator.adapters.db.engine import Database
from orchestrator.services.context import Services
from orchestrator.services.unit_of_work import UnitOfWork, UnitsOfWork

Hook = Callable[[AsyncSession], Awaitable[None]]
"""Raises a problem, and then the transaction is rolled back."""


class _Session(Database):
    async def rows(self, statement: Executable | Fixed, given: Mapping[str, Any] | None = None) -> Sequence[Any]:
        wanted = statement.statement if isinstance(statement, Fixed) else statement
        async with self.read() as session:
            return (await session.execute(wanted, given)).all()


class _Guarded(_Session):
    def __init__(self, real: Database, first: Hook | None, last: Hook | None) -> None:
        self.url, self.engine, self.hooks = real.url, real.engine, real.hooks
        self._real, self._first, self._last = real, first, last

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._real.read() as session:
            yield session

    @asynccontextmanager
    async def write(self, *, config: bool = False, projections: bool = False) -> AsyncIterator[AsyncSession]:
        async with self._real.write(config=config, projections=projections) as session:
            if self._first is not None:
                await self._first(session)
            yield session
            if self._last is not None:
                await session.flush()
                await self._last(session)


class _GuardedUnits(UnitsOfWork):
    def __init__(self, real: UnitsOfWork, first: Hook | None, last: Hook | None) -> None:
        self.database = real.database
        self._real, self._first, self._last = real, first, last

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        async with self._real.begin() as unit:
            if self._first is not None:
                await self._first(unit.session)
            yield unit
            if self._last is not None:
                await unit.session.flush()
                await self._last(unit.session)


def guarded(services: Services, first: Hook | None = None, last: Hook | None = None) -> Services:
    """``first`` runs at the beginning of each writing transaction, ``last`` before its commit."""
    return replace(
        services,
        database=_Guarded(services.database, first, last),
        units=_GuardedUnits(services.units, first, last),
    )


class _Within(_Session):
    def __init__(self, real: Database, session: AsyncSession) -> None:
        self.url, self.engine, self.hooks = real.url, real.engine, real.hooks
        self._session = session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        yield self._session


def within(services: Services, session: AsyncSession) -> Services:
    """For reading what a transaction sees that is under way."""
    return replace(services, database=_Within(services.database, session))
