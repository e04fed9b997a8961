"""What a PostgreSQL that goes down or comes up says is the database's state, not a fault of ours: 503, not 500."""

from __future__ import annotations

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError

from orchestrator.api import errors


def refused(kind: type[asyncpg.PostgresError]) -> DBAPIError:
    """As SQLAlchemy hands it on."""
    said = kind("said by the server")
    orig = AsyncAdapt_asyncpg_dbapi.Error(str(said), said)  # type: ignore[no-untyped-call]
    made = DBAPIError.instance("SELECT 1", None, orig, AsyncAdapt_asyncpg_dbapi.Error)
    assert isinstance(made, DBAPIError)
    return made


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (asyncpg.CannotConnectNowError, 503),
        (asyncpg.AdminShutdownError, 503),
        (asyncpg.CrashShutdownError, 503),
        (asyncpg.TooManyConnectionsError, 503),
        (asyncpg.ConnectionFailureError, 503),
        (asyncpg.UndefinedColumnError, 500),
        (asyncpg.DiskFullError, 500),
    ],
)
async def test_the_status_says_whose_it_is(kind: type[asyncpg.PostgresError], status: int) -> None:
    async def handler(_request: web.Request) -> web.StreamResponse:
        raise refused(kind)

    answer = await errors.middleware(make_mocked_request("GET", "/"), handler)
    assert answer.status == status
