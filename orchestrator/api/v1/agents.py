"""/api/v1/agents"""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import AgentRow, PopRow
from orchestrator.api.access import EVERYBODY, LEADERS, STAFF, TALKERS
from orchestrator.api.filters import Id, Words, named, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Agent, AgentCreated, PageOf, PageQuery, agent_created, agent_fields, page_of
from orchestrator.domain.resources import AgentChange, AgentSpec, AgentStatus, MoreWrapUp, SkillName
from orchestrator.services import agents, commands
from orchestrator.services.context import Services
from orchestrator.services.paging import page
from pbx.wire.messages import EndWrapUp, ExtendWrapUp, PopCommand, SetAgentStatus


def _agent(row: AgentRow) -> Agent:
    return Agent.model_validate(agent_fields(row))


class AgentQuery(PageQuery):
    pop_id: Id | None = None
    site: Id | None = None
    country: Id | None = None
    phone_id: Id | None = None
    skill: SkillName | None = None
    """Who has it, at any proficiency."""
    name: Words | None = None


async def find(services: Services, query: AgentQuery) -> PageOf[Agent]:
    """List agents."""
    statement = narrowed(
        select(AgentRow),
        query,
        pop_id=AgentRow.pop_id,
        site=AgentRow.site,
        country=AgentRow.country,
        phone_id=AgentRow.phone_id,
    )
    statement = named(statement, query.name, AgentRow.name)
    if query.skill is not None:
        statement = statement.where(AgentRow.skills[query.skill].as_string().is_not(None))
    async with services.database.read() as session:
        return page_of(await page(session, statement, AgentRow.agent_id, query.page()), _agent)


async def get(services: Services, agent_id: str) -> Agent:
    """One agent."""
    async with services.database.read() as session:
        return _agent(await agents.get(session, agent_id))


async def create(services: Services, body: AgentSpec) -> AgentCreated:
    """Create an agent. The answer holds the phone's SIP account; the password is shown only here."""
    async with services.units.begin() as unit:
        row, password = await agents.create(unit, body)
    return agent_created(row, password)


async def change(services: Services, agent_id: str, body: AgentChange) -> Agent:
    """Change an agent. The phone keeps its SIP account."""
    async with services.units.begin() as unit:
        return _agent(await agents.change(unit, agent_id, body))


async def new_password(services: Services, agent_id: str) -> AgentCreated:
    """Give the agent's phone a new password; the former one stops working."""
    async with services.units.begin() as unit:
        row, password = await agents.new_password(unit, agent_id)
    return agent_created(row, password)


async def set_status(services: Services, agent_id: str, body: AgentStatus) -> None:
    """Set what the agent chose: logged out, available, or not ready with a reason. The agent's POP does it."""
    await _tell(services, agent_id, SetAgentStatus(agent_id=agent_id, status=body.status, reason=body.reason))


async def end_wrap_up(services: Services, agent_id: str) -> None:
    """End the agent's wrap-up early. Refused when the agent is not in wrap-up."""
    await _tell(services, agent_id, EndWrapUp(agent_id=agent_id))


async def extend_wrap_up(services: Services, agent_id: str, body: MoreWrapUp) -> None:
    """Give the agent more wrap-up, up to the queue's longest. Refused when the agent is not in wrap-up."""
    await _tell(services, agent_id, ExtendWrapUp(agent_id=agent_id, by_s=body.by_s))


async def _tell(services: Services, agent_id: str, command: PopCommand) -> None:
    async with services.database.read() as session:
        row = await agents.get(session, agent_id)
        backup = await session.scalar(select(PopRow.backup_pop_id).where(PopRow.pop_id == row.pop_id))
    await commands.send_to_owner(services.bus, row.pop_id, backup, command)


async def delete(services: Services, agent_id: str) -> None:
    """Delete an agent."""
    async with services.units.begin() as unit:
        await agents.delete(unit, agent_id)


def routes(registry: Registry) -> None:
    one = "/api/v1/agents/{agent_id}"
    registry.route("GET", "/api/v1/agents", tag="agents", roles=STAFF)(find)
    registry.route("POST", "/api/v1/agents", tag="agents", status=201, problems=(409,), roles=LEADERS)(create)
    registry.route("GET", one, tag="agents", roles=EVERYBODY)(get)
    registry.route("PUT", one, tag="agents", roles=LEADERS)(change)
    registry.route("DELETE", one, tag="agents", status=204, roles=LEADERS)(delete)
    registry.route("POST", one + "/password", tag="agents", status=201, roles=LEADERS)(new_password)
    registry.route("POST", one + "/status", tag="agents", status=204, problems=(409, 504), roles=TALKERS)(set_status)
    registry.route("POST", one + "/wrap-up/end", tag="agents", status=204, problems=(409, 504), roles=TALKERS)(
        end_wrap_up
    )
    registry.route("POST", one + "/wrap-up/extend", tag="agents", status=204, problems=(409, 504), roles=TALKERS)(
        extend_wrap_up
    )
