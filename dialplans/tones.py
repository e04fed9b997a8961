"""The tones of a country: what somebody hears while a phone rings, is busy, or cannot be reached.

From ITU-T E.180, supplement 2 ("Various tones used in national networks"); what is modulated there (``x`` times 25 Hz
and the like) is its carrier here, which nobody tells apart over a phone. A pack names the zone.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialplans.pack import CountryPack


@dataclass(frozen=True, slots=True)
class Cadence:
    """``hertz`` sound together; ``cadence_ms`` are sound and silence in turn, beginning with sound, for ever."""

    hertz: tuple[int, ...]
    cadence_ms: tuple[int, ...]


CEPT = Cadence((425,), (1000, 4000))
"""Where a country's own is not known, and in most of Europe, Latin America and Asia."""
_DOUBLE = (400, 200, 400, 2000)
_OTHER = {
    "au": Cadence((413, 438), _DOUBLE),
    "cl": Cadence((400,), (1000, 3000)),
    "cn": Cadence((450,), (1000, 4000)),
    "es": Cadence((425,), (1500, 3000)),
    "fr": Cadence((440,), (1500, 3500)),
    "in": Cadence((400,), _DOUBLE),
    "jp": Cadence((400,), (1000, 2000)),
    "my": Cadence((425,), _DOUBLE),
    "ph": Cadence((425, 480), (1000, 4000)),
    "se": Cadence((425,), (1000, 5000)),
    "sg": Cadence((425,), _DOUBLE),
    "th": Cadence((400,), (1000, 4000)),
    "tw": Cadence((440, 480), (1000, 2000)),
    "uk": Cadence((400, 450), _DOUBLE),
    "us": Cadence((440, 480), (2000, 4000)),
    "za": Cadence((400,), _DOUBLE),
}


@dataclass(frozen=True, slots=True)
class CallTones:
    ringing: Cadence = CEPT
    busy: Cadence = Cadence((425,), (500, 500))
    congestion: Cadence = Cadence((425,), (250, 250))


CEPT_TONES = CallTones()
_REFUSALS = {
    "au": (Cadence((425,), (375, 375)), Cadence((425,), (375, 375))),
    "jp": (Cadence((400,), (500, 500)), Cadence((400,), (500, 500))),
    "uk": (Cadence((400,), (375, 375)), Cadence((400,), (400, 350, 225, 525))),
    "us": (Cadence((480, 620), (500, 500)), Cadence((480, 620), (250, 250))),
}
"""Busy and congestion, where they are not those of most of the world."""


def call_tones(pack: CountryPack) -> CallTones:
    zone = pack.media.tone_zone or pack.media.tone_zone_fallback or ""
    busy, congestion = _REFUSALS.get(zone, (CEPT_TONES.busy, CEPT_TONES.congestion))
    return CallTones(_OTHER.get(zone, CEPT), busy, congestion)
