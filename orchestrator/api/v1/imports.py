"""/api/v1/dids/import and /api/v1/agents/import"""

from __future__ import annotations

import asyncio

from aiohttp import web

from orchestrator.api.access import ENGINEERS
from orchestrator.api.answer import Answer
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import AgentCreated, Did, agent_created, did_of
from orchestrator.domain import rows
from orchestrator.domain.resources import AgentSpec, DidSpec
from orchestrator.domain.strict import Strict
from orchestrator.services import imports
from orchestrator.services.context import Services

MOST = 16 << 20


class ImportQuery(Strict):
    dry_run: bool = False
    """Only say what is wrong; nothing is written."""


class Imported(Answer):
    dry_run: bool
    rows: int


class ImportedDids(Imported):
    items: list[Did]


class ImportedAgents(Imported):
    items: list[AgentCreated]
    """With the phones' passwords, which are shown only here."""


async def dids(services: Services, request: web.Request, content: bytes, query: ImportQuery) -> ImportedDids:
    """Create DIDs from CSV, whose first line names the fields, or JSON lines: all or none.

    422 names what is wrong by row and field, of all rows at once.
    """
    found, faults = await asyncio.to_thread(rows.read, content, request.content_type, DidSpec)
    async with services.units.begin() as unit:
        made = await imports.dids(unit, found, faults, dry_run=query.dry_run)
    return ImportedDids(dry_run=query.dry_run, rows=len(found), items=[did_of(row) for row in made])


async def agents(services: Services, request: web.Request, content: bytes, query: ImportQuery) -> ImportedAgents:
    """Create agents from CSV, whose first line names the fields, or JSON lines: all or none.

    In CSV skills are written ``lang:de=5 sales=3``, shifts and capacity as JSON; empty cells take the default. 422
    names what is wrong by row and field, of all rows at once.
    """
    found, faults = await asyncio.to_thread(rows.read, content, request.content_type, AgentSpec)
    async with services.units.begin() as unit:
        made = await imports.agents(unit, found, faults, dry_run=query.dry_run)
    items = [agent_created(row, password) for row, password in made]
    return ImportedAgents(dry_run=query.dry_run, rows=len(found), items=items)


def routes(registry: Registry) -> None:
    registry.route("POST", "/api/v1/dids/import", tag="dids", content_types=rows.KINDS, max_body=MOST, roles=ENGINEERS)(
        dids
    )
    registry.route(
        "POST", "/api/v1/agents/import", tag="agents", content_types=rows.KINDS, max_body=MOST, roles=ENGINEERS
    )(agents)
