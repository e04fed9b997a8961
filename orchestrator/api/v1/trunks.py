"""/api/v1/pops/{pop_id}/trunks and /api/v1/pops/{pop_id}/dialplan"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import TrunkRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.named_schemas import DialplanSettings, Trunk, TrunkSettings, trunk_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.named import TrunkChange, TrunkSpec
from orchestrator.services import pops, trunks
from orchestrator.services.context import Services
from orchestrator.services.paging import page


async def find(services: Services, pop_id: str, query: PageQuery) -> PageOf[Trunk]:
    """List the trunks of a POP."""
    async with services.database.read() as session:
        await pops.get(session, pop_id)
        statement = select(TrunkRow).where(TrunkRow.pop_id == pop_id)
        return page_of(await page(session, statement, TrunkRow.name, query.page()), trunk_of)


async def get(services: Services, pop_id: str, name: str) -> Trunk:
    """One trunk of a POP, without its password."""
    async with services.database.read() as session:
        return trunk_of(await trunks.get(session, pop_id, name))


async def create(services: Services, pop_id: str, body: TrunkSpec) -> Trunk:
    """Create a trunk: a carrier's SIP interconnect at the POP. It works once the POP's files are rendered with it."""
    async with services.units.begin() as unit:
        return trunk_of(await trunks.create(unit, pop_id, body, services.secrets))


async def change(services: Services, pop_id: str, name: str, body: TrunkChange) -> Trunk:
    """Change a trunk. A password that is left out stays, as long as there is a user name."""
    async with services.units.begin() as unit:
        return trunk_of(await trunks.change(unit, pop_id, name, body, services.secrets))


async def delete(services: Services, pop_id: str, name: str) -> None:
    """Delete a trunk. It works until the POP's files are rendered without it."""
    async with services.units.begin() as unit:
        await trunks.delete(unit, pop_id, name)


async def dialplan(services: Services, pop_id: str) -> DialplanSettings:
    """What the centre knows of the POP's dialplan, for ``callplane render --trunks``: with the passwords of its
    trunks.
    """
    async with services.database.read() as session:
        pop = await pops.get(session, pop_id)
        found = await trunks.of_pop(session, pop_id, services.secrets)
    return DialplanSettings(
        pop_id=pop.pop_id, country=pop.country, trunks=[TrunkSettings.model_validate(trunk) for trunk in found]
    )


def routes(registry: Registry) -> None:
    every, one = "/api/v1/pops/{pop_id}/trunks", "/api/v1/pops/{pop_id}/trunks/{name}"
    registry.route("GET", every, tag="trunks", roles=STAFF)(find)
    registry.route("POST", every, tag="trunks", status=201, problems=(409,), roles=ENGINEERS, whole=True)(create)
    registry.route("GET", one, tag="trunks", roles=STAFF)(get)
    registry.route("PUT", one, tag="trunks", problems=(409,), roles=ENGINEERS, whole=True)(change)
    registry.route("DELETE", one, tag="trunks", status=204, roles=ENGINEERS, whole=True)(delete)
    registry.route("GET", "/api/v1/pops/{pop_id}/dialplan", tag="trunks", roles=ENGINEERS, whole=True, recorded=True)(
        dialplan
    )
