"""/api/v1/pops"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import PopRow
from orchestrator.api.filters import Id, Words, named, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, Pop, PopCreated, page_of, pop_fields
from orchestrator.domain.resources import PopChange, PopSpec
from orchestrator.services import pops
from orchestrator.services.context import Services
from orchestrator.services.paging import page


def _pop(services: Services, row: PopRow) -> Pop:
    return Pop.model_validate(pop_fields(row, services.presence.of(row)))


class PopQuery(PageQuery):
    country: Id | None = None
    name: Words | None = None


async def find(services: Services, query: PopQuery) -> PageOf[Pop]:
    """List POPs, with what their last heartbeat said."""
    statement = named(narrowed(select(PopRow), query, country=PopRow.country), query.name, PopRow.name)
    async with services.database.read() as session:
        rows = await page(session, statement, PopRow.pop_id, query.page())
    return page_of(rows, lambda row: _pop(services, row))


async def get(services: Services, pop_id: str) -> Pop:
    """One POP, with what its last heartbeat said."""
    async with services.database.read() as session:
        return _pop(services, await pops.get(session, pop_id))


async def create(services: Services, body: PopSpec) -> PopCreated:
    """Create a POP. The answer holds its key, which is shown only here."""
    async with services.units.begin() as unit:
        row, key = await pops.create(unit, body)
    await services.logins_changed()
    return PopCreated.model_validate({**pop_fields(row, services.presence.of(row)), "key": key})


async def change(services: Services, pop_id: str, body: PopChange) -> Pop:
    """Change a POP."""
    async with services.units.begin() as unit:
        row = await pops.change(unit, pop_id, body)
    return _pop(services, row)


async def new_key(services: Services, pop_id: str) -> PopCreated:
    """Give the POP a new key; the former one stops working."""
    async with services.units.begin() as unit:
        row, key = await pops.new_key(unit, pop_id)
    await services.logins_changed()
    return PopCreated.model_validate({**pop_fields(row, services.presence.of(row)), "key": key})


async def delete(services: Services, pop_id: str) -> None:
    """Delete a POP without numbers and agents. Its key stops working; its calls and events stay."""
    async with services.units.begin() as unit:
        await pops.delete(unit, pop_id)
    await services.logins_changed()


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/pops", tag="pops")(find)
    registry.route("POST", "/api/v1/pops", tag="pops", status=201, problems=(409,))(create)
    registry.route("GET", "/api/v1/pops/{pop_id}", tag="pops")(get)
    registry.route("PUT", "/api/v1/pops/{pop_id}", tag="pops")(change)
    registry.route("DELETE", "/api/v1/pops/{pop_id}", tag="pops", status=204, problems=(409,))(delete)
    registry.route("POST", "/api/v1/pops/{pop_id}/key", tag="pops", status=201)(new_key)
