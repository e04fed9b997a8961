"""/api/v1/queues"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import QueueRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.filters import Words, named
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, Queue, page_of, queue_of
from orchestrator.domain.resources import QueueChange, QueueSpec, SkillName
from orchestrator.services import queues
from orchestrator.services.context import Services
from orchestrator.services.paging import page
from pbx.domain.queue_rules import Strategy


class QueueQuery(PageQuery):
    name: Words | None = None
    skill: SkillName | None = None
    """Which asks for it."""
    strategy: Strategy | None = None


async def find(services: Services, query: QueueQuery) -> PageOf[Queue]:
    """List queues."""
    statement = named(select(QueueRow), query.name, QueueRow.config["name"].as_string())
    if query.skill is not None:
        statement = statement.where(QueueRow.config[("skills", query.skill)].as_string().is_not(None))
    if query.strategy is not None:
        statement = statement.where(QueueRow.config["strategy"].as_string() == query.strategy.value)
    async with services.database.read() as session:
        return page_of(await page(session, statement, QueueRow.queue_id, query.page()), queue_of)


async def get(services: Services, queue_id: str) -> Queue:
    """One queue."""
    async with services.database.read() as session:
        return queue_of(await queues.get(session, queue_id))


async def create(services: Services, body: QueueSpec) -> Queue:
    """Create a queue. Queues that its steps overflow to, and their prompts, must exist."""
    async with services.units.begin() as unit:
        return queue_of(await queues.create(unit, body, services.prompts))


async def change(services: Services, queue_id: str, body: QueueChange) -> Queue:
    """Change a queue. Fields left out take their defaults."""
    async with services.units.begin() as unit:
        return queue_of(await queues.change(unit, queue_id, body, services.prompts))


async def delete(services: Services, queue_id: str) -> None:
    """Delete a queue that no flow enters and no other queue overflows to."""
    async with services.units.begin() as unit:
        await queues.delete(unit, queue_id)


def routes(registry: Registry) -> None:
    one = "/api/v1/queues/{queue_id}"
    registry.route("GET", "/api/v1/queues", tag="queues", roles=STAFF)(find)
    registry.route("POST", "/api/v1/queues", tag="queues", status=201, problems=(409,), roles=ENGINEERS)(create)
    registry.route("GET", one, tag="queues", roles=STAFF)(get)
    registry.route("PUT", one, tag="queues", roles=ENGINEERS)(change)
    registry.route("DELETE", one, tag="queues", status=204, problems=(409,), roles=ENGINEERS)(delete)
