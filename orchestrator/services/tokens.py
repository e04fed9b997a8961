"""Bearer tokens. Only their hashes are stored."""

from __future__ import annotations

import secrets

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import TokenRow
from orchestrator.domain import access
from orchestrator.domain.grants import Grant, Role
from orchestrator.domain.problems import NotFound
from pbx.domain.ids import ulid


async def create(session: AsyncSession, name: str, now: float) -> tuple[TokenRow, str]:
    token = access.new_token()
    row = TokenRow(
        token_id=ulid(now, secrets.randbits(80)),
        name=name,
        sha256=access.token_hash(token),
        role="admin",
        created_at=now,
    )
    session.add(row)
    return row, token


async def first(session: AsyncSession, now: float) -> str | None:
    """The first admin token of a new installation; None when there are tokens already."""
    if await session.scalar(select(func.count()).select_from(TokenRow)):
        return None
    _, token = await create(session, "first admin", now)
    return token


async def find(session: AsyncSession, token: str) -> TokenRow | None:
    return await session.scalar(select(TokenRow).where(TokenRow.sha256 == access.token_hash(token)))


def grants_of(row: TokenRow) -> tuple[Grant, ...]:
    return (Grant(Role(row.role)),)


async def delete(session: AsyncSession, token_id: str) -> None:
    row = await session.get(TokenRow, token_id)
    if row is None:
        raise NotFound("token", token_id)
    await session.delete(row)
