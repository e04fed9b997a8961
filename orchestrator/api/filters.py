"""Filters of lists: a query field of the same name as a column, or as the one given, narrows the list to equal rows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select

from orchestrator.api.schemas import PageQuery
from orchestrator.domain.resources import Moment

Id = Annotated[str, Field(max_length=63)]
"""Of another noun; one that does not exist finds nothing."""
Words = Annotated[str, Field(min_length=1, max_length=200)]
"""Part of a text, in small or capital letters."""


class Period(PageQuery):
    since: Moment | None = None
    """This time or later."""
    until: Moment | None = None
    """Before this time."""


def narrowed(statement: Select[Any], query: PageQuery, **columns: Any) -> Select[Any]:
    """``statement`` with each column equal to the query's field of that name, as far as it is given."""
    for name, column in columns.items():
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(column == value)
    return statement


def named(statement: Select[Any], words: str | None, column: Any) -> Select[Any]:
    """Rows whose ``column`` holds ``words``."""
    return statement if words is None else statement.where(column.icontains(words, autoescape=True))


def within(statement: Select[Any], query: Period, column: Any) -> Select[Any]:
    if query.since is not None:
        statement = statement.where(column >= query.since.timestamp())
    if query.until is not None:
        statement = statement.where(column < query.until.timestamp())
    return statement
