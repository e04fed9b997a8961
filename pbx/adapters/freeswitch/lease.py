"""The lease: while it runs, the dialplan hands legs to the controller. It counts by FreeSWITCH's own clock, which is
the system's at its start and then runs by itself: a step of the system's clock passes it by, until it is told."""

from __future__ import annotations

import asyncio
import logging

from pbx.adapters.freeswitch.esl import EslLink
from pbx.domain.errors import EngineError
from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

LEASE = "callplane_lease"
"""Global variable: epoch seconds until which the dialplan may hand legs to the controller."""
LEASE_S = 4
RENEW_S = 1.0
STEP_S = 2.0
"""Two clocks of whole seconds that differ by more, while a request is under way, are not the same."""


class Lease:
    def __init__(self, link: EslLink, clock: Clock) -> None:
        self._link, self._clock = link, clock
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Take it and renew it until ``lose`` or ``give_back``. Raises what ``EslLink.api`` raises."""
        self._compare(await self._link.api("strepoch"))
        await self._link.api(f"global_setvar {LEASE}={self._until()}")
        self._leased()
        self._renew_later()

    def lose(self) -> None:
        """Renew it no more: it runs out by itself."""
        self._link.meter.lease_renewed_at = None
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def give_back(self) -> None:
        """Callers who come now get the fallback at once."""
        self.lose()
        if self._link.connected:
            try:
                await self._link.api(f"global_setvar {LEASE}=0")
            except EngineError as error:
                log.info("the lease runs out by itself: %s", error)

    def _until(self) -> int:
        return int(self._clock()) + LEASE_S

    def _leased(self) -> None:
        self._link.meter.lease_renewed_at = self._clock()

    def _compare(self, theirs: str) -> None:
        """``theirs``: the media server's clock now."""
        if theirs.strip().isdecimal() and abs(int(theirs) - self._clock()) > STEP_S:
            log.info("the media server's clock is not the system's any more; it is told")
            self._link.send_unattended("api fsctl sync_clock")

    def _asked(self, reply: asyncio.Future[str]) -> None:
        if not reply.cancelled() and reply.exception() is None:
            self._compare(reply.result())

    def _renew(self) -> None:
        line = f"api global_setvar {LEASE}={self._until()}"
        self._link.send_unattended(line, done=self._leased)
        try:
            self._link.send("api strepoch").add_done_callback(self._asked)
        except EngineError:
            return  # not connected: taken anew when it is
        self._renew_later()

    def _renew_later(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(RENEW_S, self._renew)
