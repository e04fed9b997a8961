"""DIDs: the numbers callers dial, each at one POP with one flow."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import DidRow
from orchestrator.domain.problems import Exists, FieldError, Invalid, NotFound
from orchestrator.domain.resources import DidChange, DidSpec
from orchestrator.services import catalogue, flows, pops, scope, units
from orchestrator.services.unit_of_work import UnitOfWork, did_config, did_key


async def get(session: AsyncSession, number: str) -> DidRow:
    row = await scope.get(session, DidRow, number)
    if row is None:
        raise NotFound("did", number)
    return row


async def _check(session: AsyncSession, spec: DidChange) -> None:
    await pops.require(session, spec.pop_id)
    await units.require(session, spec.unit_id)
    graph = await flows.published_graph(session, spec.flow_id)
    if graph is None:
        raise Invalid([FieldError("flow_id", f"there is no flow {spec.flow_id}")])
    if (unknown := catalogue.undeclared_region(spec.region, await catalogue.regions(session))) is not None:
        raise Invalid([FieldError("region", unknown)])
    if spec.language not in graph["languages"]:
        offered = ", ".join(graph["languages"])
        raise Invalid([FieldError("language", f"is not offered by flow {spec.flow_id}, which has {offered}")])


async def create(unit: UnitOfWork, spec: DidSpec) -> DidRow:
    if await unit.session.get(DidRow, spec.number) is not None:
        raise Exists("did", "number")
    await _check(unit.session, spec)
    row = DidRow(**spec.model_dump(), created_at=unit.now)
    unit.session.add(row)
    await unit.publish(did_config(row), [row.pop_id])
    return row


async def change(unit: UnitOfWork, number: str, spec: DidChange) -> DidRow:
    row = await get(unit.session, number)
    await _check(unit.session, spec)
    if row.pop_id != spec.pop_id:
        await unit.withdraw(did_key(number), [row.pop_id])
    for name, value in spec.model_dump().items():
        setattr(row, name, value)
    await unit.publish(did_config(row), [row.pop_id])
    return row


async def delete(unit: UnitOfWork, number: str) -> None:
    row = await get(unit.session, number)
    await unit.session.delete(row)
    await unit.withdraw(did_key(number), [row.pop_id])
