"""How far the standby follows the journal, and who waits for it.

While it keeps up (*in step*) an event counts as written when both hosts have it, and the centre is told of nothing that
the standby does not have. One that does not answer within ``PATIENCE_S`` counts as gone, and the journal goes on alone:
a standby must never stop a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from pbx.wire import pair as wire

log = logging.getLogger(__name__)

PATIENCE_S = 0.5
"""The longest that an event waits for the standby, and with it what was to be done. Two hosts of one site answer within
a millisecond."""

Waiters = list["asyncio.Future[None]"]


class Shadow:
    def __init__(self, behind: Callable[[], None]) -> None:
        """``behind`` is called when the standby has more, or counts no more."""
        self._behind = behind
        self._send: Callable[[wire.Message], None] | None = None
        self._waiting: deque[tuple[int, float, Waiters]] = deque()
        self._acked = 0
        self._timer: asyncio.TimerHandle | None = None
        self.in_step = False

    def follow(self, send: Callable[[wire.Message], None]) -> None:
        """It has begun to follow; it is in step once ``caught_up`` says so."""
        self.alone()
        self._send = send

    def told(self, message: wire.Message) -> None:
        if self._send is not None:
            self._send(message)

    def committed(self, rows: Sequence[wire.Row], waiters: Waiters) -> None:
        if self._send is not None and rows:
            self._send(wire.Rows(rows))
        if not (self.in_step and rows):
            release(waiters)
            return
        now = asyncio.get_running_loop().time()
        self._waiting.append((rows[-1][0], now, waiters))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._look)

    def caught_up(self, seq: int) -> None:
        self._acked, self.in_step = seq, True

    def acknowledged(self, seq: int) -> None:
        self._acked = max(self._acked, seq)
        while self._waiting and self._waiting[0][0] <= seq:
            release(self._waiting.popleft()[2])
        self._behind()

    def upto(self, last: int) -> int:
        """How far the centre may be told."""
        return self._acked if self.in_step else last

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        left_s = self._waiting[0][1] + PATIENCE_S - loop.time()
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._look)
            return
        log.error("ALARM the standby does not answer: this host goes on alone, and what it writes is on one disk only")
        self.alone()
        self._behind()

    def alone(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send, self.in_step = None, False
        while self._waiting:
            release(self._waiting.popleft()[2])


def release(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
