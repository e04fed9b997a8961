"""/api/v1/webhook-deliveries: what is sent to webhooks, what was, and dead letters."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import DeliveryRow
from orchestrator.api.access import ENGINEERS
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, page_of
from orchestrator.api.webhook_schemas import Delivery, DeliveryState, delivery_of
from orchestrator.services import scope, webhooks
from orchestrator.services.context import Services
from orchestrator.services.paging import newest_versions


class DeliveryQuery(Period):
    webhook_id: Id | None = None
    state: DeliveryState | None = None
    kind: Id | None = None
    subject: Id | None = None


async def find(services: Services, query: DeliveryQuery) -> PageOf[Delivery]:
    """List deliveries, newest first; dead letters by ``state=dead``. ``since`` and ``until`` are of what happened."""
    statement = narrowed(
        select(DeliveryRow),
        query,
        webhook_id=DeliveryRow.webhook_id,
        state=DeliveryRow.state,
        kind=DeliveryRow.kind,
        subject=DeliveryRow.subject,
    )
    statement = scope.limited(within(statement, query, DeliveryRow.at))
    async with services.database.read() as session:
        found = await newest_versions(session, statement, DeliveryRow.id, query.page(), digits=18)
        return page_of(found, delivery_of)


async def get(services: Services, delivery_id: str) -> Delivery:
    """One delivery."""
    async with services.database.read() as session:
        return delivery_of(await webhooks.get_delivery(session, delivery_id))


async def send_again(services: Services, delivery_id: str) -> Delivery:
    """Send it again, under the same id, whatever became of it. 409 ``webhook_inactive``."""
    async with services.database.write() as session:
        made = delivery_of(await webhooks.send_again(session, delivery_id))
    services.webhooks.wake()
    return made


def routes(registry: Registry) -> None:
    every, one = "/api/v1/webhook-deliveries", "/api/v1/webhook-deliveries/{delivery_id}"
    registry.route("GET", every, tag="webhooks", roles=ENGINEERS)(find)
    registry.route("GET", one, tag="webhooks", roles=ENGINEERS, tagged=False)(get)
    registry.route("POST", one + "/resend", tag="webhooks", problems=(409,), roles=ENGINEERS)(send_again)
