"""Queues. Every POP has all of them, because any flow may lead a call into any queue."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import QueueRow
from orchestrator.domain.problems import Exists, InUse, NotFound
from orchestrator.domain.resources import QueueChange, QueueSpec
from orchestrator.services import flows
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork, queue_config


async def get(session: AsyncSession, queue_id: str) -> QueueRow:
    row = await session.get(QueueRow, queue_id)
    if row is None:
        raise NotFound("queue", queue_id)
    return row


async def create(unit: UnitOfWork, spec: QueueSpec) -> QueueRow:
    if await unit.session.get(QueueRow, spec.queue_id) is not None:
        raise Exists("queue", "queue_id")
    row = QueueRow(queue_id=spec.queue_id, config=spec.model_dump(exclude={"queue_id"}), created_at=unit.now)
    unit.session.add(row)
    await unit.publish(queue_config(row), EVERYWHERE)
    return row


async def change(unit: UnitOfWork, queue_id: str, spec: QueueChange) -> QueueRow:
    row = await get(unit.session, queue_id)
    row.config = spec.model_dump()
    await unit.publish(queue_config(row), EVERYWHERE)
    return row


async def delete(unit: UnitOfWork, queue_id: str) -> None:
    row = await get(unit.session, queue_id)
    if users := await flows.using_queue(unit.session, queue_id):
        raise InUse("queue", queue_id, [f"flow {flow_id}" for flow_id in users])
    await unit.session.delete(row)
    await unit.withdraw(f"queue.{queue_id}", EVERYWHERE)
