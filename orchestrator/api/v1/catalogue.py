"""/api/v1/regions and /api/v1/skills"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import RegionRow, SkillRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.filters import Words, named
from orchestrator.api.named_schemas import Region, Skill, region_of, skill_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.named import RegionChange, RegionSpec, SkillChange, SkillSpec
from orchestrator.services import catalogue
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class RegionQuery(PageQuery):
    name: Words | None = None


class SkillQuery(PageQuery):
    name: Words | None = None


async def find_region(services: Services, query: RegionQuery) -> PageOf[Region]:
    """List regions."""
    async with services.database.read() as session:
        statement = named(select(RegionRow), query.name, RegionRow.name)
        return page_of(await page(session, statement, RegionRow.region_id, query.page()), region_of)


async def get_region(services: Services, region_id: str) -> Region:
    """One region."""
    async with services.database.read() as session:
        return region_of(await catalogue.region(session, region_id))


async def create_region(services: Services, body: RegionSpec) -> Region:
    """Declare a region where recordings may rest. From the first one on, DIDs and POPs may only name declared ones;
    the first one takes along all that they name already.
    """
    async with services.units.begin() as unit:
        return region_of(await catalogue.create_region(unit, body))


async def change_region(services: Services, region_id: str, body: RegionChange) -> Region:
    """Change a region's name and description."""
    async with services.units.begin() as unit:
        return region_of(await catalogue.change_region(unit, region_id, body))


async def delete_region(services: Services, region_id: str) -> None:
    """Delete a region that nothing names."""
    async with services.units.begin() as unit:
        await catalogue.delete_region(unit, region_id)


async def find_skill(services: Services, query: SkillQuery) -> PageOf[Skill]:
    """List skills."""
    async with services.database.read() as session:
        statement = named(select(SkillRow), query.name, SkillRow.name)
        return page_of(await page(session, statement, SkillRow.skill_id, query.page()), skill_of)


async def get_skill(services: Services, skill_id: str) -> Skill:
    """One skill."""
    async with services.database.read() as session:
        return skill_of(await catalogue.skill(session, skill_id))


async def create_skill(services: Services, body: SkillSpec) -> Skill:
    """Declare a skill. From the first one on, agents and queues may only name declared ones; the first one takes
    along all that are in use already.
    """
    async with services.units.begin() as unit:
        return skill_of(await catalogue.create_skill(unit, body))


async def change_skill(services: Services, skill_id: str, body: SkillChange) -> Skill:
    """Change a skill's name and description."""
    async with services.units.begin() as unit:
        return skill_of(await catalogue.change_skill(unit, skill_id, body))


async def delete_skill(services: Services, skill_id: str) -> None:
    """Delete a skill that nothing names."""
    async with services.units.begin() as unit:
        await catalogue.delete_skill(unit, skill_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/regions", "/api/v1/regions/{region_id}"
    registry.route("GET", every, tag="regions", roles=STAFF)(find_region)
    registry.route("POST", every, tag="regions", status=201, problems=(409,), roles=ENGINEERS, whole=True)(
        create_region
    )
    registry.route("GET", one, tag="regions", roles=STAFF)(get_region)
    registry.route("PUT", one, tag="regions", roles=ENGINEERS, whole=True)(change_region)
    registry.route("DELETE", one, tag="regions", status=204, problems=(409,), roles=ENGINEERS, whole=True)(
        delete_region
    )
    every, one = "/api/v1/skills", "/api/v1/skills/{skill_id}"
    registry.route("GET", every, tag="skills", roles=STAFF)(find_skill)
    registry.route("POST", every, tag="skills", status=201, problems=(409,), roles=ENGINEERS, whole=True)(create_skill)
    registry.route("GET", one, tag="skills", roles=STAFF)(get_skill)
    registry.route("PUT", one, tag="skills", roles=ENGINEERS, whole=True)(change_skill)
    registry.route("DELETE", one, tag="skills", status=204, problems=(409,), roles=ENGINEERS, whole=True)(delete_skill)
