"""The database: SQLite (WAL, foreign keys on) by default, PostgreSQL by URL. Two kinds of transaction only."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection, Executable, Table, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from orchestrator.adapters.db import bulk
from orchestrator.adapters.db.direct import Direct, Fixed

_WRITE = "callplane_write"
IDLE_S = 1.0
LOCK_WAIT_S = 30
"""How long a transaction waits for another one that writes (SQLite)."""
LOG_WAIT_MS = 1000
_CONFIG_LOCK = 0x63616C6C
_PROJECTION_LOCK = 0x63616C70
"""Keys of the advisory locks that serialise configuration changes, and projections, on PostgreSQL."""


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
        # A read sees each statement's own snapshot on PostgreSQL, in a transaction or not: it needs none.
        self._reading = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = async_sessionmaker(self._reading, expire_on_commit=False)
        self._direct = None if self.is_sqlite else Direct(self._reading)
        self.changes = 0
        """Transactions that were written by this process, but for projections: what somebody keeps of the rest of the
        database may be old when it differs."""

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._readers() as session:
            yield session

    async def rows(self, statement: Executable | Fixed, given: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """Of a statement that reads columns, without all that a session does for entities: for what is asked hundreds
        of times a second. ``given``: what is bound. A ``Fixed`` statement costs least, on PostgreSQL."""
        if isinstance(statement, Fixed):
            if self._direct is not None:
                found = await self._direct.rows(statement, given or {})
                if found is not None:
                    return found
            statement = statement.statement
        async with self._reading.connect() as connection:
            return (await connection.execute(statement, given)).all()

    @asynccontextmanager
    async def write(self, *, config: bool = False, projections: bool = False) -> AsyncIterator[AsyncSession]:
        """``config``: one such transaction at a time over all centres, so that checks against other rows hold
        until the commit and revisions are committed in the order in which they were counted. ``projections``: the
        same for what is made of events."""
        try:
            async with self._sessions() as session, session.begin():
                if self.hooks is not None:
                    self.hooks.begun(session)
                await session.connection(execution_options={_WRITE: True})
                if not self.is_sqlite and (config or projections):
                    key = _CONFIG_LOCK if config else _PROJECTION_LOCK
                    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
                yield session
                if self.hooks is not None:
                    await self.hooks.ending(session)
        finally:
            self.changes += not projections

    async def insert_new(
        self, session: AsyncSession, table: Table, rows: list[dict[str, Any]], returning: Iterable[str]
    ) -> list[Any]:
        """Insert ``rows``, skip those that break a unique constraint, return the named columns of the new ones."""
        if not self.is_sqlite:
            return await bulk.insert_new(session, table, rows, ", ".join(returning))
        columns = [table.c[name] for name in returning]
        statement = sqlite.insert(table).on_conflict_do_nothing().returning(*columns)
        return list((await session.execute(statement, rows)).all())

    async def overwrite_log(self) -> bool:
        """Bring the write-ahead log into the file and empty it (SQLite): what was replaced must not lie on in it.
        False when somebody who reads an older state kept it from that."""
        if not self.is_sqlite:
            return True
        async with self.engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            try:
                # Nobody can write while it waits for who reads.
                await raw.execute(f"PRAGMA busy_timeout={LOG_WAIT_MS}")
                async with raw.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                    busy, *_ = await cursor.fetchone()
            finally:
                await raw.execute(f"PRAGMA busy_timeout={LOCK_WAIT_S * 1000}")
        return not busy

    async def close(self) -> None:
        if self._direct is not None:
            await self._direct.close()
        await self.engine.dispose()


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        engine = create_async_engine(
            url, pool_size=10, max_overflow=10, hide_parameters=True, json_deserializer=orjson.loads
        )
        _ping_when_idle(engine)
        return engine
    engine = create_async_engine(
        url, connect_args={"timeout": LOCK_WAIT_S}, hide_parameters=True, json_deserializer=orjson.loads
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for us
        cursor = connection.cursor()
        # What is deleted or replaced is overwritten in the file: an erasure can do that only to what it finds itself.
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that begins by reading and writes later can only fail when another one wrote in between.
        immediate = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _ping_when_idle(engine: AsyncEngine) -> None:
    """A connection that lay unused is tried before it is given out; one that was used a moment ago is trusted."""

    @event.listens_for(engine.sync_engine, "checkin")
    def _checked_in(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _check_out(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", 0.0) < IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except (engine.dialect.loaded_dbapi.Error, OSError) as error:
            raise DisconnectionError from error
