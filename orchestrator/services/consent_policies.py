"""Consent policies by name. A queue that names one keeps a copy of what it says, which is renewed, and goes to the
POPs, in the transaction that changes it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import ConsentPolicyRow, QueueRow
from orchestrator.domain.named import ConsentPolicyChange, ConsentPolicySpec
from orchestrator.domain.problems import Exists, InUse, NotFound, one
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork, queue_config

_SAID = ("floor", "places", "unknown")


async def get(session: AsyncSession, policy_id: str) -> ConsentPolicyRow:
    row = await session.get(ConsentPolicyRow, policy_id)
    if row is None:
        raise NotFound("consent_policy", policy_id)
    return row


async def create(unit: UnitOfWork, spec: ConsentPolicySpec) -> ConsentPolicyRow:
    if await unit.session.get(ConsentPolicyRow, spec.consent_policy_id) is not None:
        raise Exists("consent_policy", "consent_policy_id")
    config = spec.model_dump(mode="json", exclude={"consent_policy_id"})
    row = ConsentPolicyRow(consent_policy_id=spec.consent_policy_id, config=config, created_at=unit.now)
    unit.session.add(row)
    return row


async def change(unit: UnitOfWork, policy_id: str, spec: ConsentPolicyChange) -> ConsentPolicyRow:
    row = await get(unit.session, policy_id)
    row.config = spec.model_dump(mode="json")
    for queue in await _queues(unit.session, policy_id):
        queue.config = {**queue.config, "consent_policy": _said(row)}
        await unit.publish(queue_config(queue), EVERYWHERE)
    return row


async def delete(unit: UnitOfWork, policy_id: str) -> None:
    row = await get(unit.session, policy_id)
    if users := [f"queue {queue.queue_id}" for queue in await _queues(unit.session, policy_id)]:
        raise InUse("consent_policy", policy_id, users)
    await unit.session.delete(row)


async def said(session: AsyncSession, policy_id: str) -> dict[str, Any]:
    """What a queue that names it sends to the POPs as ``consent_policy``; refuses names that nobody has."""
    row = await session.get(ConsentPolicyRow, policy_id)
    if row is None:
        raise one("consent_policy_id", f"there is no consent policy {policy_id}")
    return _said(row)


def _said(row: ConsentPolicyRow) -> dict[str, Any]:
    return {name: row.config[name] for name in _SAID}


async def _queues(session: AsyncSession, policy_id: str) -> list[QueueRow]:
    named = QueueRow.config["consent_policy_id"].as_string() == policy_id
    return list(await session.scalars(select(QueueRow).where(named).order_by(QueueRow.queue_id)))
