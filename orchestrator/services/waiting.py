"""Who waits now. Asked of the POPs: positions and priorities change by the second, and only they know them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.adapters.db.models import PopRow
from orchestrator.domain.problems import PopRefused, PopTimeout, PopUnreachable
from orchestrator.services import commands, pops
from orchestrator.services.context import Services
from pbx.wire.messages import CommandReply, ListWaiting, WaitingCall

DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True)
class Waiting:
    calls: list[tuple[str, WaitingCall]]
    """With the POP of each."""
    not_heard: list[str]
    truncated: bool


async def find(services: Services, pop_id: str | None, queue_id: str | None, limit: int) -> Waiting:
    """The longest waits first. A POP that is away is named, and holds nobody up longer than ``DEADLINE_S``."""
    async with services.database.read() as session:
        if pop_id is not None:
            asked = [(await pops.get(session, pop_id)).pop_id]
        else:
            asked = list(await session.scalars(select(PopRow.pop_id).order_by(PopRow.pop_id)))
    command = ListWaiting(queue_id=queue_id, limit=limit)
    replies = await asyncio.gather(*(_ask(services, one, command) for one in asked))
    heard = {one: reply for one, reply in zip(asked, replies, strict=True) if reply is not None}
    calls = [(one, call) for one, reply in heard.items() for call in reply.waiting]
    calls.sort(key=lambda item: -item[1].waited_s)
    return Waiting(
        calls=calls[:limit],
        not_heard=[one for one in asked if one not in heard],
        truncated=len(calls) > limit or any(reply.more for reply in heard.values()),
    )


async def _ask(services: Services, pop_id: str, command: ListWaiting) -> CommandReply | None:
    try:
        return await commands.send(services.bus, pop_id, command, DEADLINE_S)
    except (PopUnreachable, PopTimeout, PopRefused):  # refused: it is older than the command
        return None
