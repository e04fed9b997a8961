"""Commands to POPs: requests with a deadline and an idempotency key; what the POP refuses becomes a problem."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

from orchestrator.adapters.bus.client import Bus
from orchestrator.domain.grants import current
from orchestrator.domain.problems import PopRefused, PopTimeout, PopUnreachable
from orchestrator.services.audit import ASKED
from pbx.wire.messages import CommandReply, CommandRequest, NameNumbers, PopCommand, ReadRecording

DEADLINE_S = 5.0
ELSEWHERE = "agent_elsewhere"
"""What a POP says of an agent whom it has not, but another POP."""
_keys: ContextVar[Iterator[str] | None] = ContextVar("keys", default=None)


@contextmanager
def keyed(base: str) -> Iterator[None]:
    """Commands sent meanwhile have keys made from ``base``: sent again, they are not carried out twice."""
    keys = (hashlib.sha256(f"{base}:{at}".encode()).hexdigest()[:32] for at in count())
    token = _keys.set(keys)
    try:
        yield
    finally:
        _keys.reset(token)


async def send(bus: Bus, pop_id: str, command: PopCommand, deadline_s: float = DEADLINE_S) -> CommandReply:
    """The POP's reply. Raises PopUnreachable, PopTimeout, or PopRefused with the POP's own error id."""
    keys = _keys.get()
    key = secrets.token_hex(16) if keys is None else next(keys)
    request = CommandRequest(idempotency_key=key, deadline_at=time.time() + deadline_s, command=command)
    caller = current()
    if not isinstance(command, ReadRecording | NameNumbers) and ASKED not in caller.entries:
        await caller.note(ASKED)
    reply = await bus.request(pop_id, request, deadline_s)
    if reply.error_id is not None:
        raise PopRefused(reply.error_id, reply.detail)
    return reply


async def send_to_owner(bus: Bus, home: str, backup: str | None, command: PopCommand) -> CommandReply:
    """To the POP where the agent is: at home, or at the backup when the phone has gone there. Raises like ``send``;
    what the home said counts when the backup does not have the agent either."""
    try:
        return await send(bus, home, command)
    except (PopUnreachable, PopTimeout, PopRefused) as error:
        if backup is None or (isinstance(error, PopRefused) and error.error_id != ELSEWHERE):
            raise
        try:
            return await send(bus, backup, command)
        except PopRefused as refused:
            if refused.error_id == ELSEWHERE:
                raise error from refused
            raise
