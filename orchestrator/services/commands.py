"""Commands to POPs: requests with a deadline and an idempotency key; what the POP refuses becomes a problem."""

from __future__ import annotations

import secrets
import time

from orchestrator.adapters.bus.client import Bus
from orchestrator.domain.grants import current
from orchestrator.domain.problems import PopRefused
from orchestrator.services.audit import ASKED
from pbx.wire.messages import CommandReply, CommandRequest, PopCommand, ReadRecording

DEADLINE_S = 5.0


async def send(bus: Bus, pop_id: str, command: PopCommand, deadline_s: float = DEADLINE_S) -> CommandReply:
    """The POP's reply. Raises PopUnreachable, PopTimeout, or PopRefused with the POP's own error id."""
    request = CommandRequest(
        idempotency_key=secrets.token_hex(16), deadline_at=time.time() + deadline_s, command=command
    )
    caller = current()
    if not isinstance(command, ReadRecording) and ASKED not in caller.entries:
        await caller.note(ASKED)
    reply = await bus.request(pop_id, request, deadline_s)
    if reply.error_id is not None:
        raise PopRefused(reply.error_id, reply.detail)
    return reply
