"""Many rows at once, in one statement whose text does not change with their number: arrays on PostgreSQL, the driver's
own repetition on SQLite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

Row = Mapping[str, Any]
PAGE = 2000
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


async def put(session: AsyncSession, table: Table, rows: Sequence[Row]) -> None:
    """Insert, or replace the columns of the rows that are there. JSON columns are given as text."""
    if rows:
        await _write(session, table, rows, "put")


async def add(session: AsyncSession, table: Table, rows: Sequence[Row]) -> None:
    """Insert, or add to the numbers (all columns but the key) of the rows that are there."""
    if rows:
        await _write(session, table, rows, "add")


async def insert_new(session: AsyncSession, table: Table, rows: Sequence[Row], returning: str) -> list[Any]:
    """PostgreSQL only: insert the rows that break no unique constraint; ``returning`` of those."""
    found: list[Any] = []
    for start in range(0, len(rows), PAGE):
        page = rows[start : start + PAGE]
        statement = text(_statement(table, tuple(page[0]), "skip", True) + f" RETURNING {returning}")
        found += (await session.execute(statement, _arrays(page))).all()
    return found


async def _write(session: AsyncSession, table: Table, rows: Sequence[Row], how: str) -> None:
    arrays = session.get_bind().dialect.name == "postgresql"
    statement = _statement(table, tuple(rows[0]), how, arrays)
    if not arrays:  # without SQLAlchemy's work on every row
        await (await session.connection()).exec_driver_sql(statement, [dict(row) for row in rows])
        return
    for start in range(0, len(rows), PAGE):
        await session.execute(text(statement), _arrays(rows[start : start + PAGE]))


def _arrays(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@lru_cache(maxsize=100)
def _statement(table: Table, columns: tuple[str, ...], how: str, arrays: bool) -> str:
    names = ", ".join(columns)
    if arrays:
        given = ", ".join(f"CAST(:{name} AS {_array(table, name)})" for name in columns)
        taken = ", ".join(f"CAST(u.{n} AS JSON)" if isinstance(table.c[n].type, JSON) else f"u.{n}" for n in columns)
        source = f"SELECT {taken} FROM unnest({given}) AS u({names})"  # noqa: S608  # names of ours
    else:
        source = f"VALUES ({', '.join(f':{name}' for name in columns)})"
    statement = f"INSERT INTO {table.name} ({names}) {source} ON CONFLICT "
    if how == "skip":
        return statement + "DO NOTHING"
    key: Collection[str] = [column.name for column in table.primary_key]
    rest = [name for name in columns if name not in key]
    new = "excluded.{0}" if how == "put" else f"{table.name}.{{0}} + excluded.{{0}}"
    return f"{statement}({', '.join(key)}) DO UPDATE SET " + ", ".join(f"{n} = {new.format(n)}" for n in rest)


def _array(table: Table, name: str) -> str:
    kind = table.c[name].type
    if isinstance(kind, JSON):
        return "TEXT[]"
    return f"{kind.compile(dialect=_POSTGRESQL)}[]"
