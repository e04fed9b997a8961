"""/api/v1/webhooks"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import WebhookRow
from orchestrator.api.access import ENGINEERS
from orchestrator.api.filters import narrowed
from orchestrator.api.named_schemas import Webhook, WebhookCreated, webhook_fields
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.named import WebhookChange, WebhookSpec
from orchestrator.services import webhooks
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class WebhookQuery(PageQuery):
    active: bool | None = None


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook.model_validate(webhook_fields(row))


def _created(row: WebhookRow, secret: str) -> WebhookCreated:
    return WebhookCreated.model_validate({**webhook_fields(row), "secret": secret})


async def find(services: Services, query: WebhookQuery) -> PageOf[Webhook]:
    """List webhooks, without their secrets."""
    statement = narrowed(select(WebhookRow), query, active=WebhookRow.active)
    async with services.database.read() as session:
        return page_of(await page(session, statement, WebhookRow.webhook_id, query.page()), _webhook)


async def get(services: Services, webhook_id: str) -> Webhook:
    """One webhook."""
    async with services.database.read() as session:
        return _webhook(await webhooks.get(session, webhook_id))


async def create(services: Services, body: WebhookSpec) -> WebhookCreated:
    """Have events sent to an address. The answer holds the secret that deliveries are signed with, only here."""
    async with services.units.begin() as unit:
        return _created(*await webhooks.create(unit, body, services.secrets))


async def change(services: Services, webhook_id: str, body: WebhookChange) -> Webhook:
    """Change a webhook; its secret stays."""
    async with services.units.begin() as unit:
        return _webhook(await webhooks.change(unit, webhook_id, body))


async def renew_secret(services: Services, webhook_id: str) -> WebhookCreated:
    """Give the webhook a new secret; the former one signs nothing any more."""
    async with services.units.begin() as unit:
        return _created(*await webhooks.renew_secret(unit, webhook_id, services.secrets))


async def delete(services: Services, webhook_id: str) -> None:
    """Delete a webhook."""
    async with services.units.begin() as unit:
        await webhooks.delete(unit, webhook_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/webhooks", "/api/v1/webhooks/{webhook_id}"
    registry.route("GET", every, tag="webhooks", roles=ENGINEERS, whole=True)(find)
    registry.route("POST", every, tag="webhooks", status=201, roles=ENGINEERS, whole=True)(create)
    registry.route("GET", one, tag="webhooks", roles=ENGINEERS, whole=True)(get)
    registry.route("PUT", one, tag="webhooks", roles=ENGINEERS, whole=True)(change)
    registry.route("DELETE", one, tag="webhooks", status=204, roles=ENGINEERS, whole=True)(delete)
    registry.route("POST", one + "/secret", tag="webhooks", status=201, roles=ENGINEERS, whole=True)(renew_secret)
