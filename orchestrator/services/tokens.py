"""Bearer tokens: of programs, made by an admin, and of users' sessions. Only their hashes are stored.

A token with limits is kept under another hash than one that may do everything. The version of the centre that knew
nothing of limits took every token that it found for an admin's: it finds none of these.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import UserRow
from orchestrator.adapters.db.models import AgentRow, TokenRow
from orchestrator.domain import access
from orchestrator.domain.grants import EVERYTHING, Caller, Grant, Role
from orchestrator.domain.problems import FieldError, Invalid, NotFound, one
from pbx.domain.ids import ulid


async def create(
    session: AsyncSession,
    name: str,
    now: float,
    grants: Sequence[Grant] | None = None,
    expires_at: float | None = None,
) -> tuple[TokenRow, str]:
    """``grants`` None: role admin on everything. ``expires_at`` None: never."""
    if expires_at is not None and expires_at <= now:
        raise one("expires_at", "is past")
    if grants is not None:
        await check(session, grants)
    return _add(session, name, now, grants, expires_at, None)


async def check(session: AsyncSession, grants: Sequence[Grant]) -> None:
    """Refuse grants for agents that do not exist. Units and regions may be named before they exist."""
    lost = [
        FieldError(f"grants.{at}.agent_id", "names no agent")
        for at, grant in enumerate(grants)
        if grant.agent_id is not None and await session.get(AgentRow, grant.agent_id) is None
    ]
    if lost:
        raise Invalid(lost)


def begin_session(session: AsyncSession, user: UserRow, now: float, expires_at: float) -> tuple[TokenRow, str]:
    return _add(session, user.name, now, (), expires_at, user.user_id)


def _add(
    session: AsyncSession,
    name: str,
    now: float,
    grants: Sequence[Grant] | None,
    expires_at: float | None,
    user_id: str | None,
) -> tuple[TokenRow, str]:
    token = access.new_token()
    limited = user_id is not None or grants is not None or expires_at is not None
    row = TokenRow(
        token_id=ulid(now, secrets.randbits(80)),
        name=name,
        sha256=access.limited_token_hash(token) if limited else access.token_hash(token),
        role=_leading(grants).value if user_id is None else "session",
        grants=None if grants is None or user_id is not None else [grant.to_json() for grant in grants],
        user_id=user_id,
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    return row, token


def _leading(grants: Sequence[Grant] | None) -> Role:
    roles = {grant.role for grant in grants or EVERYTHING}
    return next(role for role in Role if role in roles)


async def first(session: AsyncSession, now: float) -> str | None:
    """The first admin token of a new installation; None when there are tokens already."""
    if await session.scalar(select(func.count()).select_from(TokenRow)):
        return None
    _, token = await create(session, "first admin", now)
    return token


async def find(session: AsyncSession, token: str, now: float) -> Caller | None:
    """Whose token it is, if it is one and has not expired."""
    hashes = (access.token_hash(token), access.limited_token_hash(token))
    row = await session.scalar(select(TokenRow).where(TokenRow.sha256.in_(hashes)))
    return None if row is None else await _caller(session, row, now)


async def again(session: AsyncSession, token_id: str, now: float) -> Caller | None:
    """What the token with this id is good for by now."""
    row = await session.get(TokenRow, token_id)
    return None if row is None else await _caller(session, row, now)


async def _caller(session: AsyncSession, row: TokenRow, now: float) -> Caller | None:
    if row.expires_at is not None and row.expires_at <= now:
        return None
    if row.user_id is None:
        return Caller(row.token_id, row.name, grants_of(row), expires_at=row.expires_at)
    user = await session.get(UserRow, row.user_id)
    if user is None or user.disabled:
        return None
    grants = tuple(map(Grant.from_json, user.grants))
    return Caller(row.token_id, user.name, grants, user_id=user.user_id, expires_at=row.expires_at)


def grants_of(row: TokenRow) -> tuple[Grant, ...]:
    return (Grant(Role(row.role)),) if row.grants is None else tuple(map(Grant.from_json, row.grants))


async def delete(session: AsyncSession, token_id: str) -> None:
    row = await session.get(TokenRow, token_id)
    if row is None:
        raise NotFound("token", token_id)
    await session.delete(row)


async def end(session: AsyncSession, token_id: str) -> None:
    """If it is still there."""
    await session.execute(delete_rows(TokenRow).where(TokenRow.token_id == token_id))


async def purge(session: AsyncSession, now: float) -> None:
    """Sessions that are over; an expired token of a program stays, so that it can be seen that it has."""
    over = (TokenRow.user_id.is_not(None), TokenRow.expires_at <= now)
    await session.execute(delete_rows(TokenRow).where(*over))


async def end_sessions(session: AsyncSession, user_id: str) -> None:
    await session.execute(delete_rows(TokenRow).where(TokenRow.user_id == user_id))
