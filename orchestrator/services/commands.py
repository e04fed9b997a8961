"""Commands to POPs: requests with a deadline and an idempotency key; what the POP refuses becomes a problem."""

from __future__ import annotations

import secrets
import time

from orchestrator.adapters.bus.client import Bus
from orchestrator.domain.problems import PopRefused
from pbx.wire.messages import CommandReply, CommandRequest, PopCommand

DEADLINE_S = 5.0


async def send(bus: Bus, pop_id: str, command: PopCommand, deadline_s: float = DEADLINE_S) -> CommandReply:
    """The POP's reply. Raises PopUnreachable, PopTimeout, or PopRefused with the POP's own error id."""
    request = CommandRequest(
        idempotency_key=secrets.token_hex(16), deadline_at=time.time() + deadline_s, command=command
    )
    reply = await bus.request(pop_id, request, deadline_s)
    if reply.error_id is not None:
        raise PopRefused(reply.error_id, reply.detail)
    return reply
