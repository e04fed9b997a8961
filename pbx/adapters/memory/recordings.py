"""Recordings of the simulated media server: real samples of what a leg said and heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pbx.adapters.memory.legs import RATE, Leg, Tone, samples


@dataclass(slots=True)
class Recording:
    leg: Leg
    path: Path
    since: float
    pauses: list[list[float]] = field(default_factory=list)
    """Begin and, once it is over, end of each pause."""
    until: float | None = None
    """When the leg ended, which ends the recording."""

    @property
    def paused(self) -> bool:
        return bool(self.pauses) and len(self.pauses[-1]) == 1

    grown_until: float | None = None

    def grow(self, now: float, tones: Mapping[str, Tone]) -> None:
        """The file, as far as it is written while the recording goes on; pauses are the end's business."""
        begin = self.since if self.grown_until is None else self.grown_until
        self.grown_until = now
        both = np.stack([samples(side, begin, now, tones) for side in (self.leg.saying, self.leg.hearing)], axis=1)
        with self.path.open("ab") as file:
            file.write(both.astype("<i2").tobytes())

    def write(self, now: float, tones: Mapping[str, Tone]) -> None:
        """The file, as it is when nothing more is written: interleaved stereo, said left, heard right."""
        until = self.until if self.until is not None else now
        said = samples(self.leg.saying, self.since, until, tones)
        heard = samples(self.leg.hearing, self.since, until, tones)
        both = np.stack((said, heard), axis=1)
        for begin, *end in self.pauses:
            first, last = ((at - self.since) * RATE for at in (begin, end[0] if end else until))
            both[max(0, round(first)) : max(0, round(last))] = 0
        self.path.write_bytes(both.astype("<i2").tobytes())
