"""/api/v1/dids"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import DidRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.filters import Id, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Did, PageOf, PageQuery, did_of, page_of
from orchestrator.domain.resources import DidChange, DidSpec
from orchestrator.services import dids
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class DidQuery(PageQuery):
    pop_id: Id | None = None
    flow_id: Id | None = None
    country: Id | None = None
    language: Id | None = None
    region: Id | None = None


async def find(services: Services, query: DidQuery) -> PageOf[Did]:
    """List DIDs."""
    statement = narrowed(
        select(DidRow),
        query,
        pop_id=DidRow.pop_id,
        flow_id=DidRow.flow_id,
        country=DidRow.country,
        language=DidRow.language,
        region=DidRow.region,
    )
    async with services.database.read() as session:
        return page_of(await page(session, statement, DidRow.number, query.page()), did_of)


async def get(services: Services, number: str) -> Did:
    """One DID."""
    async with services.database.read() as session:
        return did_of(await dids.get(session, number))


async def create(services: Services, body: DidSpec) -> Did:
    """Create a DID. Its POP and flow must exist, and the flow must offer the language."""
    async with services.units.begin() as unit:
        return did_of(await dids.create(unit, body))


async def change(services: Services, number: str, body: DidChange) -> Did:
    """Change a DID; a changed POP moves it there."""
    async with services.units.begin() as unit:
        return did_of(await dids.change(unit, number, body))


async def delete(services: Services, number: str) -> None:
    """Delete a DID. New calls to it are refused."""
    async with services.units.begin() as unit:
        await dids.delete(unit, number)


def routes(registry: Registry) -> None:
    one = "/api/v1/dids/{number}"
    registry.route("GET", "/api/v1/dids", tag="dids", roles=STAFF)(find)
    registry.route("POST", "/api/v1/dids", tag="dids", status=201, problems=(409,), roles=ENGINEERS)(create)
    registry.route("GET", one, tag="dids", roles=STAFF)(get)
    registry.route("PUT", one, tag="dids", roles=ENGINEERS)(change)
    registry.route("DELETE", one, tag="dids", status=204, roles=ENGINEERS)(delete)
