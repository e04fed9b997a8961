"""/api/v1/webhooks"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import WebhookRow
from orchestrator.api.access import ENGINEERS
from orchestrator.api.filters import Id, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.api.webhook_schemas import (
    Backlog,
    Delivery,
    SentAgain,
    Webhook,
    WebhookCreated,
    delivery_of,
    webhook_fields,
)
from orchestrator.domain.named import SecretRenewal, WebhookChange, WebhookSpec
from orchestrator.services import webhooks
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class WebhookQuery(PageQuery):
    active: bool | None = None
    unit_id: Id | None = None


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook.model_validate(webhook_fields(row))


def _created(row: WebhookRow, secret: str) -> WebhookCreated:
    return WebhookCreated.model_validate({**webhook_fields(row), "secret": secret})


async def find(services: Services, query: WebhookQuery) -> PageOf[Webhook]:
    """List webhooks, without their secrets."""
    statement = narrowed(select(WebhookRow), query, active=WebhookRow.active, unit_id=WebhookRow.unit_id)
    async with services.database.read() as session:
        return page_of(await page(session, statement, WebhookRow.webhook_id, query.page()), _webhook)


async def get(services: Services, webhook_id: str) -> Webhook:
    """One webhook."""
    async with services.database.read() as session:
        return _webhook(await webhooks.get(session, webhook_id))


async def create(services: Services, body: WebhookSpec) -> WebhookCreated:
    """Have events sent to an address. The answer holds the secret that deliveries are signed with, only here.

    What is sent is in this document under ``webhooks``. It is signed as the Standard Webhooks specification says, sent
    at least once, retried for a day, and of one call, callback or agent in order.
    """
    async with services.units.begin() as unit:
        return _created(*await webhooks.create(unit, body, services.secrets, services.webhook_networks))


async def change(services: Services, webhook_id: str, body: WebhookChange) -> Webhook:
    """Change a webhook; its secret stays."""
    async with services.units.begin() as unit:
        changed = _webhook(await webhooks.change(unit, webhook_id, body, services.webhook_networks))
    services.webhooks.wake()
    return changed


async def renew_secret(services: Services, webhook_id: str, body: SecretRenewal) -> WebhookCreated:
    """Give the webhook a new secret. For ``keep_former_s`` deliveries are signed with both, so that the receiver can
    change over."""
    async with services.units.begin() as unit:
        return _created(*await webhooks.renew_secret(unit, webhook_id, services.secrets, body.keep_former_s))


async def delete(services: Services, webhook_id: str) -> None:
    """Delete a webhook, with what waits for it and its dead letters."""
    async with services.units.begin() as unit:
        await webhooks.delete(unit, webhook_id)


async def test(services: Services, webhook_id: str) -> Delivery:
    """Send a message of kind ``WebhookTest``, like all others; the delivery says what becomes of it.

    409 ``webhook_inactive``.
    """
    async with services.database.write() as session:
        made = delivery_of(await webhooks.test(session, webhook_id))
    services.webhooks.wake()
    return made


async def send_again(services: Services, webhook_id: str) -> SentAgain:
    """Send all dead letters again, each under its id. 409 ``webhook_inactive``."""
    async with services.database.write() as session:
        count = await webhooks.send_dead_again(session, webhook_id)
    services.webhooks.wake()
    return SentAgain(deliveries=count)


async def backlog(services: Services, webhook_id: str) -> Backlog:
    """How much waits, since when, and what was last heard of the target."""
    async with services.database.read() as session:
        return Backlog.model_validate(await webhooks.backlog(session, webhook_id))


def routes(registry: Registry) -> None:
    every, one = "/api/v1/webhooks", "/api/v1/webhooks/{webhook_id}"
    registry.route("GET", every, tag="webhooks", roles=ENGINEERS)(find)
    registry.route("POST", every, tag="webhooks", status=201, roles=ENGINEERS)(create)
    registry.route("GET", one, tag="webhooks", roles=ENGINEERS)(get)
    registry.route("PUT", one, tag="webhooks", roles=ENGINEERS)(change)
    registry.route("DELETE", one, tag="webhooks", status=204, roles=ENGINEERS)(delete)
    registry.route("POST", one + "/secret", tag="webhooks", status=201, roles=ENGINEERS)(renew_secret)
    registry.route("POST", one + "/test", tag="webhooks", status=201, problems=(409,), roles=ENGINEERS)(test)
    registry.route("POST", one + "/resend", tag="webhooks", problems=(409,), roles=ENGINEERS)(send_again)
    registry.route("GET", one + "/backlog", tag="webhooks", roles=ENGINEERS, tagged=False)(backlog)
