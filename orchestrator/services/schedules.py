"""Named hours, shifts and holidays. What refers to one keeps a copy of what it says, which is renewed, and goes to the
POPs, in the transaction that changes it: a POP knows nothing of names."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from dialplans.days_off import public_holidays
from orchestrator.adapters.db.models import AgentRow, QueueRow, ScheduleRow
from orchestrator.domain.hours import OpeningHours
from orchestrator.domain.named import HoursChange
from orchestrator.domain.problems import Exists, FieldError, InUse, Invalid, NotFound, one
from orchestrator.domain.strict import Strict
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork, agent_config, queue_config
from pbx.wire.messages import AgentConfig

MAX_HOLIDAYS = 400
Kind = Literal["hours", "shifts", "holidays"]


async def get(session: AsyncSession, kind: Kind, schedule_id: str) -> ScheduleRow:
    row = await session.get(ScheduleRow, (kind, schedule_id))
    if row is None:
        raise NotFound(kind, schedule_id)
    return row


def unknown_place(hours: OpeningHours, field: str) -> list[FieldError]:
    """Whose public holidays nobody knows."""
    if hours.country is None:
        return []
    try:
        public_holidays(hours.country)
    except KeyError:
        return [FieldError(field, f"no public holidays of {hours.country} are known")]
    return []


async def create(unit: UnitOfWork, kind: Kind, spec: Strict) -> ScheduleRow:
    """``spec`` names itself in ``<kind>_id``."""
    name = f"{kind}_id"
    schedule_id: str = getattr(spec, name)
    if await unit.session.get(ScheduleRow, (kind, schedule_id)) is not None:
        raise Exists(kind, name)
    await _check(unit.session, spec)
    config = spec.model_dump(mode="json", exclude={name})
    row = ScheduleRow(kind=kind, schedule_id=schedule_id, config=config, created_at=unit.now)
    unit.session.add(row)
    return row


async def change(unit: UnitOfWork, kind: Kind, schedule_id: str, spec: Strict) -> ScheduleRow:
    row = await get(unit.session, kind, schedule_id)
    await _check(unit.session, spec)
    row.config = spec.model_dump(mode="json")
    await unit.session.flush()
    if kind == "shifts":
        await _renew_agents(unit, row)
    elif kind == "hours":
        await _renew_queues(unit, [schedule_id])
    else:
        await _renew_queues(unit, await _hours_with(unit.session, schedule_id))
    return row


async def delete(unit: UnitOfWork, kind: Kind, schedule_id: str) -> None:
    row = await get(unit.session, kind, schedule_id)
    if kind == "shifts":
        users = [f"agent {agent.agent_id}" for agent in await _agents(unit.session, schedule_id)]
    elif kind == "hours":
        users = [f"queue {queue.queue_id}" for queue in await _queues(unit.session, [schedule_id])]
    else:
        users = [f"hours {hours}" for hours in await _hours_with(unit.session, schedule_id)]
    if users:
        raise InUse(kind, schedule_id, users)
    await unit.session.delete(row)


async def _check(session: AsyncSession, spec: Strict) -> None:
    if not isinstance(spec, HoursChange):
        return
    errors = unknown_place(spec, "country")
    for at, holidays_id in enumerate(spec.holidays_ids):
        if await session.get(ScheduleRow, ("holidays", holidays_id)) is None:
            errors.append(FieldError(f"holidays_ids.{at}", f"there are no holidays {holidays_id}"))
    if errors:
        raise Invalid(errors)


async def shifts(session: AsyncSession, shifts_id: str) -> dict[str, Any]:
    """What an agent who names them has as ``shifts``; refuses names that nobody has."""
    row = await session.get(ScheduleRow, ("shifts", shifts_id))
    if row is None:
        raise one("shifts_id", f"there are no shifts {shifts_id}")
    return {key: value for key, value in row.config.items() if key != "name"}


async def hours(session: AsyncSession, hours_id: str) -> dict[str, Any]:
    """What a queue that names them has as ``hours``; refuses names that nobody has."""
    row = await session.get(ScheduleRow, ("hours", hours_id))
    if row is None:
        raise one("hours_id", f"there are no hours {hours_id}")
    days = set(row.config.get("holidays", ()))
    for holidays_id in row.config.get("holidays_ids", ()):
        days.update((await get(session, "holidays", holidays_id)).config["days"])
    if len(days) > MAX_HOLIDAYS:
        raise one("holidays_ids", f"make more than {MAX_HOLIDAYS} days together with those of hours {hours_id}")
    said = {key: value for key, value in row.config.items() if key not in ("name", "holidays_ids")}
    return {**said, "holidays": sorted(days)}


async def _hours_with(session: AsyncSession, holidays_id: str) -> list[str]:
    rows = await session.scalars(select(ScheduleRow).where(ScheduleRow.kind == "hours"))
    return [row.schedule_id for row in rows if holidays_id in row.config.get("holidays_ids", ())]


async def _agents(session: AsyncSession, shifts_id: str) -> list[AgentRow]:
    statement = select(AgentRow).where(AgentRow.shifts_id == shifts_id).order_by(AgentRow.agent_id)
    return list(await session.scalars(statement))


async def _queues(session: AsyncSession, hours_ids: list[str]) -> list[QueueRow]:
    name = QueueRow.config["hours_id"].as_string()
    return list(await session.scalars(select(QueueRow).where(name.in_(hours_ids)).order_by(QueueRow.queue_id)))


async def _renew_agents(unit: UnitOfWork, row: ScheduleRow) -> None:
    said = await shifts(unit.session, row.schedule_id)
    by_pop: dict[str, list[AgentConfig]] = defaultdict(list)
    for agent in await _agents(unit.session, row.schedule_id):
        agent.shifts = said
        by_pop[agent.pop_id].append(agent_config(agent))
    for pop_id, configs in by_pop.items():
        await unit.publish_many(configs, pop_id)


async def _renew_queues(unit: UnitOfWork, hours_ids: list[str]) -> None:
    for queue in await _queues(unit.session, hours_ids):
        queue.config = {**queue.config, "hours": await hours(unit.session, queue.config["hours_id"])}
        await unit.publish(queue_config(queue), EVERYWHERE)
