"""Reads that are asked hundreds of times a second, on PostgreSQL by its driver itself.

What SQLAlchemy does around each statement (a greenlet, the pool, a cursor, a result with its metadata) costs more CPU
than the statement: it still writes the SQL, once for each ``Fixed``, and asyncpg carries it out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import asyncpg
import orjson
from sqlalchemy import Select, TextClause
from sqlalchemy.ext.asyncio import AsyncEngine

log = logging.getLogger(__name__)

CONNECTIONS = 10
IDLE_S = 300.0
CLOSE_S = 5.0
_CANNOT = asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError


class Fixed:
    """A statement that is made once, whose values are bound by name each time. It reads columns."""

    __slots__ = ("_made", "statement")

    def __init__(self, statement: Select[Any] | TextClause) -> None:
        self.statement = statement
        self._made: _Made | None = None

    def made(self, engine: AsyncEngine) -> _Made:
        if self._made is None:
            self._made = _Made(self.statement, engine)
        return self._made


class _Made:
    """The SQL, and in which order it wants what is bound."""

    def __init__(self, statement: Select[Any] | TextClause, engine: AsyncEngine) -> None:
        compiled = statement.compile(dialect=engine.sync_engine.dialect)
        if compiled.post_compile_params or compiled.literal_execute_params:
            raise ValueError("a list whose length is known when it is bound is no fixed statement")
        self.sql, self.order = str(compiled), tuple(compiled.positiontup or ())
        self.values = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._row: Callable[[Iterable[Any]], Sequence[Any]] | None = None
        if isinstance(statement, Select):
            names = [str(column.key) for column in statement.selected_columns]
            self._row = cast(Any, namedtuple("Found", names))._make

    def bound(self, given: Mapping[str, Any]) -> list[Any]:
        return [given[name] if name in given else self.values[name] for name in self.order]

    def rows(self, records: list[asyncpg.Record]) -> Sequence[Any]:
        return records if self._row is None else list(map(self._row, records))


class Direct:
    """A few connections of its own, made when they are first wanted."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._failing = False

    async def rows(self, fixed: Fixed, given: Mapping[str, Any]) -> Sequence[Any] | None:
        """None where it could not be read: ask in the ordinary way, which may try again or say what is wrong."""
        made = fixed.made(self._engine)
        try:
            pool = self._pool or await self._open()
            async with pool.acquire() as connection:
                records = await connection.fetch(made.sql, *made.bound(given))
        except (*_CANNOT, OSError, TimeoutError) as error:
            if not self._failing:
                log.warning("direct reads fail, they go the ordinary way until one succeeds: %s", type(error).__name__)
            self._failing = True
            return None
        self._failing = False
        return made.rows(records)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                _, options = self._engine.sync_engine.dialect.create_connect_args(self._engine.url)
                self._pool = await asyncpg.create_pool(
                    **options,
                    min_size=0,
                    max_size=CONNECTIONS,
                    max_inactive_connection_lifetime=IDLE_S,
                    init=_ready,
                    reset=_keep,
                )
            return self._pool


async def _ready(connection: Any) -> None:
    # After five times the server would plan for values that it does not know: sums of a month took 6 ms so, and 0.7 ms
    # with a plan for the days that were asked for.
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_text, decoder=orjson.loads)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _keep(_connection: Any) -> None:
    """Single reads leave nothing behind that a reset would have to take away, and it is a way there and back."""
