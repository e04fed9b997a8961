"""Commands from the centre: each carried out at most once, and never after its deadline."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec
from nats.errors import Error as NatsError

from pbx.ports.link import LinkHandler
from pbx.wire.messages import (
    CommandReply,
    CommandRequest,
    ExplainChoice,
    ExplainWait,
    ListWaiting,
    NameNumbers,
    ReadRecording,
)

log = logging.getLogger(__name__)

READS = (ReadRecording, ExplainWait, ExplainChoice, ListWaiting, NameNumbers)
REMEMBERED = 1000
"""Replies kept for a command that is asked again; reads are not kept, they may be done again."""

Respond = Callable[[bytes], Awaitable[None]]


class CommandDesk:
    def __init__(self, handler: LinkHandler, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock
        self._decoder = msgspec.json.Decoder(CommandRequest)
        self._done: OrderedDict[str, asyncio.Task[CommandReply]] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def take(self, data: bytes, respond: Respond) -> None:
        """Begin with a request; commands do not wait for one another."""
        task = asyncio.create_task(self._answer(data, respond))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, data: bytes, respond: Respond) -> None:
        reply = await self._reply(data)
        try:
            await respond(msgspec.json.encode(reply))
        except NatsError as error:
            log.warning("a command's reply could not be sent: %s", type(error).__name__)

    async def _reply(self, data: bytes) -> CommandReply:
        try:
            request = self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            return CommandReply(error_id="unknown_command", detail=str(error))
        key = request.idempotency_key
        if key not in self._done:
            if self._clock() > request.deadline_at:
                return CommandReply(error_id="deadline_passed", detail="the command came after its deadline")
            task = asyncio.create_task(self._carry_out(request))
            if isinstance(request.command, READS):
                return await task
            self._done[key] = task
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
        return await asyncio.shield(self._done[key])

    async def _carry_out(self, request: CommandRequest) -> CommandReply:
        try:
            return await self._handler.command(request)
        except Exception:  # the border: the centre must get an answer, the log the cause
            log.exception("command %s failed", type(request.command).__name__)
            return CommandReply(error_id="internal", detail="the POP failed to carry it out; its log says more")
