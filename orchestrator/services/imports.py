"""DIDs and agents by the thousand: all rows or none, every fault named by line and field."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import UnitRow
from orchestrator.adapters.db.models import AgentRow, DidRow, FlowVersionRow, PopRow, QueueRow, ScheduleRow
from orchestrator.domain import access
from orchestrator.domain.problems import FieldError
from orchestrator.domain.resources import AgentSpec, DidSpec
from orchestrator.domain.rows import Row, refuse
from orchestrator.services import catalogue, flows, schedules, scope
from orchestrator.services.unit_of_work import UnitOfWork, agent_config, did_config
from pbx.domain.ids import ulid
from pbx.wire.messages import EntityConfig

TAKEN = "is taken"


async def _pops(session: AsyncSession) -> set[str]:
    return {row.pop_id for row in await session.scalars(scope.limited(select(PopRow)))}


async def _units(session: AsyncSession) -> set[str]:
    return {row.unit_id for row in await session.scalars(scope.limited(select(UnitRow)))}


def _unit_fault(unit_id: str | None, units: set[str], line: int) -> list[FieldError]:
    return [] if unit_id is None or unit_id in units else [FieldError("unit_id", f"there is no unit {unit_id}", line)]


async def _shifts(session: AsyncSession) -> dict[str, dict[str, Any]]:
    names = await session.scalars(select(ScheduleRow.schedule_id).where(ScheduleRow.kind == "shifts"))
    return {name: await schedules.shifts(session, name) for name in names.all()}


async def _publish(unit: UnitOfWork, entities: Sequence[tuple[str, EntityConfig]]) -> None:
    by_pop: dict[str, list[EntityConfig]] = defaultdict(list)
    for pop_id, entity in entities:
        by_pop[pop_id].append(entity)
    for pop_id, theirs in by_pop.items():
        await unit.publish_many(theirs, pop_id)


async def dids(
    unit: UnitOfWork, rows: Sequence[Row[DidSpec]], faults: Sequence[FieldError], *, dry_run: bool
) -> list[DidRow]:
    """What was made; nothing when ``dry_run``. ``faults``: what is known to be wrong with other rows of the file."""
    errors = list(faults)
    pops, units = await _pops(unit.session), await _units(unit.session)
    published: list[FlowVersionRow] = list(await unit.session.scalars(scope.limited(flows.published())))
    languages = {flow.flow_id: flow.graph["languages"] for flow in published}
    taken = set(await unit.session.scalars(select(DidRow.number)))
    regions = await catalogue.regions(unit.session)
    for row in rows:
        spec = row.spec
        if spec.number in taken:
            errors.append(FieldError("number", TAKEN, row.line))
        taken.add(spec.number)
        if spec.pop_id not in pops:
            errors.append(FieldError("pop_id", f"there is no POP {spec.pop_id}", row.line))
        errors += _unit_fault(spec.unit_id, units, row.line)
        if (unknown := catalogue.undeclared_region(spec.region, regions)) is not None:
            errors.append(FieldError("region", unknown, row.line))
        if spec.flow_id not in languages:
            errors.append(FieldError("flow_id", f"there is no flow {spec.flow_id}", row.line))
        elif spec.language not in languages[spec.flow_id]:
            offered = ", ".join(languages[spec.flow_id])
            reason = f"is not offered by flow {spec.flow_id}, which has {offered}"
            errors.append(FieldError("language", reason, row.line))
    refuse(errors)
    if dry_run:
        return []
    made = [DidRow(**row.spec.model_dump(), created_at=unit.now) for row in rows]
    unit.session.add_all(made)
    await _publish(unit, [(row.pop_id, did_config(row)) for row in made])
    return made


async def agents(
    unit: UnitOfWork, rows: Sequence[Row[AgentSpec]], faults: Sequence[FieldError], *, dry_run: bool
) -> list[tuple[AgentRow, str]]:
    """Each agent that was made and its phone's password; nothing when ``dry_run``."""
    errors = list(faults)
    pops, units = await _pops(unit.session), await _units(unit.session)
    phones = set(await unit.session.scalars(select(AgentRow.phone_id)))
    there = await unit.session.execute(select(AgentRow.pop_id, AgentRow.extension))
    skills = await catalogue.skills(unit.session)
    shifts = await _shifts(unit.session)
    extensions = {(pop_id, extension) for pop_id, extension in there if extension is not None}
    everywhere = {config.get("extension") for config in await unit.session.scalars(select(QueueRow.config))}
    for row in rows:
        spec = row.spec
        if spec.pop_id not in pops:
            errors.append(FieldError("pop_id", f"there is no POP {spec.pop_id}", row.line))
        errors += _unit_fault(spec.unit_id, units, row.line)
        for fault in catalogue.undeclared_skills(spec.skills, skills):
            errors.append(FieldError(fault.field, fault.reason, row.line))
        if spec.shifts_id is not None and spec.shifts_id not in shifts:
            errors.append(FieldError("shifts_id", f"there are no shifts {spec.shifts_id}", row.line))
        if spec.phone_id is not None:
            if spec.phone_id in phones:
                errors.append(FieldError("phone_id", TAKEN, row.line))
            phones.add(spec.phone_id)
        if spec.extension is not None:
            if (spec.pop_id, spec.extension) in extensions or spec.extension in everywhere:
                errors.append(FieldError("extension", TAKEN, row.line))
            extensions.add((spec.pop_id, spec.extension))
    refuse(errors)
    if dry_run:
        return []
    made = [_agent(unit.now, row.spec, shifts) for row in rows]
    unit.session.add_all(row for row, _ in made)
    await _publish(unit, [(row.pop_id, agent_config(row)) for row, _ in made])
    return made


def _agent(now: float, spec: AgentSpec, shifts: Mapping[str, dict[str, Any]]) -> tuple[AgentRow, str]:
    agent_id = ulid(now, secrets.randbits(80))
    phone_id = spec.phone_id or f"agent-{agent_id.lower()}"
    password = access.new_sip_password()
    values: dict[str, Any] = {**spec.model_dump(), "phone_id": phone_id}
    if spec.shifts_id is not None:
        values["shifts"] = shifts[spec.shifts_id]
    return AgentRow(**values, agent_id=agent_id, ha1=access.ha1(phone_id, password), created_at=now), password
