"""Tones that a leg hears until they are ended: that a phone rings, that it is busy, that it cannot be reached."""

from __future__ import annotations

from dialplans.tones import Cadence, CallTones
from pbx.adapters.asterisk.ari import AriLink
from pbx.adapters.asterisk.tracker import Leg
from pbx.domain.commands import Tone


class Tones:
    def __init__(self, ari: AriLink, tones: CallTones) -> None:
        self._ari = ari
        self._media: dict[Tone | None, str] = {None: _media(tones.ringing)}
        self._media |= {Tone.BUSY: _media(tones.busy), Tone.CONGESTION: _media(tones.congestion)}

    async def sound(self, leg_id: str, leg: Leg, which: Tone | None = None) -> None:
        """``which``: None is ringing."""
        self.stop(leg_id, leg)
        # The end of the one before may be still to come, under its own id.
        leg.tones += 1
        leg.tone = tone = _ids(leg_id)[leg.tones % 2]
        await self._ari.request("POST", f"channels/{leg_id}/play/{tone}", (("media", self._media[which]),))

    def stop(self, leg_id: str, leg: Leg) -> bool:
        """Whether there was one for sure."""
        tone, leg.tone = leg.tone, None
        if tone is not None:
            for one in (tone,) if tone else _ids(leg_id):
                self._ari.send_unattended("DELETE", f"playbacks/{one}")
        return bool(tone)


def _media(tone: Cadence) -> str:
    hertz = "+".join(map(str, tone.hertz))
    # A comma would end this medium and begin the next.
    return "tone:" + "|".join(f"{0 if number % 2 else hertz}/{ms}" for number, ms in enumerate(tone.cadence_ms))


def _ids(leg_id: str) -> tuple[str, str]:
    """Known to whoever controls the leg next: a tone that goes on would keep it out of every bridge."""
    return f"{leg_id}-tone-1", f"{leg_id}-tone-2"
