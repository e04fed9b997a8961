"""Live calls: what is asked of one goes to its POP."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import AgentRow, CallRow, QueueRow
from orchestrator.domain.problems import Conflict, NotFound
from orchestrator.domain.resources import Consulted, SupervisionSpec, TransferTarget
from orchestrator.services import commands
from orchestrator.services.context import Services
from pbx.wire.messages import CommandReply, ConsultAgent, PopCommand, SuperviseCall, TransferCall


async def get(session: AsyncSession, call_id: str) -> CallRow:
    row = await session.get(CallRow, call_id)
    if row is None:
        raise NotFound("call", call_id)
    return row


async def tell(services: Services, call_id: str, command: PopCommand) -> CommandReply:
    """Have the call's POP carry it out."""
    async with services.database.read() as session:
        row = await get(session, call_id)
    return await commands.send(services.bus, row.pop_id, command)


async def _same_site(session: AsyncSession, call: CallRow, agent_id: str) -> None:
    agent = await session.get(AgentRow, agent_id)
    if agent is None:
        raise NotFound("agent", agent_id)
    if agent.pop_id != call.pop_id:
        raise Conflict("agent_elsewhere", "the agent's phone is at another POP than the call")


async def supervise(services: Services, call_id: str, spec: SupervisionSpec) -> None:
    async with services.database.read() as session:
        call = await get(session, call_id)
        await _same_site(session, call, spec.agent_id)
    command = SuperviseCall(call_id=call_id, agent_id=spec.agent_id, mode=spec.mode)
    await commands.send(services.bus, call.pop_id, command)


async def consult(services: Services, call_id: str, consulted: Consulted) -> None:
    async with services.database.read() as session:
        call = await get(session, call_id)
        await _same_site(session, call, consulted.agent_id)
    await commands.send(services.bus, call.pop_id, ConsultAgent(call_id=call_id, agent_id=consulted.agent_id))


async def transfer(services: Services, call_id: str, target: TransferTarget) -> None:
    async with services.database.read() as session:
        call = await get(session, call_id)
        if target.agent_id is not None:
            await _same_site(session, call, target.agent_id)
        elif target.queue_id is not None and await session.get(QueueRow, target.queue_id) is None:
            raise NotFound("queue", target.queue_id)
    command = TransferCall(call_id=call_id, queue_id=target.queue_id, agent_id=target.agent_id, after=target.after)
    await commands.send(services.bus, call.pop_id, command)
