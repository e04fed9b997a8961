"""/api/v1/flows"""

from __future__ import annotations

from orchestrator.adapters.db.models import FlowVersionRow
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Flow, PageOf, PageQuery, flow_of, page_of
from orchestrator.domain.resources import FlowChange, FlowSpec
from orchestrator.services import flows
from orchestrator.services.context import Services
from orchestrator.services.paging import page


async def find(services: Services, query: PageQuery) -> PageOf[Flow]:
    """List flows."""
    async with services.database.read() as session:
        return page_of(await page(session, flows.published(), FlowVersionRow.flow_id, query.page()), flow_of)


async def get(services: Services, flow_id: str) -> Flow:
    """One flow."""
    async with services.database.read() as session:
        return flow_of(await flows.get(session, flow_id))


async def create(services: Services, body: FlowSpec) -> Flow:
    """Create a flow. It is checked whole: nodes, targets, queues, and every prompt in every language it offers."""
    async with services.units.begin() as unit:
        return flow_of(await flows.create(unit, body, services.prompts))


async def change(services: Services, flow_id: str, body: FlowChange) -> Flow:
    """Publish a new version. Calls in the flow keep the version they started with."""
    async with services.units.begin() as unit:
        return flow_of(await flows.change(unit, flow_id, body, services.prompts))


async def delete(services: Services, flow_id: str) -> None:
    """Delete a flow that no DID starts."""
    async with services.units.begin() as unit:
        await flows.delete(unit, flow_id)


def routes(registry: Registry) -> None:
    one = "/api/v1/flows/{flow_id}"
    registry.route("GET", "/api/v1/flows", tag="flows")(find)
    registry.route("POST", "/api/v1/flows", tag="flows", status=201, problems=(409,))(create)
    registry.route("GET", one, tag="flows")(get)
    registry.route("PUT", one, tag="flows")(change)
    registry.route("DELETE", one, tag="flows", status=204, problems=(409,))(delete)
