"""One event socket connection: frames in, commands out, replies and results of jobs matched to them.

Replies come in the order of the commands and carry no id, so one that is late keeps its place in the queue after its
deadline: the next reply is never taken for it. Results of background jobs are found by the Job-UUID we chose.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from pbx.adapters.freeswitch import framing
from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.framing import EslProtocolError, Frame, FrameParser
from pbx.adapters.freeswitch.models import ServerEvent, event_of
from pbx.domain.errors import BadValue, EngineError, EngineGone, EngineUnknown
from pbx.ports.media_engine import EngineMeter

log = logging.getLogger(__name__)

LONGEST_OUTBOX = 1 << 22
"""Bytes not yet taken by a server that does not read."""
PING_S = 2.0
HUNG_S = 10.0
"""A connection whose oldest command is unanswered for longer is given up."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class _Command:
    __slots__ = ("began", "deadline", "future", "sent_at")

    def __init__(self, future: asyncio.Future[str], sent_at: float, deadline: float) -> None:
        self.future, self.sent_at, self.deadline = future, sent_at, deadline
        self.began = time.perf_counter()  # the loop's clock ticks in milliseconds


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, on_event: Callable[[ServerEvent], None], timeout_s: float, meter: EngineMeter) -> None:
        self._on_event, self._timeout_s, self._meter = on_event, timeout_s, meter
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._commands: deque[_Command] = deque()
        self._jobs: dict[str, asyncio.Future[str]] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self._last_sent = 0.0
        self.reason = ""
        self.asked: asyncio.Future[None] = self._loop.create_future()
        """The server asks for the password."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- what the loop calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what create_connection makes
        self._sweep()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._frame(frame)
        except EslProtocolError as error:
            log.error("the media server's event socket sent what is not its protocol: %s", error)
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._transport = None
        self.reason = self.reason or (type(exc).__name__ if exc is not None else "closed by the media server")
        lost = [command.future for command in self._commands]
        self._meter.unanswered += sum(not future.done() for future in lost)
        for future in (*lost, *self._jobs.values()):
            if not future.done():
                future.set_exception(EngineUnknown("the connection to the media server dropped before the answer"))
        self._commands.clear()
        self._jobs.clear()
        for waited in (self.asked, self.closed):
            if not waited.done():
                waited.set_result(None)

    def abort(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- frames -------------------------------------------------------------------------------------------------------

    def _frame(self, frame: Frame) -> None:
        content_type = frame.content_type
        if content_type == framing.EVENT_JSON:
            self._event(frame.body)
        elif content_type == "api/response":
            self._reply(frame.text)
        elif content_type == "command/reply":
            self._reply(frame.headers.get("reply-text", ""))
        elif content_type == "auth/request":
            if not self.asked.done():
                self.asked.set_result(None)
        elif content_type == "text/disconnect-notice":
            self.reason = self.reason or "the media server says goodbye"
        elif content_type == "text/rude-rejection":
            log.error("the media server's event socket does not admit this address: apply-inbound-acl")
            self.reason = self.reason or "not admitted"
        else:
            log.debug("a frame of a type that is not read")

    def _reply(self, text: str) -> None:
        if not self._commands:
            log.warning("the media server answered what was not asked")
            return
        command = self._commands.popleft()
        self._meter.requests.observe(time.perf_counter() - command.began)
        if not command.future.done():
            command.future.set_result(text)

    def _event(self, body: bytes) -> None:
        try:
            event = event_of(body)
        except ValueError as error:
            # msgspec's texts name the header and the type, never the value.
            log.warning("dropped an event of %d bytes that cannot be read: %s", len(body), type(error).__name__)
            return
        if event.name == "BACKGROUND_JOB":
            future = self._jobs.pop(event.job_uuid, None)
            if future is not None and not future.done():
                future.set_result(event.body)
            return
        self._on_event(event)

    # --- commands -----------------------------------------------------------------------------------------------------

    def send(self, line: str, headers: Mapping[str, str] = NO_HEADERS) -> asyncio.Future[str]:
        try:
            data = framing.command(line, headers)
        except ValueError as error:
            raise BadValue("command", str(error)) from error
        transport = self._transport
        if transport is None or transport.is_closing():
            raise EngineGone("the media server is not connected")
        if transport.get_write_buffer_size() + len(data) > LONGEST_OUTBOX:
            raise EngineGone("the media server does not read what is sent to it")
        future: asyncio.Future[str] = self._loop.create_future()
        self._last_sent = self._loop.time()
        self._commands.append(_Command(future, self._last_sent, self._last_sent + self._timeout_s))
        transport.write(data)
        return future

    async def start_job(self, line: str, job_uuid: str, deadline_s: float) -> asyncio.Future[str]:
        future: asyncio.Future[str] = self._loop.create_future()
        self._jobs[job_uuid] = future
        try:
            error = error_of(await self.send(f"bgapi {line}", {"Job-UUID": job_uuid}))
            if error is not None:
                raise error
        except EngineError:
            self._jobs.pop(job_uuid, None)
            raise
        timer = self._loop.call_later(deadline_s, self._job_overdue, job_uuid, deadline_s)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _job_overdue(self, job_uuid: str, deadline_s: float) -> None:
        future = self._jobs.pop(job_uuid, None)
        if future is not None and not future.done():
            future.set_exception(EngineUnknown(f"no result of a job within {deadline_s} s"))

    def _sweep(self) -> None:
        """Fails overdue commands, pings when nothing else was sent, gives up a server that does not answer."""
        self._sweeper = self._loop.call_later(min(0.25, self._timeout_s / 4), self._sweep)
        now = self._loop.time()
        for command in self._commands:
            if command.deadline > now:
                break
            if not command.future.done():
                self._meter.unanswered += 1
                command.future.set_exception(EngineUnknown(f"no answer within {self._timeout_s} s"))
        if self._commands and now - self._commands[0].sent_at > HUNG_S:
            self.abort("the media server does not answer")
        elif not self._commands and now - self._last_sent > PING_S and self.asked.done():
            self.send("api strepoch").add_done_callback(_swallow)


def _swallow(future: asyncio.Future[str]) -> None:
    if not future.cancelled():
        future.exception()
