"""The database: SQLite (WAL, foreign keys on) by default, PostgreSQL by URL. Two kinds of transaction only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

_WRITE = "callplane_write"
_CONFIG_LOCK = 0x63616C6C
"""Key of the advisory lock that serialises configuration changes on PostgreSQL."""


class Hooks(Protocol):
    """Called in each transaction that writes, whoever begins it."""

    def begun(self, session: AsyncSession) -> None: ...

    async def ending(self, session: AsyncSession) -> None:
        """Before the commit; what it raises undoes the transaction."""


class Database:
    """Owns the engine. ``write`` commits when its block ends well and rolls back otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self.hooks: Hooks | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def write(self, *, config: bool = False) -> AsyncIterator[AsyncSession]:
        """``config``: one such transaction at a time over all centres, so that checks against other rows hold
        until the commit and revisions are committed in the order in which they were counted."""
        async with self._sessions() as session, session.begin():
            if self.hooks is not None:
                self.hooks.begun(session)
            await session.connection(execution_options={_WRITE: True})
            if config and not self.is_sqlite:
                await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CONFIG_LOCK})
            yield session
            if self.hooks is not None:
                await self.hooks.ending(session)

    async def insert_new(
        self, session: AsyncSession, table: Table, rows: list[dict[str, Any]], returning: Iterable[str]
    ) -> list[Any]:
        """Insert ``rows``, skip those that break a unique constraint, return the named columns of the new ones."""
        insert = sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)
        columns = [table.c[name] for name in returning]
        statement = insert.on_conflict_do_nothing().returning(*columns)
        return list((await session.execute(statement, rows)).all())

    async def close(self) -> None:
        await self.engine.dispose()


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=10, max_overflow=10, pool_pre_ping=True, hide_parameters=True)
    engine = create_async_engine(url, connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for us
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that begins by reading and writes later can only fail when another one wrote in between.
        immediate = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
