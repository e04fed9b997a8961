"""The ringing tone of a country: what somebody hears while a phone rings.

From ITU-T E.180, supplement 2 ("Various tones used in national networks"); what is modulated there (``x`` times 25 Hz
and the like) is its carrier here, which nobody tells apart over a phone. A pack names the zone.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialplans.pack import CountryPack


@dataclass(frozen=True, slots=True)
class RingingTone:
    """``hertz`` sound together; ``cadence_ms`` are sound and silence in turn, beginning with sound, for ever."""

    hertz: tuple[int, ...]
    cadence_ms: tuple[int, ...]


CEPT = RingingTone((425,), (1000, 4000))
"""Where a country's own is not known, and in most of Europe, Latin America and Asia."""
_DOUBLE = (400, 200, 400, 2000)
_OTHER = {
    "au": RingingTone((413, 438), _DOUBLE),
    "cl": RingingTone((400,), (1000, 3000)),
    "cn": RingingTone((450,), (1000, 4000)),
    "es": RingingTone((425,), (1500, 3000)),
    "fr": RingingTone((440,), (1500, 3500)),
    "in": RingingTone((400,), _DOUBLE),
    "jp": RingingTone((400,), (1000, 2000)),
    "my": RingingTone((425,), _DOUBLE),
    "ph": RingingTone((425, 480), (1000, 4000)),
    "se": RingingTone((425,), (1000, 5000)),
    "sg": RingingTone((425,), _DOUBLE),
    "th": RingingTone((400,), (1000, 4000)),
    "tw": RingingTone((440, 480), (1000, 2000)),
    "uk": RingingTone((400, 450), _DOUBLE),
    "us": RingingTone((440, 480), (2000, 4000)),
    "za": RingingTone((400,), _DOUBLE),
}


def ringing_tone(pack: CountryPack) -> RingingTone:
    return _OTHER.get(pack.media.tone_zone or pack.media.tone_zone_fallback or "", CEPT)
