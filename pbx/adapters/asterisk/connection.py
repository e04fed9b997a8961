"""One websocket connection from a media server: frames in and out, the answers waited for, acknowledging at once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_QUICKACK, socket

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from pbx.adapters.asterisk import models
from pbx.domain.errors import EngineError

log = logging.getLogger(__name__)

LONGEST_FRAME = 1 << 26
"""Bytes. The snapshot of some thousand channels is one frame; a longer frame or message ends the connection."""
ROUND_S = 0.002
"""While frames come without a pause, they are read in rounds of this: each reading wakes the process, and what it
answers goes out together."""
BUSY_S = 0.010
"""A pause between two readings. After it frames are read as they come."""
CLOSE_S = 1.0
"""How long the other side may take to close what was closed here."""


class Connection(WSListener):
    """One connection: who hears its messages, and who waits for which answer. picows calls ``on_ws_*``, from the read
    itself: with a task and a queue between them the controller spent a tenth of its time on receiving."""

    def __init__(
        self,
        begun: Callable[[Connection], None],
        heard: Callable[[Connection, bytes], None],
        over: Callable[[Connection, str], None],
    ) -> None:
        self._begun, self._heard, self._over = begun, heard, over
        self._transport: WSTransport | None = None
        self._socket: socket | None = None
        self._parts: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._write: Callable[[bytes], None] = _nowhere
        self._read_at = 0.0
        self.pending: dict[str, tuple[asyncio.Future[models.RESTResponse], float]] = {}
        """By the request's id: who waits, and when it was sent (``perf_counter``)."""
        self.deadlines: deque[tuple[float, str]] = deque()
        self.greeted: asyncio.Future[None] = self._loop.create_future()

    # --- what picows calls --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._write = transport.underlying_transport.write
        connection = transport.underlying_transport.get_extra_info("socket")
        # The event loop's own socket object opens and closes a real one at each call.
        self._socket = socket(fileno=os.dup(connection.fileno())) if connection is not None else None
        self._begun(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.last_in_buffer:
            self._acknowledge()
            self._rest(transport)
        kind = frame.msg_type
        if kind is WSMsgType.TEXT and frame.fin:
            self._heard(self, frame.get_payload_as_bytes())
        elif kind is WSMsgType.TEXT or kind is WSMsgType.CONTINUATION:
            self._parts.append(frame.get_payload_as_bytes())
            if sum(map(len, self._parts)) > LONGEST_FRAME:
                self.close(WSCloseCode.MESSAGE_TOO_BIG)
            elif frame.fin:
                parts, self._parts = self._parts, []
                self._heard(self, b"".join(parts))
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        closing = transport.close_handshake
        received = closing.recv if closing is not None else None
        self._over(self, f"closed with {received.code.name}" if received is not None else "cut off")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def pause_writing(self) -> None:
        log.warning("the media server reads slowly; requests to it wait in memory until their time is over")

    def resume_writing(self) -> None:
        log.info("the media server reads again")

    def _acknowledge(self) -> None:
        """Acknowledge at once what was received. The server writes a frame in two pieces and without TCP_NODELAY: its
        kernel holds the second back until the first is acknowledged, and ours would take 40 ms for that (seen: 44 ms
        from answer to the first prompt, 1 ms with this). The option holds for one time only; once per read is enough,
        however many frames came together."""
        if self._socket is not None:
            self._socket.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)

    def _rest(self, transport: WSTransport) -> None:
        now = self._loop.time()
        if now - self._read_at < BUSY_S:
            transport.underlying_transport.pause_reading()
            self._loop.call_later(ROUND_S, self._go_on, transport)
        self._read_at = now

    @staticmethod
    def _go_on(transport: WSTransport) -> None:
        if not transport.is_disconnected:
            transport.underlying_transport.resume_reading()

    # --- what the link does -------------------------------------------------------------------------------------------

    def send(self, text: bytes) -> None:
        """One frame. The event loop writes those of one turn together; picows would write each by itself at once."""
        self._write(_header(len(text)) + text)

    def close(self, code: WSCloseCode) -> None:
        """Tells the other side, which closes its end; after ``CLOSE_S`` this end is closed in any case."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(code)
            asyncio.get_running_loop().call_later(CLOSE_S, self._transport.disconnect, False)

    def abort(self) -> None:
        """Without a closing frame."""
        if self._transport is not None:
            self._transport.disconnect(False)

    async def closed(self) -> None:
        if self._transport is not None:
            await self._transport.wait_disconnected()

    def fail(self, error: Callable[[], EngineError]) -> int:
        """How many requests stay without an answer."""
        pending, self.pending = self.pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(error())
        return len(pending)


def _header(length: int) -> bytes:
    """Of a text frame in one piece, from a server: not masked (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((0x81, length))
    return b"\x81\x7e" + length.to_bytes(2) if length < 1 << 16 else b"\x81\x7f" + length.to_bytes(8)


def _nowhere(data: bytes) -> None:
    """Before the handshake and after the end nobody reads."""
