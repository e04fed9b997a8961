"""/api/v1/flows/{flow_id}/draft, check and publish; /api/v1/flow-drafts"""

from __future__ import annotations

from aiohttp import web

from orchestrator.adapters.db.models import FlowDraftRow
from orchestrator.api.access import ENGINEERS
from orchestrator.api.auth import who
from orchestrator.api.filters import Words, narrowed
from orchestrator.api.flow_schemas import (
    Draft,
    DraftSummary,
    Flow,
    FlowCheck,
    draft_of,
    draft_summary_of,
    flow_of,
    flow_problems,
)
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.resources import DraftChange, DraftToPublish, FlowChange
from orchestrator.services import flow_drafts
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class DraftQuery(PageQuery):
    saved_by: Words | None = None
    """Name of the token."""


async def find(services: Services, query: DraftQuery) -> PageOf[DraftSummary]:
    """List drafts, of flows that are published and of those that are not yet."""
    statement = narrowed(flow_drafts.drafts(), query, saved_by=FlowDraftRow.saved_by)
    async with services.database.read() as session:
        return page_of(await page(session, statement, FlowDraftRow.flow_id, query.page()), draft_summary_of)


async def get(services: Services, flow_id: str) -> Draft:
    """The draft of a flow, with what is wrong with it now."""
    async with services.database.read() as session:
        row = await flow_drafts.get(session, flow_id)
    return await _answer(services, row)


async def save(services: Services, request: web.Request, flow_id: str, body: DraftChange) -> Draft:
    """Save a draft, whatever its faults: they are in the answer. The flow need not exist yet; no POP gets the draft."""
    async with services.units.begin() as unit:
        row = await flow_drafts.save(unit, flow_id, body, who(request))
    return await _answer(services, row)


async def _answer(services: Services, row: FlowDraftRow) -> Draft:
    graph = row.graph or {}
    found = await flow_drafts.examined(graph)
    async with services.database.read() as session:
        return draft_of(row, await flow_drafts.problems_of(session, row.flow_id, graph, found, services.prompts))


async def discard(services: Services, flow_id: str) -> None:
    """Throw the draft away."""
    async with services.units.begin() as unit:
        await flow_drafts.discard(unit, flow_id)


async def check(services: Services, flow_id: str, body: FlowChange) -> FlowCheck:
    """Everything that keeps a graph from being published as this flow, all at once. Nothing is stored."""
    found = await flow_drafts.examined(body.graph)
    async with services.database.read() as session:
        problems = await flow_drafts.problems_of(session, flow_id, body.graph, found, services.prompts)
    return FlowCheck(problems=flow_problems(problems))


async def publish(services: Services, request: web.Request, flow_id: str, body: DraftToPublish) -> Flow:
    """Publish the draft: it becomes the next version, and goes to all POPs. Running calls keep the one they have."""
    async with services.units.begin() as unit:
        row = await flow_drafts.publish(unit, flow_id, body.draft_revision, services.prompts, who(request))
        return flow_of(row)


def routes(registry: Registry) -> None:
    flow = "/api/v1/flows/{flow_id}"
    registry.route("GET", "/api/v1/flow-drafts", tag="flows", roles=ENGINEERS)(find)
    registry.route("GET", f"{flow}/draft", tag="flows", roles=ENGINEERS)(get)
    registry.route("PUT", f"{flow}/draft", tag="flows", problems=(409,), roles=ENGINEERS, checked="before")(save)
    registry.route("DELETE", f"{flow}/draft", tag="flows", status=204, roles=ENGINEERS, checked="before")(discard)
    registry.route("POST", f"{flow}/check", tag="flows", roles=ENGINEERS, recorded=False)(check)
    registry.route("POST", f"{flow}/publish", tag="flows", status=201, problems=(409,), roles=ENGINEERS)(publish)
