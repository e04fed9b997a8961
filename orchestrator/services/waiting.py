"""Who waits now. Asked of the POPs: positions and priorities change by the second, and only they know them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallRow, PopRow
from orchestrator.domain.problems import PopRefused, PopTimeout, PopUnreachable
from orchestrator.services import commands, pops, scope
from orchestrator.services.context import Services
from pbx.wire.messages import CommandReply, ListWaiting, WaitingCall

DEADLINE_S = 2.0
MOST = 1000
"""Calls that a POP is asked for where some of them are not for the caller."""


@dataclass(frozen=True, slots=True)
class Waiting:
    calls: list[tuple[str, WaitingCall]]
    """With the POP of each."""
    not_heard: list[str]
    truncated: bool


async def find(services: Services, pop_id: str | None, queue_id: str | None, limit: int) -> Waiting:
    """Those that the caller sees, the longest waits first. A POP that is away is named, and holds nobody up longer than
    ``DEADLINE_S``."""
    async with services.database.read() as session:
        if pop_id is not None:
            asked = [(await pops.get(session, pop_id)).pop_id]
        else:
            found = await session.scalars(scope.limited(select(PopRow)).order_by(PopRow.pop_id))
            asked = [row.pop_id for row in found]
    command = ListWaiting(queue_id=queue_id, limit=limit if scope.nothing_outside() else MOST)
    replies = await asyncio.gather(*(_ask(services, one, command) for one in asked))
    heard = {one: reply for one, reply in zip(asked, replies, strict=True) if reply is not None}
    calls = [(one, call) for one, reply in heard.items() for call in reply.waiting]
    if not scope.nothing_outside():
        async with services.database.read() as session:
            seen = await _seen(session, {call.call_id for _, call in calls})
        calls = [(one, call) for one, call in calls if call.call_id in seen]
    calls.sort(key=lambda item: -item[1].waited_s)
    return Waiting(
        calls=calls[:limit],
        not_heard=[one for one in asked if one not in heard],
        truncated=len(calls) > limit or any(reply.more for reply in heard.values()),
    )


async def _seen(session: AsyncSession, call_ids: set[str]) -> set[str]:
    """Those of the calls that the caller sees. One whose record is not there yet belongs to nobody."""
    ids = sorted(call_ids)
    seen: set[str] = set()
    for at in range(0, len(ids), MOST):
        statement = select(CallRow.call_id).where(CallRow.call_id.in_(ids[at : at + MOST]))
        seen.update(await session.scalars(scope.limited(statement)))
    return seen


async def _ask(services: Services, pop_id: str, command: ListWaiting) -> CommandReply | None:
    try:
        return await commands.send(services.bus, pop_id, command, DEADLINE_S)
    except (PopUnreachable, PopTimeout, PopRefused):  # refused: it is older than the command
        return None
