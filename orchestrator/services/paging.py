"""Cursor pages: a page ends with the key of its last row, and the next one begins after it, so that rows which come
and go in between are neither skipped nor shown twice."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.domain.problems import one
from orchestrator.services import scope

Row = TypeVar("Row")
NO_CURSOR = "is not a cursor that this API gave out"


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    items: list[Row]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int = 100
    cursor: str | None = None

    @property
    def after(self) -> str | None:
        if self.cursor is None:
            return None
        try:
            after = base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError, ValueError):
            after = "\0"
        if "\0" in after:
            raise one("cursor", NO_CURSOR)
        return after


async def page(
    session: AsyncSession, statement: Select[Row], key: Any, asked: PageRequest, *, newest_first: bool = False
) -> Page[Row]:
    """Rows of ``statement`` that the caller sees, in the order of ``key``, a column of unique texts."""
    rows = (await session.scalars(_of_page(statement, key, asked, newest_first))).all()
    return _cut(rows, key, asked)


async def page_of_columns(
    database: Database, statement: Select[Any], key: Any, asked: PageRequest, *, newest_first: bool = False
) -> Page[Any]:
    """The same of some columns, ``key`` among them, at less expense."""
    return _cut(await database.rows(_of_page(statement, key, asked, newest_first)), key, asked)


def _of_page(statement: Select[Any], key: Any, asked: PageRequest, newest_first: bool) -> Select[Any]:
    after = asked.after
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    statement = scope.limited(statement)
    return statement.order_by(key.desc() if newest_first else key).limit(asked.limit + 1)


def _cut(found: Sequence[Row], key: Any, asked: PageRequest) -> Page[Row]:
    more, rows = len(found) > asked.limit, list(found[: asked.limit])
    return Page(rows, cursor(getattr(rows[-1], key.key)) if more else None)


async def newest_versions(
    session: AsyncSession, statement: Select[Row], version: Any, asked: PageRequest, digits: int = 9
) -> Page[Row]:
    """Rows of ``statement`` by the number in the column ``version``, of so many ``digits`` at most, the highest
    first."""
    if (after := asked.after) is not None:
        if not (after.isascii() and after.isdecimal() and len(after) <= digits):
            raise one("cursor", NO_CURSOR)
        statement = statement.where(version < int(after))
    rows = list((await session.scalars(statement.order_by(version.desc()).limit(asked.limit + 1))).all())
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return Page(rows, cursor(str(getattr(rows[-1], version.key))) if more else None)


def cursor(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()
