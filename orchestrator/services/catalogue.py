"""Regions and skills by name. As long as none is declared, DIDs and POPs may name any region, agents and queues any
skill; from the first one on only declared ones. The first one takes along all that are in use, so that nothing breaks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import AgentRow, DidRow, PopRow, QueueRow, RegionRow, SkillRow
from orchestrator.domain.named import RegionChange, RegionSpec, SkillChange, SkillSpec
from orchestrator.domain.problems import Exists, FieldError, InUse, NotFound
from orchestrator.services.unit_of_work import UnitOfWork


async def region(session: AsyncSession, region_id: str) -> RegionRow:
    row = await session.get(RegionRow, region_id)
    if row is None:
        raise NotFound("region", region_id)
    return row


def undeclared_region(region_id: str, declared: Collection[str]) -> str | None:
    """Why a DID or POP may not name it, given what is declared (``regions``)."""
    return f"there is no region {region_id}" if declared and region_id not in declared else None


async def regions(session: AsyncSession) -> set[str]:
    return set(await session.scalars(select(RegionRow.region_id)))


async def create_region(unit: UnitOfWork, spec: RegionSpec) -> RegionRow:
    declared = await regions(unit.session)
    if spec.region_id in declared:
        raise Exists("region", "region_id")
    if not declared:
        used_by_pops = await unit.session.scalars(select(PopRow.region).where(PopRow.region.is_not(None)))
        in_use = {*await unit.session.scalars(select(DidRow.region)), *(r for r in used_by_pops if r is not None)}
        for used in in_use - {spec.region_id}:
            unit.session.add(RegionRow(region_id=used, name=used, description="", created_at=unit.now))
    row = RegionRow(**spec.model_dump(), created_at=unit.now)
    unit.session.add(row)
    return row


async def change_region(unit: UnitOfWork, region_id: str, spec: RegionChange) -> RegionRow:
    row = await region(unit.session, region_id)
    row.name, row.description = spec.name, spec.description
    return row


async def delete_region(unit: UnitOfWork, region_id: str) -> None:
    row = await region(unit.session, region_id)
    dids = await unit.session.scalars(select(DidRow.number).where(DidRow.region == region_id).limit(6))
    pops = await unit.session.scalars(select(PopRow.pop_id).where(PopRow.region == region_id).limit(6))
    if users := [*(f"POP {pop}" for pop in pops), *(f"DID {number}" for number in dids)]:
        raise InUse("region", region_id, users)
    await unit.session.delete(row)


async def skill(session: AsyncSession, skill_id: str) -> SkillRow:
    row = await session.get(SkillRow, skill_id)
    if row is None:
        raise NotFound("skill", skill_id)
    return row


async def skills(session: AsyncSession) -> set[str]:
    return set(await session.scalars(select(SkillRow.skill_id)))


def undeclared_skills(named: Iterable[str], declared: Collection[str], field: str = "skills") -> list[FieldError]:
    """What is wrong with naming these, given what is declared (``skills``)."""
    if not declared:
        return []
    return [FieldError(f"{field}.{name}", "is not declared under /skills") for name in named if name not in declared]


async def create_skill(unit: UnitOfWork, spec: SkillSpec) -> SkillRow:
    declared = await skills(unit.session)
    if spec.skill_id in declared:
        raise Exists("skill", "skill_id")
    if not declared:
        for used in await _used_skills(unit.session) - {spec.skill_id}:
            unit.session.add(SkillRow(skill_id=used, name=used, description="", created_at=unit.now))
    row = SkillRow(**spec.model_dump(), created_at=unit.now)
    unit.session.add(row)
    return row


async def _used_skills(session: AsyncSession) -> set[str]:
    used: set[str] = set()
    for agents in await session.scalars(select(AgentRow.skills)):
        used.update(agents)
    for config in await session.scalars(select(QueueRow.config)):
        used.update(config.get("skills", ()))
        used.update(step["action"]["skill"] for step in config.get("steps", ()) if "skill" in step["action"])
    return used


async def change_skill(unit: UnitOfWork, skill_id: str, spec: SkillChange) -> SkillRow:
    row = await skill(unit.session, skill_id)
    row.name, row.description = spec.name, spec.description
    return row


async def delete_skill(unit: UnitOfWork, skill_id: str) -> None:
    row = await skill(unit.session, skill_id)
    has, asks = AgentRow.skills[skill_id], QueueRow.config[("skills", skill_id)]
    agents = await unit.session.scalars(select(AgentRow.agent_id).where(has.as_string().is_not(None)).limit(6))
    queues = await unit.session.scalars(select(QueueRow.queue_id).where(asks.as_string().is_not(None)).limit(6))
    if users := [*(f"agent {agent}" for agent in agents), *(f"queue {queue}" for queue in queues)]:
        raise InUse("skill", skill_id, users)
    await unit.session.delete(row)
