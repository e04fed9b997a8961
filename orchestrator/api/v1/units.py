"""/api/v1/units: business units."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.access_models import UnitRow
from orchestrator.api.access import ADMINS, EVERYBODY
from orchestrator.api.access_schemas import Unit, unit_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.resources import UnitChange, UnitSpec
from orchestrator.services import units
from orchestrator.services.context import Services
from orchestrator.services.paging import page


async def find(services: Services, query: PageQuery) -> PageOf[Unit]:
    """List business units."""
    async with services.database.read() as session:
        return page_of(await page(session, select(UnitRow), UnitRow.unit_id, query.page()), unit_of)


async def get(services: Services, unit_id: str) -> Unit:
    """One business unit."""
    async with services.database.read() as session:
        return unit_of(await units.get(session, unit_id))


async def create(services: Services, body: UnitSpec) -> Unit:
    """Create a business unit. Queues, agents, DIDs and flows name it as their ``unit_id``."""
    async with services.units.begin() as unit:
        return unit_of(await units.create(unit, body))


async def change(services: Services, unit_id: str, body: UnitChange) -> Unit:
    """Rename a business unit."""
    async with services.units.begin() as unit:
        return unit_of(await units.change(unit, unit_id, body))


async def delete(services: Services, unit_id: str) -> None:
    """Delete a business unit that nothing belongs to. Its past calls stay with who holds grants for it."""
    async with services.units.begin() as unit:
        await units.delete(unit, unit_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/units", "/api/v1/units/{unit_id}"
    registry.route("GET", every, tag="units", roles=EVERYBODY)(find)
    registry.route("POST", every, tag="units", status=201, problems=(409,), roles=ADMINS, whole=True)(create)
    registry.route("GET", one, tag="units", roles=EVERYBODY)(get)
    registry.route("PUT", one, tag="units", roles=ADMINS, whole=True)(change)
    registry.route("DELETE", one, tag="units", status=204, problems=(409,), roles=ADMINS, whole=True)(delete)
