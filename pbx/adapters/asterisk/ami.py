"""AMI: panoramisk's protocol and messages, with a connection of our own around them.

panoramisk's ``Manager`` is not used: it sends unanswered actions again after a reconnect, has no deadlines and does not
notice a server that hangs. Its ``AMIProtocol`` parses and matches; this module connects, logs in, pings, and gives each
action a deadline. Latin-1 on the wire keeps characters that a read boundary splits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from pbx.domain.errors import EngineGone, EngineRefused, EngineUnknown

log = logging.getLogger(__name__)

PING_S = 5.0
RECONNECT_S = 1.0


class _Session:
    """What panoramisk's protocol expects of its manager; it keeps nothing for later."""

    forgetable_actions = ()

    def __init__(self, dispatch: Callable[[Message], None]) -> None:
        self.awaiting_actions: deque[Action] = deque(maxlen=0)
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.protocol: Any = None
        self.dispatch = dispatch

    def connection_lost(self, _: object) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class AmiLink:
    """A connection to AMI that is made again when it is lost; no action is ever sent twice."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        user: str,
        password: str,
        on_event: Callable[[Mapping[str, str]], None],
        on_up: Callable[[], None] = lambda: None,
        events: str = "system",
        action_timeout_s: float = 5.0,
    ) -> None:
        """``events``: classes of events that are wanted, of those that ``read`` in manager.conf gives the user."""
        self._events = events
        self._host, self._port, self._user, self._password = host, port, user, password
        self._on_event, self._on_up = on_event, on_up
        self._timeout_s = action_timeout_s
        self._session: _Session | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._session is not None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ami")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def action(self, name: str, **values: str) -> Message:
        """The response. Raises EngineRefused with the server's message, EngineGone, EngineUnknown; ValueError for a
        value that holds a line end, which would begin another header."""
        session = self._session
        if session is None:
            raise EngineGone("AMI is not connected")
        return await self._send(session, name, values)

    async def _send(self, session: _Session, name: str, values: Mapping[str, str]) -> Message:
        for key, value in values.items():
            if "\r" in value or "\n" in value or "\0" in value:
                raise ValueError(f"{key} of AMI action {name} holds a line end")
        if session.protocol.transport.is_closing():
            # Its loss is about to be reported. panoramisk would log the whole action, a login's password too.
            raise EngineGone("AMI is not connected any more")
        future = session.protocol.send(Action({"Action": name, **values}))
        try:
            done, _ = await asyncio.wait(
                (future, session.lost), timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._forget(session, future)
        if future not in done:
            raise EngineUnknown(f"AMI gave no answer to {name}")
        response: Message = future.result()
        if not response.success:
            raise EngineRefused(f"AMI refused {name}: {response.get('Message', '')}")
        return response

    @staticmethod
    def _forget(session: _Session, future: object) -> None:
        responses = session.protocol.responses
        for key in [key for key, action in responses.items() if action.future is future]:
            del responses[key]

    def _dispatch(self, message: Message) -> None:
        self._on_event({key: value for key, value in message.items() if isinstance(value, str)})

    async def _run(self) -> None:
        said = ""
        while True:
            try:
                await self._connection()
                reason = "the connection was lost"
            except (OSError, EngineGone, EngineRefused, EngineUnknown) as error:
                reason = str(error)
            finally:
                self._session = None
            if reason != said:
                log.warning("AMI is down, trying again every %s s: %s", RECONNECT_S, reason)
                said = reason
            await asyncio.sleep(RECONNECT_S)

    async def _connection(self) -> None:
        session = _Session(self._dispatch)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            transport, protocol = await loop.create_connection(AMIProtocol, self._host, self._port)
        protocol.factory, protocol.encoding, protocol.config = session, "latin-1", {}
        session.protocol = protocol
        try:
            login = {"Username": self._user, "Secret": self._password, "Events": self._events}
            await self._send(session, "Login", login)
            self._session = session
            self._on_up()
            while not session.lost.done():
                await asyncio.wait((session.lost,), timeout=PING_S)
                if not session.lost.done():
                    await self._send(session, "Ping", {})
        finally:
            # Before close(), so that nothing unanswered is kept; and close() does not report the loss a second time.
            protocol.responses.clear()
            protocol.closed = True
            transport.abort()
