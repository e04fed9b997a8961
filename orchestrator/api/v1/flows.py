"""/api/v1/flows"""

from __future__ import annotations

from aiohttp import web

from orchestrator.adapters.db.models import FlowVersionRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.auth import who
from orchestrator.api.filters import Words, narrowed
from orchestrator.api.flow_schemas import Flow, FlowVersion, flow_of, flow_version_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.problems import NotFound
from orchestrator.domain.resources import FlowChange, FlowSpec, VersionToRestore
from orchestrator.services import flows
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class FlowQuery(PageQuery):
    published_by: Words | None = None
    """Name of the token that published the present version."""


async def find(services: Services, query: FlowQuery) -> PageOf[Flow]:
    """List flows."""
    statement = narrowed(flows.published(), query, published_by=FlowVersionRow.created_by)
    async with services.database.read() as session:
        return page_of(await page(session, statement, FlowVersionRow.flow_id, query.page()), flow_of)


async def get(services: Services, flow_id: str) -> Flow:
    """One flow."""
    async with services.database.read() as session:
        return flow_of(await flows.get(session, flow_id))


async def create(services: Services, request: web.Request, body: FlowSpec) -> Flow:
    """Create a flow. It is checked whole: nodes, targets, queues, and every prompt in every language it offers."""
    async with services.units.begin() as unit:
        return flow_of(await flows.create(unit, body, services.prompts, who(request)))


async def change(services: Services, request: web.Request, flow_id: str, body: FlowChange) -> Flow:
    """Publish a new version. Calls in the flow keep the version they started with."""
    async with services.units.begin() as unit:
        return flow_of(await flows.change(unit, flow_id, body, services.prompts, who(request)))


async def versions(services: Services, flow_id: str, query: PageQuery) -> PageOf[FlowVersion]:
    """The versions of a flow, newest first: who published what when."""
    async with services.database.read() as session:
        return page_of(await flows.versions(session, flow_id, query.page()), flow_version_of)


async def version(services: Services, flow_id: str, version: str) -> Flow:
    """One version of a flow, published now or once."""
    if not (version.isascii() and version.isdecimal() and len(version) < 10):
        raise NotFound("flow_version", f"{version} of flow {flow_id}")
    async with services.database.read() as session:
        return flow_of(await flows.version_of(session, flow_id, int(version)))


async def roll_back(services: Services, request: web.Request, flow_id: str, body: VersionToRestore) -> Flow:
    """Publish an earlier version's graph anew, as a new version. It is checked again: what it names may be gone."""
    async with services.units.begin() as unit:
        return flow_of(await flows.roll_back(unit, flow_id, body.version, services.prompts, who(request)))


async def delete(services: Services, flow_id: str) -> None:
    """Delete a flow that no DID starts, with its versions and its draft."""
    async with services.units.begin() as unit:
        await flows.delete(unit, flow_id)


def routes(registry: Registry) -> None:
    one = "/api/v1/flows/{flow_id}"
    registry.route("GET", "/api/v1/flows", tag="flows", roles=STAFF)(find)
    registry.route("POST", "/api/v1/flows", tag="flows", status=201, problems=(409,), roles=ENGINEERS)(create)
    registry.route("GET", one, tag="flows", roles=STAFF)(get)
    registry.route("PUT", one, tag="flows", roles=ENGINEERS)(change)
    registry.route("DELETE", one, tag="flows", status=204, problems=(409,), roles=ENGINEERS)(delete)
    registry.route("GET", f"{one}/versions", tag="flows", roles=STAFF)(versions)
    registry.route("GET", f"{one}/versions/{{version}}", tag="flows", roles=STAFF)(version)
    registry.route("POST", f"{one}/rollback", tag="flows", status=201, roles=ENGINEERS)(roll_back)
