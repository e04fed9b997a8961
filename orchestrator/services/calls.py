"""Live calls: what is asked of one goes to its POP."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from dialplans import dialling, numbering
from dialplans.pack import PackError, load_pack
from orchestrator.adapters.db.direct import Fixed
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import AgentRow, CallRow, PopRow, QueueRow
from orchestrator.domain.problems import Conflict, NotFound, PopRefused, one
from orchestrator.domain.resources import (
    Consulted,
    ParkSpec,
    PlacedCallSpec,
    RetrievalSpec,
    SupervisionSpec,
    TransferTarget,
)
from orchestrator.services import commands, scope
from orchestrator.services.context import Services
from pbx.wire.messages import (
    CommandReply,
    ConsultAgent,
    ExplainWait,
    ParkCall,
    PlaceCall,
    PopCommand,
    RetrieveCall,
    SuperviseCall,
    TransferCall,
)


async def get(session: AsyncSession, call_id: str) -> CallRow:
    row = await scope.get(session, CallRow, call_id)
    if row is None:
        raise NotFound("call", call_id)
    return row


COLUMNS = CallRow.call_id, CallRow.pop_id, CallRow.cdr
"""What the record of a call is shown from."""


_CALL = Fixed(select(*COLUMNS).where(CallRow.call_id == bindparam("call_id")))


async def read(database: Database, call_id: str) -> Row[Any]:
    """``COLUMNS`` of a call that the caller sees."""
    if scope.within(CallRow) is None:
        found = await database.rows(_CALL, {"call_id": call_id})
    else:
        found = await database.rows(scope.limited(select(*COLUMNS).where(CallRow.call_id == call_id)))
    if not found:
        raise NotFound("call", call_id)
    row: Row[Any] = found[0]
    return row


async def tell(services: Services, call_id: str, command: PopCommand) -> CommandReply:
    """Have the call's POP carry it out."""
    async with services.database.read() as session:
        row = await get(session, call_id)
    return await commands.send(services.bus, row.pop_id, command)


async def explain_wait(services: Services, call_id: str, agent_id: str | None) -> CommandReply:
    async with services.database.read() as session:
        if agent_id is not None and await scope.get(session, AgentRow, agent_id, named=True) is None:
            raise NotFound("agent", agent_id)
    return await tell(services, call_id, ExplainWait(call_id=call_id, agent_id=agent_id))


async def _same_site(session: AsyncSession, call: CallRow, agent_id: str) -> None:
    agent = await scope.get(session, AgentRow, agent_id, named=True)
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
        if consulted.agent_id is not None:
            await _same_site(session, call, consulted.agent_id)
        elif consulted.queue_id is not None and await session.get(QueueRow, consulted.queue_id) is None:
            raise NotFound("queue", consulted.queue_id)
        site = await session.get(PopRow, call.pop_id)
    number = None if consulted.number is None else _outside(consulted.number, site)
    command = ConsultAgent(call_id=call_id, agent_id=consulted.agent_id, queue_id=consulted.queue_id, number=number)
    await commands.send(services.bus, call.pop_id, command)


async def transfer(services: Services, call_id: str, target: TransferTarget) -> None:
    async with services.database.read() as session:
        call = await get(session, call_id)
        if target.agent_id is not None:
            await _same_site(session, call, target.agent_id)
        elif target.queue_id is not None and await scope.get(session, QueueRow, target.queue_id, named=True) is None:
            raise NotFound("queue", target.queue_id)
        site = await session.get(PopRow, call.pop_id)
    number = None if target.number is None else _outside(target.number, site)
    command = TransferCall(
        call_id=call_id, queue_id=target.queue_id, agent_id=target.agent_id, number=number, after=target.after
    )
    await commands.send(services.bus, call.pop_id, command)


def _outside(number: str, site: PopRow | None) -> str:
    """In E.164, as the country of the POP reads it. Whether that POP may call it, the POP says."""
    if site is None:
        raise Conflict("unknown_pop", "the call's POP is no longer configured")
    try:
        return dialling.outside(number, load_pack(site.country), prefixes=("+",)).number
    except (dialling.MayNotDial, PackError) as error:
        raise one("number", str(error)) from None


async def place(services: Services, spec: PlacedCallSpec) -> str:
    """The call's id."""
    async with services.database.read() as session:
        agent = await scope.get(session, AgentRow, spec.agent_id)
        if agent is None:
            raise NotFound("agent", spec.agent_id)
        if spec.queue_id is not None and await scope.get(session, QueueRow, spec.queue_id, named=True) is None:
            raise NotFound("queue", spec.queue_id)
        site = await session.get(PopRow, agent.pop_id)
    command = PlaceCall(agent_id=spec.agent_id, number=_dialled(spec.number, site), queue_id=spec.queue_id)
    try:
        reply = await commands.send(services.bus, agent.pop_id, command)
    except PopRefused as refused:
        if refused.error_id == "number_refused":
            raise one("number", str(refused).removeprefix("number: ")) from None
        raise
    if reply.call_id is None:
        raise Conflict("not_supported", "the POP is older than this")
    return reply.call_id


def _dialled(text: str, site: PopRow | None) -> str:
    """In E.164, as the country of the POP reads what its agents dial. Whether they may, the POP says."""
    if site is None:
        raise Conflict("unknown_pop", "the agent's POP is no longer configured")
    try:
        pack = load_pack(site.country)
    except PackError as error:
        raise one("number", str(error)) from None
    if text in pack.numbering.emergency_numbers:
        raise one("number", "is an emergency number: dial it at the phone")
    number = numbering.to_e164(text, pack)
    if number is None:
        raise one("number", "is not a phone number: write it with plus and country code, or as it is dialled at home")
    return number


async def park(services: Services, call_id: str, spec: ParkSpec) -> int:
    """The slot."""
    reply = await tell(services, call_id, ParkCall(call_id=call_id, slot=spec.slot))
    if reply.slot is None:
        raise Conflict("not_supported", "the POP is older than parking")
    return reply.slot


async def retrieve(services: Services, call_id: str, spec: RetrievalSpec) -> None:
    async with services.database.read() as session:
        call = await get(session, call_id)
        await _same_site(session, call, spec.agent_id)
    await commands.send(services.bus, call.pop_id, RetrieveCall(call_id=call_id, agent_id=spec.agent_id))
