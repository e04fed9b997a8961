"""/api/v1/users: people who log in."""

from __future__ import annotations

import time

from sqlalchemy import select

from orchestrator.adapters.db.access_models import UserRow
from orchestrator.api.access import ADMINS
from orchestrator.api.access_schemas import User, user_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.access_resources import UserChange, UserSpec
from orchestrator.services import users
from orchestrator.services.context import Services
from orchestrator.services.paging import page


async def find(services: Services, query: PageQuery) -> PageOf[User]:
    """List users, those of a provider too."""
    async with services.database.read() as session:
        return page_of(await page(session, select(UserRow), UserRow.user_id, query.page()), user_of)


async def get(services: Services, user_id: str) -> User:
    """One user."""
    async with services.database.read() as session:
        return user_of(await users.get(session, user_id))


async def create(services: Services, body: UserSpec) -> User:
    """Create a user who logs in with a password."""
    password_hash = await users.hashed(services, body.password.get_secret_value())
    async with services.database.write(config=True) as session:
        return user_of(await users.create(session, body, password_hash, time.time()))


async def change(services: Services, user_id: str, body: UserChange) -> User:
    """Change a user. A new password, or ``disabled``, ends the sessions. A provider's user gets name and grants anew
    at each login."""
    password_hash = None if body.password is None else await users.hashed(services, body.password.get_secret_value())
    async with services.database.write(config=True) as session:
        return user_of(await users.change(session, user_id, body, password_hash))


async def delete(services: Services, user_id: str) -> None:
    """Delete a user; the sessions end."""
    async with services.database.write(config=True) as session:
        await users.delete(session, user_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/users", "/api/v1/users/{user_id}"
    registry.route("GET", every, tag="users", roles=ADMINS, whole=True)(find)
    registry.route("POST", every, tag="users", status=201, problems=(409,), roles=ADMINS, whole=True)(create)
    registry.route("GET", one, tag="users", roles=ADMINS, whole=True)(get)
    registry.route("PUT", one, tag="users", roles=ADMINS, whole=True)(change)
    registry.route("DELETE", one, tag="users", status=204, roles=ADMINS, whole=True)(delete)
