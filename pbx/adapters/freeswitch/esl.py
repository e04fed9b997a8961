"""An inbound event socket connection that is kept up: commands with their replies, jobs, events.

Nothing is sent twice: what was not answered before the deadline or the end of the connection is *unknown*.

Reading never waits for the handling: frames are read as they come, events go through a bounded inbox and are handled
some at a time. When it overflows it is emptied and the link synchronises anew, as after a reconnect: down, snapshot,
up. The server queues events for a connection that is not read and ends it when it has lost 500; calls go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pbx.adapters.freeswitch import framing
from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.models import ServerEvent
from pbx.adapters.freeswitch.session import NO_HEADERS, Session
from pbx.domain.errors import BadValue, EngineError, EngineGone, EngineUnknown, LegGone
from pbx.ports.media_engine import EngineMeter

log = logging.getLogger(__name__)

LONGEST_INBOX = 50_000
"""Events that wait to be handled."""
AT_ONCE = 200
"""Events handled before the loop turns to other things."""
CONNECT_S = 5.0
RECONNECT_S = (0.1, 3.0)
"""First and longest pause between two attempts."""
REFUSED_S = 30.0
"""Pause after a wrong password."""


class _Refused(Exception):
    pass


class EslLink:
    """``on_connected`` is awaited after each (re)connect and after an overflow, subscribed already; when it returns,
    events that came meanwhile follow through ``on_event`` and then all new ones. No callback may raise."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        password: str,
        events: Sequence[str],
        filters: Sequence[tuple[str, str]],
        on_event: Callable[[ServerEvent], None],
        on_connected: Callable[[], Awaitable[None]],
        on_down: Callable[[str], None],
        request_timeout_s: float = 5.0,
    ) -> None:
        try:
            framing.command(f"auth {password}")
        except ValueError as error:
            raise BadValue("esl_password", "has spaces at an end, or holds CR, LF or NUL") from error
        self._host, self._port, self._password = host, port, password
        self._events, self._filters = tuple(events), tuple(filters)
        self._on_event, self._on_connected, self._on_down = on_event, on_connected, on_down
        self._timeout_s = request_timeout_s
        self.meter = EngineMeter()
        self._session: Session | None = None
        self._ready = False
        self._inbox: deque[ServerEvent] = deque()
        self._draining = False
        self._overflowed = False
        self._job_prefix = f"{random.getrandbits(64):016x}"
        self._jobs = 0
        self._keeper: asyncio.Task[None] | None = None
        self._synchroniser: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._session is not None and not self._session.closed.done()

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep_connected(), name="esl-connection")

    async def stop(self) -> None:
        tasks = [task for task in (self._keeper, self._synchroniser) if task is not None]
        self._keeper = self._synchroniser = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """Aborts the connection without a word, and does not come back."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self._session is not None:
            self._session.abort("cut")

    # --- commands -----------------------------------------------------------------------------------------------------

    def send(self, line: str, headers: Mapping[str, str] = NO_HEADERS) -> asyncio.Future[str]:
        """Sends a command. The future gets the text of the reply, whatever it says, or EngineUnknown. Raises
        EngineGone when there is no connection (nothing was sent) and BadValue for text that is more than one line."""
        if self._session is None:
            raise EngineGone("the media server is not connected")
        return self._session.send(line, headers)

    async def request(self, line: str, headers: Mapping[str, str] = NO_HEADERS) -> str:
        """The text of the reply. Raises LegGone, EngineRefused, EngineGone, EngineUnknown."""
        text = await self.send(line, headers)
        error = error_of(text)
        if error is not None:
            raise error
        return text

    async def api(self, line: str) -> str:
        return await self.request(f"api {line}")

    def send_unattended(
        self, line: str, headers: Mapping[str, str] = NO_HEADERS, done: Callable[[], None] | None = None
    ) -> None:
        """Sends a command whose outcome nobody waits for: a refusal is logged, a missing leg is usual. ``done`` is
        called when it was carried out."""
        try:
            self.send(line, headers).add_done_callback(
                _log_refusal if done is None else lambda future: _log_refusal(future, done)
            )
        except EngineGone:
            log.info("not sent, the media server is not connected")

    async def start_job(self, line: str, deadline_s: float) -> asyncio.Future[str]:
        """Starts ``line`` in the background and returns when the server has accepted it. The future gets what it says
        in the end, or EngineUnknown."""
        if self._session is None:
            raise EngineGone("the media server is not connected")
        self._jobs += 1
        return await self._session.start_job(line, f"{self._job_prefix}-{self._jobs}", deadline_s)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        pause_s = RECONNECT_S[0]
        while True:
            try:
                if await self._connection():
                    pause_s = RECONNECT_S[0]
            except _Refused:
                log.error(
                    "the media server refuses the event socket password: esl_password of this POP's controller "
                    "differs from event_socket.conf.xml; tried again in %d s",
                    REFUSED_S,
                )
                await asyncio.sleep(REFUSED_S)
                continue
            except OSError as error:
                log.info("cannot connect to the media server's event socket: %s", type(error).__name__)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts, no secret
            pause_s = min(2 * pause_s, RECONNECT_S[1])

    async def _connection(self) -> bool:
        """One connection from its beginning to its end. Returns whether it was ever synchronised."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, session = await loop.create_connection(
                lambda: Session(self._receive, self._timeout_s, self.meter), self._host, self._port
            )
        self._inbox.clear()
        self._ready = self._overflowed = False
        synchronised = False
        try:
            await self._log_in(session)
            self._session = session
            self._synchroniser = asyncio.create_task(self._synchronise(session), name="esl-synchronise")
            await session.closed
            synchronised = self._ready
        except EngineError as error:
            log.warning("cannot log in to the media server's event socket: %s", error)
        finally:
            self._ready = False
            if self._synchroniser is not None:
                self._synchroniser.cancel()
            session.close()
            if self._session is session:
                self._session = None
                self._on_down(session.reason or "closed")
        return synchronised

    async def _log_in(self, session: Session) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                await session.asked
        except TimeoutError:
            session.abort("no greeting")
            raise EngineUnknown("no greeting of an event socket") from None
        if not (await session.send(f"auth {self._password}")).startswith("+OK"):
            session.close()
            raise _Refused
        lines = [f"filter {name} {value}" for name, value in self._filters]
        lines.append(f"event json {' '.join(self._events)}")
        for reply in [session.send(line) for line in lines]:
            error = error_of(await reply)
            if error is not None:
                raise error

    async def _synchronise(self, session: Session) -> None:
        pause_s = RECONNECT_S[0]
        while True:
            self._overflowed = False
            try:
                await self._on_connected()
            except EngineError as error:
                log.error("cannot synchronise with the media server, trying a new connection: %s", error)
                session.abort("not synchronised")
                return
            if self._session is not session:
                return
            if not self._overflowed:
                break
            self._on_down("events came faster than they were handled; some were dropped")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_S[1])
        self._ready = True
        self._drain()

    # --- the inbox ----------------------------------------------------------------------------------------------------

    def _receive(self, event: ServerEvent) -> None:
        if len(self._inbox) >= LONGEST_INBOX:
            self._overflow()
            return
        self._inbox.append(event)
        if self._ready and not self._draining:
            self._draining = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _overflow(self) -> None:
        self._inbox.clear()
        session = self._session
        if self._overflowed or session is None:
            return
        self._overflowed = True
        log.error("%d events wait to be handled: dropped, synchronising anew", LONGEST_INBOX)
        if self._ready:
            self._ready = False
            self._on_down("events came faster than they were handled; some were dropped")
            self._synchroniser = asyncio.create_task(self._synchronise(session), name="esl-synchronise")

    def _drain(self) -> None:
        self._draining = False
        inbox = self._inbox
        for _ in range(AT_ONCE):
            if not inbox or not self._ready:
                return
            self._on_event(inbox.popleft())
        if inbox:
            self._draining = True
            asyncio.get_running_loop().call_soon(self._drain)


def _log_refusal(future: asyncio.Future[str], done: Callable[[], None] | None = None) -> None:
    if future.cancelled():
        return
    failure = future.exception()
    error = failure if failure is not None else error_of(future.result())
    if error is None and done is not None:
        done()
    if error is not None and not isinstance(error, LegGone):
        log.warning("a command nobody waits for failed: %s", error)
