"""POPs: sites with a media server and its controller. Creating one makes its login on the bus."""

from __future__ import annotations

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import flag_modified

from orchestrator.adapters.db.models import AgentRow, DidRow, PopRow, QueueRow, TrunkRow
from orchestrator.domain.problems import Exists, InUse, NotFound, one
from orchestrator.domain.resources import PopChange, PopSpec
from orchestrator.services import catalogue, scope
from orchestrator.services.unit_of_work import POP_KEY, UnitOfWork
from pbx.wire import pop_key
from pbx.wire.messages import PopConfig


async def get(session: AsyncSession, pop_id: str) -> PopRow:
    row = await scope.get(session, PopRow, pop_id)
    if row is None:
        raise NotFound("pop", pop_id)
    return row


async def require(session: AsyncSession, pop_id: str) -> None:
    """Refuse a reference to a POP that does not exist, naming the field."""
    if await scope.get(session, PopRow, pop_id) is None:
        raise one("pop_id", f"there is no POP {pop_id}")


async def _check(session: AsyncSession, pop_id: str, spec: PopChange) -> None:
    if spec.backup_pop_id == pop_id:
        raise one("backup_pop_id", "a POP cannot take over for itself")
    if spec.backup_pop_id is not None and await scope.get(session, PopRow, spec.backup_pop_id) is None:
        raise one("backup_pop_id", f"there is no POP {spec.backup_pop_id}")
    if spec.region is None:
        return
    if (unknown := catalogue.undeclared_region(spec.region, await catalogue.regions(session))) is not None:
        raise one("region", unknown)


async def create(unit: UnitOfWork, spec: PopSpec) -> tuple[PopRow, str]:
    """The new POP and its key, which nobody can read again."""
    if await unit.session.get(PopRow, spec.pop_id) is not None:
        raise Exists("pop", "pop_id")
    await _check(unit.session, spec.pop_id, spec)
    key = pop_key.new_key()
    row = PopRow(
        pop_id=spec.pop_id,
        name=spec.name,
        country=spec.country,
        region=spec.region,
        backup_pop_id=spec.backup_pop_id,
        nkey=pop_key.public_nkey(key),
        config_revision=0,
        created_at=unit.now,
    )
    unit.session.add(row)
    await unit.session.flush()
    await unit.publish_all(spec.pop_id)
    await unit.session.refresh(row)
    return row, key


async def change(unit: UnitOfWork, pop_id: str, spec: PopChange) -> PopRow:
    row = await get(unit.session, pop_id)
    await _check(unit.session, pop_id, spec)
    row.name, row.country, row.region = spec.name, spec.country, spec.region
    former, row.backup_pop_id = row.backup_pop_id, spec.backup_pop_id
    if former != spec.backup_pop_id:
        await unit.session.flush()
        await unit.back_up(pop_id, former, spec.backup_pop_id)
        await unit.session.refresh(row)
    return row


async def drain(unit: UnitOfWork, pop_id: str) -> PopRow:
    """From now on it takes no new calls and places none. One that drains already goes on."""
    row = await _to_change(unit, pop_id)
    if row.draining_since is None:
        row.draining_since = unit.now
        await unit.publish(PopConfig(draining=True), [pop_id])
        await unit.session.refresh(row)
    return row


async def undrain(unit: UnitOfWork, pop_id: str) -> PopRow:
    row = await _to_change(unit, pop_id)
    if row.draining_since is not None:
        row.draining_since = None
        await unit.withdraw(POP_KEY, [pop_id])
        await unit.session.refresh(row)
    return row


async def _to_change(unit: UnitOfWork, pop_id: str) -> PopRow:
    """Also where it is as asked already, who may not change it is refused."""
    row = await get(unit.session, pop_id)
    flag_modified(row, "draining_since")
    await unit.session.flush()
    return row


async def new_key(unit: UnitOfWork, pop_id: str) -> tuple[PopRow, str]:
    """Replaces the key; the former one stops working."""
    row = await get(unit.session, pop_id)
    key = pop_key.new_key()
    row.nkey = pop_key.public_nkey(key)
    return row, key


async def delete(unit: UnitOfWork, pop_id: str) -> None:
    row = await get(unit.session, pop_id)
    dids = (await unit.session.scalars(select(DidRow.number).where(DidRow.pop_id == pop_id))).all()
    agents = (await unit.session.scalars(select(AgentRow.agent_id).where(AgentRow.pop_id == pop_id))).all()
    shared = [
        f"queue {row.queue_id}"
        for row in await unit.session.scalars(select(QueueRow).order_by(QueueRow.queue_id))
        if pop_id in row.config.get("pops", ())
    ]
    backed = (await unit.session.scalars(select(PopRow.pop_id).where(PopRow.backup_pop_id == pop_id))).all()
    users = [*(f"DID {n}" for n in dids), *(f"agent {a}" for a in agents), *(f"backup of {p}" for p in backed), *shared]
    if users:
        raise InUse("pop", pop_id, users)
    await unit.session.execute(delete_rows(TrunkRow).where(TrunkRow.pop_id == pop_id))
    await unit.session.delete(row)
    await unit.drop(pop_id)
