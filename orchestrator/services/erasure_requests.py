"""What is asked of erasures (GDPR Art. 17): begin one, look at it, go on with one that a hold kept."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import DidRow, ErasedNumberRow, ErasureRow, ErasureStepRow
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Conflict, NotFound, one
from orchestrator.domain.subject import named_in
from orchestrator.services import scope
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.ids import ulid

RUNNING, HELD, DONE = "running", "held", "done"


async def request(session: AsyncSession, keys: RightsKeys, number: str) -> ErasureRow:
    """One that is under way for this number and scope is answered again, not begun twice."""
    caller, now = current(), time.time()
    digests = keys.digests(number)
    grants = [grant.to_json() for grant in caller.grants]
    if caller.purpose and named_in(caller.purpose, number):
        raise one("X-Purpose", "names the number, and is kept in the audit log: say it without")
    if await session.get(DidRow, number) is not None:
        raise one("number", "is one of this centre's own numbers")
    subject = keys.subject(number)
    open_ones = select(ErasureRow).where(ErasureRow.digest == subject, ErasureRow.state == RUNNING)
    for row in await session.scalars(open_ones):
        if row.grants == grants:
            return row
    row = ErasureRow(
        erasure_id=ulid(now, secrets.randbits(80)),
        digest=subject,
        grants=grants,
        requested_at=now,
        requested_by=caller.name,
        caller_id=caller.user_id or caller.caller_id,
        purpose=caller.purpose or "",
        state=RUNNING,
        holds=[],
        issued=0,
    )
    row.number = keys.seal(number, f"erasure {row.erasure_id}")
    session.add(row)
    await session.flush()
    if caller.whole:  # else a later fact cannot be told from one out of scope
        session.add_all(ErasedNumberRow(erasure_id=row.erasure_id, digest=digest, before=now) for digest in digests)
    return row


async def get(session: AsyncSession, erasure_id: str, *, to_change: bool = False) -> ErasureRow:
    row = await scope.get(session, ErasureRow, erasure_id, to_change=to_change)
    if row is None:
        raise NotFound("erasure", erasure_id)
    return row


async def go_on(session: AsyncSession, erasure_id: str) -> ErasureRow:
    """Look again at what a hold kept. Raises Conflict where none did."""
    row = await get(session, erasure_id, to_change=True)
    if row.state != HELD:
        raise Conflict("not_held", "no legal hold keeps anything of this erasure")
    row.state = RUNNING
    held = ErasureStepRow.erasure_id == erasure_id, ErasureStepRow.state == HELD
    await session.execute(update(ErasureStepRow).where(*held).values(state="pending", why=None))
    return row


async def steps(session: AsyncSession, erasure_id: str) -> list[ErasureStepRow]:
    chosen = select(ErasureStepRow).where(ErasureStepRow.erasure_id == erasure_id)
    order = ErasureStepRow.kind, ErasureStepRow.thing
    return list(await session.scalars(chosen.order_by(*order)))


async def counts(session: AsyncSession, erasure_id: str) -> dict[str, int]:
    """State -> how many steps."""
    chosen = select(ErasureStepRow.state, func.count()).where(ErasureStepRow.erasure_id == erasure_id)
    return {row[0]: row[1] for row in await session.execute(chosen.group_by(ErasureStepRow.state))}
