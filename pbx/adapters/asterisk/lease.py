"""The lease: while it runs, the dialplan hands legs to the controller."""

from __future__ import annotations

import asyncio
import logging

from pbx.adapters.asterisk.ari import AriLink
from pbx.domain.errors import EngineError
from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

VARIABLE = "CALLPLANE_LEASE"
"""Global variable: epoch seconds until which the dialplan may hand legs to the controller."""
LEASE_S = 4
RENEW_S = 1.0


class Lease:
    def __init__(self, ari: AriLink, clock: Clock) -> None:
        self._ari, self._clock = ari, clock
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Take it and renew it until ``lose`` or ``give_back``. Raises what ``AriLink.request`` raises."""
        await self._ari.request("POST", "asterisk/variable", self._until(int(self._clock()) + LEASE_S))
        self._ari.meter.lease_renewed_at = self._clock()
        self._renew_later()

    def lose(self) -> None:
        """Renew it no more: it runs out by itself."""
        self._ari.meter.lease_renewed_at = None
        self._cancel()

    def _cancel(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def give_back(self) -> None:
        """Callers who come now get the fallback at once."""
        self.lose()
        if self._ari.connected:
            try:
                await self._ari.request("POST", "asterisk/variable", self._until(0))
            except EngineError as error:
                log.info("the lease runs out by itself: %s", error)

    @staticmethod
    def _until(epoch_s: int) -> tuple[tuple[str, str], ...]:
        return (("variable", VARIABLE), ("value", str(epoch_s)))

    def _renew(self) -> None:
        self._ari.send_unattended("POST", "asterisk/variable", self._until(int(self._clock()) + LEASE_S), self._renewed)
        self._renew_later()

    def _renewed(self) -> None:
        self._ari.meter.lease_renewed_at = self._clock()

    def _renew_later(self) -> None:
        self._cancel()
        self._renewal = asyncio.get_running_loop().call_later(RENEW_S, self._renew)
