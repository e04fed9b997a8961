"""/api/v1/pops"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import PopRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.filters import Id, Words, named, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, Pop, PopCreated, page_of, pop_fields
from orchestrator.domain.resources import PopChange, PopSpec
from orchestrator.services import pops
from orchestrator.services.context import Services
from orchestrator.services.paging import page


async def _fields(services: Services, session: AsyncSession, row: PopRow) -> dict[str, Any]:
    behind_s = await services.presence.seconds_behind(session, [row])
    return pop_fields(row, services.presence.of(row), behind_s.get(row.pop_id))


class PopQuery(PageQuery):
    country: Id | None = None
    name: Words | None = None


async def find(services: Services, query: PopQuery) -> PageOf[Pop]:
    """List POPs, with what their last heartbeat said."""
    statement = named(narrowed(select(PopRow), query, country=PopRow.country), query.name, PopRow.name)
    async with services.database.read() as session:
        rows = await page(session, statement, PopRow.pop_id, query.page())
        behind_s = await services.presence.seconds_behind(session, rows.items)

    def pop(row: PopRow) -> Pop:
        return Pop.model_validate(pop_fields(row, services.presence.of(row), behind_s.get(row.pop_id)))

    return page_of(rows, pop)


async def get(services: Services, pop_id: str) -> Pop:
    """One POP, with what its last heartbeat said."""
    async with services.database.read() as session:
        return Pop.model_validate(await _fields(services, session, await pops.get(session, pop_id)))


async def create(services: Services, body: PopSpec) -> PopCreated:
    """Create a POP. The answer holds its key, which is shown only here."""
    async with services.units.begin() as unit:
        row, key = await pops.create(unit, body)
        fields = await _fields(services, unit.session, row)
    await services.logins_changed()
    return PopCreated.model_validate({**fields, "key": key})


async def change(services: Services, pop_id: str, body: PopChange) -> Pop:
    """Change a POP."""
    async with services.units.begin() as unit:
        row = await pops.change(unit, pop_id, body)
        return Pop.model_validate(await _fields(services, unit.session, row))


async def new_key(services: Services, pop_id: str) -> PopCreated:
    """Give the POP a new key; the former one stops working."""
    async with services.units.begin() as unit:
        row, key = await pops.new_key(unit, pop_id)
        fields = await _fields(services, unit.session, row)
    await services.logins_changed()
    return PopCreated.model_validate({**fields, "key": key})


async def drain(services: Services, pop_id: str) -> Pop:
    """Take the POP out of service without cutting a call: new calls are refused with Q.850 42 (SIP 503), upon which
    carriers take their next route, and nobody is called back from there; live calls, waiting ones too, go on to their
    end. ``drain`` and ``live_calls`` say how far it has come. Agents stay as they are. Again: nothing changes.
    """
    async with services.units.begin() as unit:
        row = await pops.drain(unit, pop_id)
        return Pop.model_validate(await _fields(services, unit.session, row))


async def undrain(services: Services, pop_id: str) -> Pop:
    """The POP takes calls again, and callbacks that waited go on."""
    async with services.units.begin() as unit:
        row = await pops.undrain(unit, pop_id)
        return Pop.model_validate(await _fields(services, unit.session, row))


async def delete(services: Services, pop_id: str) -> None:
    """Delete a POP without numbers and agents. Its key stops working; its calls and events stay."""
    async with services.units.begin() as unit:
        await pops.delete(unit, pop_id)
    await services.logins_changed()


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/pops", tag="pops", roles=STAFF)(find)
    registry.route("POST", "/api/v1/pops", tag="pops", status=201, problems=(409,), roles=ENGINEERS)(create)
    registry.route("GET", "/api/v1/pops/{pop_id}", tag="pops", roles=STAFF)(get)
    registry.route("PUT", "/api/v1/pops/{pop_id}", tag="pops", roles=ENGINEERS)(change)
    registry.route("DELETE", "/api/v1/pops/{pop_id}", tag="pops", status=204, problems=(409,), roles=ENGINEERS)(delete)
    registry.route("POST", "/api/v1/pops/{pop_id}/drain", tag="pops", roles=ENGINEERS)(drain)
    registry.route("POST", "/api/v1/pops/{pop_id}/undrain", tag="pops", roles=ENGINEERS)(undrain)
    registry.route("POST", "/api/v1/pops/{pop_id}/key", tag="pops", status=201, roles=ENGINEERS)(new_key)
