"""/api/v1/tokens"""

from __future__ import annotations

import time

from sqlalchemy import select

from orchestrator.adapters.db.models import TokenRow
from orchestrator.api.access import ADMINS
from orchestrator.api.access_schemas import Token, TokenCreated, token_fields
from orchestrator.api.filters import Words, named
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.access_resources import TokenSpec
from orchestrator.services import tokens
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class TokenQuery(PageQuery):
    name: Words | None = None


async def find(services: Services, query: TokenQuery) -> PageOf[Token]:
    """List tokens of programs and users' sessions, without their secrets."""
    statement = named(select(TokenRow), query.name, TokenRow.name)
    async with services.database.read() as session:
        rows = await page(session, statement, TokenRow.token_id, query.page())
    return page_of(rows, lambda row: Token.model_validate(token_fields(row)))


async def create(services: Services, body: TokenSpec) -> TokenCreated:
    """Create a token. The answer holds it, and only this one."""
    grants = None if body.grants is None else [spec.grant() for spec in body.grants]
    expires_at = None if body.expires_at is None else body.expires_at.timestamp()
    async with services.database.write() as session:
        row, token = await tokens.create(session, body.name, time.time(), grants, expires_at)
    return TokenCreated.model_validate({**token_fields(row), "token": token})


async def delete(services: Services, token_id: str) -> None:
    """Revoke a token at once."""
    async with services.database.write() as session:
        await tokens.delete(session, token_id)


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/tokens", tag="tokens", roles=ADMINS, whole=True)(find)
    registry.route("POST", "/api/v1/tokens", tag="tokens", status=201, roles=ADMINS, whole=True)(create)
    registry.route("DELETE", "/api/v1/tokens/{token_id}", tag="tokens", status=204, roles=ADMINS, whole=True)(delete)
