"""Agents and their SIP accounts. The password is shown once; HA1 is what is kept."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import AgentRow
from orchestrator.domain import access
from orchestrator.domain.problems import Exists, Invalid, NotFound
from orchestrator.domain.resources import AgentChange, AgentSpec
from orchestrator.services import catalogue, pops, queues, schedules, scope, units
from orchestrator.services.unit_of_work import UnitOfWork, agent_config
from pbx.domain.ids import ulid


async def get(session: AsyncSession, agent_id: str) -> AgentRow:
    row = await scope.get(session, AgentRow, agent_id)
    if row is None:
        raise NotFound("agent", agent_id)
    return row


async def _extension_is_free(session: AsyncSession, spec: AgentChange, agent_id: str) -> None:
    here = (AgentRow.pop_id == spec.pop_id, AgentRow.extension == spec.extension, AgentRow.agent_id != agent_id)
    if spec.extension is None:
        return
    taken = await session.scalar(select(AgentRow.agent_id).where(*here)) is not None
    if taken or await queues.at_extension(session, spec.extension) is not None:
        raise Exists("extension", "extension")


async def _values(session: AsyncSession, spec: AgentChange) -> dict[str, Any]:
    """The columns, with what the names say that the agent refers to; refuses those that nobody has."""
    if errors := catalogue.undeclared_skills(spec.skills, await catalogue.skills(session)):
        raise Invalid(errors)
    values = spec.model_dump()
    if spec.shifts_id is not None:
        values["shifts"] = await schedules.shifts(session, spec.shifts_id)
    return values


async def create(unit: UnitOfWork, spec: AgentSpec) -> tuple[AgentRow, str]:
    """The new agent and the phone's password."""
    agent_id = ulid(unit.now, secrets.randbits(80))
    phone_id = spec.phone_id or f"agent-{agent_id.lower()}"
    if await unit.session.scalar(select(AgentRow.agent_id).where(AgentRow.phone_id == phone_id)) is not None:
        raise Exists("phone", "phone_id")
    await pops.require(unit.session, spec.pop_id)
    await units.require(unit.session, spec.unit_id)
    await _extension_is_free(unit.session, spec, agent_id)
    password = access.new_sip_password()
    row = AgentRow(
        **{**await _values(unit.session, spec), "phone_id": phone_id},
        agent_id=agent_id,
        ha1=access.ha1(phone_id, password),
        created_at=unit.now,
    )
    unit.session.add(row)
    await unit.publish(agent_config(row), [row.pop_id])
    return row, password


async def change(unit: UnitOfWork, agent_id: str, spec: AgentChange) -> AgentRow:
    row = await get(unit.session, agent_id)
    await pops.require(unit.session, spec.pop_id)
    await units.require(unit.session, spec.unit_id)
    await _extension_is_free(unit.session, spec, agent_id)
    values = await _values(unit.session, spec)
    if row.pop_id != spec.pop_id:
        await unit.withdraw(f"agent.{agent_id}", [row.pop_id])
    for name, value in values.items():
        setattr(row, name, value)
    await unit.publish(agent_config(row), [row.pop_id])
    return row


async def new_password(unit: UnitOfWork, agent_id: str) -> tuple[AgentRow, str]:
    row = await get(unit.session, agent_id)
    password = access.new_sip_password()
    row.ha1 = access.ha1(row.phone_id, password)
    await unit.publish(agent_config(row), [row.pop_id])
    return row, password


async def delete(unit: UnitOfWork, agent_id: str) -> None:
    row = await get(unit.session, agent_id)
    await unit.session.delete(row)
    await unit.withdraw(f"agent.{agent_id}", [row.pop_id])
