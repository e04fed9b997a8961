"""Business units: what queues, agents, DIDs, flows and webhooks belong to, and which one a call belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import CallUnitRow, UnitRow
from orchestrator.adapters.db.models import AgentRow, DidRow, FlowDraftRow, FlowRow, QueueRow, WebhookRow
from orchestrator.domain.problems import Exists, InUse, NotFound, one
from orchestrator.domain.resources import UnitChange, UnitSpec
from orchestrator.services import scope
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.domain.cdr import Cdr


async def get(session: AsyncSession, unit_id: str) -> UnitRow:
    row = await scope.get(session, UnitRow, unit_id)
    if row is None:
        raise NotFound("unit", unit_id)
    return row


async def require(session: AsyncSession, unit_id: str | None) -> None:
    """Refuse a reference to a unit that the caller does not know of, naming the field."""
    if unit_id is not None and await scope.get(session, UnitRow, unit_id) is None:
        raise one("unit_id", f"there is no unit {unit_id}")


async def create(unit: UnitOfWork, spec: UnitSpec) -> UnitRow:
    if await unit.session.get(UnitRow, spec.unit_id) is not None:
        raise Exists("unit", "unit_id")
    row = UnitRow(unit_id=spec.unit_id, name=spec.name, created_at=unit.now)
    unit.session.add(row)
    return row


async def change(unit: UnitOfWork, unit_id: str, spec: UnitChange) -> UnitRow:
    row = await get(unit.session, unit_id)
    row.name = spec.name
    return row


async def delete(unit: UnitOfWork, unit_id: str) -> None:
    row = await get(unit.session, unit_id)
    members: tuple[tuple[str, Any, Any], ...] = (
        ("queue", QueueRow.queue_id, QueueRow.unit_id),
        ("agent", AgentRow.agent_id, AgentRow.unit_id),
        ("DID", DidRow.number, DidRow.unit_id),
        ("flow", FlowRow.flow_id, FlowRow.unit_id),
        ("draft", FlowDraftRow.flow_id, FlowDraftRow.unit_id),
        ("webhook", WebhookRow.webhook_id, WebhookRow.unit_id),
    )
    users = [
        f"{noun} {key}"
        for noun, column, of in members
        for key in await unit.session.scalars(select(column).where(of == unit_id).order_by(column))
    ]
    if users:
        raise InUse("unit", unit_id, users)
    await unit.session.delete(row)


async def keep(session: AsyncSession, records: Collection[Cdr]) -> None:
    """Note which unit each of these calls belongs to: that of the queue it is or was last in, if that has one, else
    its DID's. What was noted of the same queue and DID before stands, whosever they are now."""
    calls = [cdr.call_id for cdr in records]
    found = await session.scalars(select(CallUnitRow).where(CallUnitRow.call_id.in_(calls)))
    there = {row.call_id: row for row in found}
    moved = [cdr for cdr in records if cdr.call_id not in there or there[cdr.call_id].origin != _origin(cdr)]
    queues = await _units(session, QueueRow.queue_id, QueueRow.unit_id, (cdr.queue_id for cdr in moved))
    dids = await _units(session, DidRow.number, DidRow.unit_id, (cdr.did for cdr in moved))
    for cdr in moved:
        row = there.get(cdr.call_id)
        if row is None:
            row = CallUnitRow(call_id=cdr.call_id)
            session.add(row)
        row.origin, row.unit_id = _origin(cdr), queues.get(cdr.queue_id) or dids.get(cdr.did)


def _origin(cdr: Cdr) -> str:
    return f"{cdr.queue_id or ''}/{cdr.did or ''}"


async def _units(
    session: AsyncSession, key: Any, unit_id: Any, wanted: Iterable[str | None]
) -> dict[str | None, str | None]:
    keys = sorted({one for one in wanted if one is not None})
    if not keys:
        return {}
    rows = (await session.execute(select(key, unit_id).where(key.in_(keys)))).all()
    return {row[0]: row[1] for row in rows}
