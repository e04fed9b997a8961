"""Users who log in: with a password that is kept as Argon2id, or by way of an OpenID Connect provider."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
import time
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import UserRow
from orchestrator.adapters.db.models import TokenRow
from orchestrator.domain.access_resources import LoginSpec, UserChange, UserSpec
from orchestrator.domain.grants import EVERYTHING, Caller, Grant, calling, current
from orchestrator.domain.problems import Exists, NotFound, Unauthorized, one
from orchestrator.services import audit, tokens
from orchestrator.services.context import Services
from pbx.domain.ids import ulid

_HASHER = PasswordHasher()


@functools.cache
def _nobody() -> str:
    """Checked where there is no such user, so that the time does not tell."""
    return _HASHER.hash(secrets.token_hex(16))


async def hashed(services: Services, password: str) -> str:
    async with services.gate.hashing:
        return await asyncio.to_thread(_HASHER.hash, password)


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(stored or _nobody(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


async def _matches(services: Services, stored: str | None, password: str) -> bool:
    async with services.gate.hashing:
        return await asyncio.to_thread(_verify, stored, password)


async def get(session: AsyncSession, user_id: str) -> UserRow:
    row = await session.get(UserRow, user_id)
    if row is None:
        raise NotFound("user", user_id)
    return row


async def create(session: AsyncSession, spec: UserSpec, password_hash: str, now: float) -> UserRow:
    login = spec.login.casefold()
    if await session.scalar(select(UserRow.user_id).where(UserRow.login == login)) is not None:
        raise Exists("user", "login")
    grants = [grant.grant() for grant in spec.grants]
    await tokens.check(session, grants)
    return _add(session, login, spec.name, grants, password_hash, now)


def _add(
    session: AsyncSession, login: str, name: str, grants: Sequence[Grant], password_hash: str | None, now: float
) -> UserRow:
    row = UserRow(
        user_id=ulid(now, secrets.randbits(80)),
        login=login,
        name=name,
        password_hash=password_hash,
        grants=[grant.to_json() for grant in grants],
        disabled=False,
        created_at=now,
    )
    session.add(row)
    return row


async def change(session: AsyncSession, user_id: str, spec: UserChange, password_hash: str | None) -> UserRow:
    """Sessions end when the password changes or the user is disabled; new grants hold in them at once."""
    row = await get(session, user_id)
    if password_hash is not None and row.password_hash is None:
        raise one("password", "is the provider's for this user")
    grants = [grant.grant() for grant in spec.grants]
    await tokens.check(session, grants)
    row.name, row.disabled = spec.name, spec.disabled
    row.grants = [grant.to_json() for grant in grants]
    if password_hash is not None:
        row.password_hash = password_hash
    if password_hash is not None or row.disabled:
        await tokens.end_sessions(session, user_id)
    return row


async def delete(session: AsyncSession, user_id: str) -> None:
    row = await get(session, user_id)
    await tokens.end_sessions(session, user_id)
    await session.delete(row)


async def log_in(services: Services, spec: LoginSpec, lasts_s: float) -> tuple[TokenRow, str]:
    """A session's token. Raises Unauthorized, or TooMany after too many failures; which of the two was wrong, name or
    password, nobody is told."""
    source, login = current().source, spec.login.casefold()
    services.gate.may_log_in(login, source)
    async with services.database.read() as session:
        user = await session.scalar(select(UserRow).where(UserRow.login == login))
    stored = user.password_hash if user is not None else None
    right = await _matches(services, stored, spec.password.get_secret_value())
    caller = _at_the_door(user, source)
    if user is None or stored is None or user.disabled or not right:
        services.gate.log_in_failed(login, source)
        with calling(caller):
            await audit.note(services.database, Unauthorized.error_id)
        raise Unauthorized("the name or the password is wrong")
    services.gate.logged_in(login)
    return await _begin(services, caller, user.user_id, stored, lasts_s)


def _at_the_door(user: UserRow | None, source: str, action: str = "login") -> Caller:
    """A name that is not known may be a password, typed into the wrong field: it is written nowhere."""
    known = ("", "unknown user") if user is None else (user.user_id, user.name)
    return Caller(*known, EVERYTHING, source=source, action=action, thing="login", recorded=True)


async def _begin(
    services: Services, caller: Caller, user_id: str, stored: str | None, lasts_s: float
) -> tuple[TokenRow, str]:
    now = time.time()
    with calling(caller):
        async with services.database.write() as session:
            await tokens.purge(session, now)
            user = await session.get(UserRow, user_id, with_for_update=True)
            if user is None or user.disabled or user.password_hash != stored:  # changed while it was checked
                raise Unauthorized("the name or the password is wrong")
            return tokens.begin_session(session, user, now, now + lasts_s)


async def come_from_provider(
    services: Services, issuer: str, subject: str, name: str, grants: Sequence[Grant], lasts_s: float
) -> tuple[TokenRow, str]:
    """A session's token of a user whom a provider vouches for, with what its claims are mapped to. Who is disabled
    here stays out."""
    login = "oidc:" + hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()
    source, now = current().source, time.time()
    caller = _at_the_door(None, source, "login_oidc")
    with calling(caller):
        async with services.database.write(config=True) as session:
            user = await session.scalar(select(UserRow).where(UserRow.login == login).with_for_update())
            if user is None:
                user = _add(session, login, name, grants, None, now)
            caller.caller_id, caller.name = user.user_id, name
            if not user.disabled:
                user.name, user.grants = name, [grant.to_json() for grant in grants]
                await session.flush()
                return tokens.begin_session(session, user, now, now + lasts_s)
        await audit.note(services.database, Unauthorized.error_id)
    raise Unauthorized("this user is disabled")
