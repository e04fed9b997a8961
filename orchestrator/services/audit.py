"""The audit log: who did what to what, when, why, from where, and with which outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import AuditHeadRow, AuditRow
from orchestrator.adapters.db.engine import Database
from orchestrator.domain.audit_chain import Broken, Link, Stored, Verifier
from orchestrator.domain.grants import Caller, current
from orchestrator.domain.problems import one
from orchestrator.services.paging import Page, PageRequest, cursor

DONE = "done"
ASKED = "asked"
"""A POP was asked to do it; when it refused, the next row says so."""
READ = "read"
REPLAYED = "replayed"
"""The answer of an earlier request, under the same Idempotency-Key, was given again."""
HEAD = 1
VERIFY_PAGE = 5000
MOST_CHANGES = 50
"""Rows named in one link; a bulk import names the first ones and how many there were."""


async def append(
    session: AsyncSession, caller: Caller, outcome: str, changes: Sequence[str] = (), now: float | None = None
) -> None:
    """Add a link to the chain, in this transaction, and as the last thing in it: others wait at the chain's end."""
    head = await session.get_one(AuditHeadRow, HEAD, with_for_update=True, populate_existing=True)
    named = list(changes[:MOST_CHANGES])
    if len(changes) > MOST_CHANGES:
        named.append(f"{len(changes)} rows in all")
    link = Link(
        seq=head.seq + 1,
        at=time.time() if now is None else now,
        caller_id=caller.caller_id,
        caller=caller.name,
        source=caller.source[:64],
        action=caller.action[:63],
        thing=caller.thing[:300],
        purpose=caller.purpose,
        outcome=outcome[:63],
        changes=tuple(named),
    )
    made = link.hash(head.hash)
    fields = {name: getattr(link, name) for name in Link.__slots__}
    session.add(AuditRow(**{**fields, "changes": named}, previous=head.hash, hash=made))
    head.seq, head.hash = link.seq, made
    await session.flush()
    caller.entries.append(outcome)


async def note(database: Database, outcome: str) -> None:
    """A row of its own, for what changes nothing in the database: an access, a command, a refusal."""
    caller = current()
    if not caller.recorded:
        return
    was, caller.recorded = caller.recorded, False
    try:
        async with database.write() as session:
            await append(session, caller, outcome)
    finally:
        caller.recorded = was


def _stored(row: AuditRow) -> Stored:
    fields = {name: getattr(row, name) for name in Link.__slots__}
    return Stored(Link(**{**fields, "changes": tuple(row.changes)}), row.previous, row.hash)


async def verify(session: AsyncSession, noted: tuple[int, str] | None = None) -> tuple[Broken | None, int, str]:
    """The first broken row, if one is, and the end of the log: its number and hash. ``noted``: an end that was seen
    before and is still to be in it."""
    verifier, after = Verifier(), -(1 << 62)
    while True:
        statement = select(AuditRow).where(AuditRow.seq > after).order_by(AuditRow.seq).limit(VERIFY_PAGE)
        rows = list(await session.scalars(statement))
        for row in rows:
            if broken := verifier.take([_stored(row)]):
                return broken, verifier.seq, verifier.hash
            if noted is not None and row.seq == noted[0] and row.hash != noted[1]:
                return Broken(row.seq, "is not what was noted of it"), verifier.seq, verifier.hash
        session.expunge_all()
        if len(rows) < VERIFY_PAGE:
            break
        after = rows[-1].seq
    head = await session.get_one(AuditHeadRow, HEAD)
    broken = verifier.end(head.seq, head.hash)
    if broken is None and noted is not None and verifier.seq < noted[0]:
        broken = Broken(verifier.seq + 1, "is missing: the log was longer once")
    return broken, verifier.seq, verifier.hash


async def listed(session: AsyncSession, statement: Select[AuditRow], asked: PageRequest) -> Page[AuditRow]:
    """Newest first."""
    if (after := asked.after) is not None:
        if not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise one("cursor", "is not a cursor that this API gave out")
        statement = statement.where(AuditRow.seq < int(after))
    rows = list(await session.scalars(statement.order_by(AuditRow.seq.desc()).limit(asked.limit + 1)))
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return Page(rows, cursor(str(rows[-1].seq)) if more else None)
