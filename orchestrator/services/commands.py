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
from orchestrator.domain.problems import PopRefused
from orchestrator.services.audit import ASKED
from pbx.wire.messages import CommandReply, CommandRequest, NameNumbers, PopCommand, ReadRecording

DEADLINE_S = 5.0
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
