"""One websocket connection from a media server: its outbox, the answers waited for, acknowledging at once."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_QUICKACK, socket

from aiohttp import WSMsgType, web

from pbx.adapters.asterisk import models
from pbx.domain.errors import EngineError


class Connection:
    """One connection: what is to be written, and who waits for which answer."""

    __slots__ = ("_acknowledging", "_socket", "deadlines", "greeted", "outbox", "pending", "wake", "ws")

    def __init__(self, ws: web.WebSocketResponse, connection: socket | None) -> None:
        self.ws = ws
        # The event loop's own socket object opens and closes a real one at each call.
        self._socket = socket(fileno=os.dup(connection.fileno())) if connection is not None else None
        self._acknowledging = False
        self.pending: dict[str, asyncio.Future[models.RESTResponse]] = {}
        self.deadlines: deque[tuple[float, str]] = deque()
        self.outbox: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def write(self) -> None:
        """Writes the outbox in its order. One task per connection: sending from an event needs no task of its own."""
        while True:
            while self.outbox:
                await self.ws.send_frame(self.outbox.popleft(), WSMsgType.TEXT)
            self.wake.clear()
            await self.wake.wait()

    def acknowledge(self) -> None:
        """Acknowledge at once what was received. The server writes a frame in two pieces and without TCP_NODELAY: its
        kernel holds the second back until the first is acknowledged, and ours would take 40 ms for that (seen: 44 ms
        from answer to the first prompt, 1 ms with this). The option holds for one time only; once per turn of the loop
        is enough, however many frames came together."""
        if self._socket is not None and not self._acknowledging:
            self._acknowledging = True
            asyncio.get_running_loop().call_soon(self._acknowledge)

    def _acknowledge(self) -> None:
        self._acknowledging = False
        if self._socket is not None:
            self._socket.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)

    def close(self) -> None:
        """Gives the second descriptor back; the connection itself is aiohttp's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fail(self, error: Callable[[], EngineError]) -> None:
        pending, self.pending = self.pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(error())
