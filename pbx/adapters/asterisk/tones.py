"""Tones that a leg hears until they are ended: that a phone rings."""

from __future__ import annotations

import itertools

from dialplans.tones import RingingTone
from pbx.adapters.asterisk.ari import AriLink
from pbx.adapters.asterisk.tracker import Leg


class Tones:
    def __init__(self, ari: AriLink, ringing: RingingTone) -> None:
        self._ari = ari
        hertz = "+".join(map(str, ringing.hertz))
        parts = (f"{0 if number % 2 else hertz}/{ms}" for number, ms in enumerate(ringing.cadence_ms))
        # A comma would end this medium and begin the next.
        self._ringing = "tone:" + "|".join(parts)
        self._numbers = itertools.count(1)

    async def ring(self, leg_id: str, leg: Leg) -> None:
        self.stop(leg)
        leg.tone = tone = f"{leg_id}-tone-{next(self._numbers)}"
        await self._ari.request("POST", f"channels/{leg_id}/play/{tone}", (("media", self._ringing),))

    def stop(self, leg: Leg) -> bool:
        """Whether there was one."""
        tone, leg.tone = leg.tone, None
        if tone is not None:
            self._ari.send_unattended("DELETE", f"playbacks/{tone}")
        return tone is not None
