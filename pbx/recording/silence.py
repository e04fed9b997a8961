"""When a caller who leaves a message has stopped speaking, by the samples that the media server has captured so far.

One way for every engine: what these offer of their own (talk detection, a blocking application) is not one thing. A
block of 20 ms is loud when it stands out from the line's own noise, which is the quietest that was heard of late.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 8000
FRAME_BYTES = 4
"""One moment in stereo, 16 bits a side."""
BLOCK = RATE // 50
NOISE_S = 3.0
"""How far back the line's noise is looked for."""
ABOVE_NOISE_DB = 10.0
FAINTEST_DB, LOUDEST_NOISE_DB = -48.0, -30.0
"""Of a full-scale square wave: what is fainter is never speech, what is louder never silence, whatever the noise."""
CHUNK_BYTES = FRAME_BYTES * RATE * 2
"""Read at once; an overslept watcher reads several."""
SHORTEST = 3
"""Blocks in a row that speech takes; a click or a key's rest is shorter."""


class SilenceMeter:
    """Reads the left side of a capture that grows. ``said_s``: of all that was loud so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._noise: deque[float] = deque(maxlen=round(NOISE_S * RATE / BLOCK))
        self._run = 0
        self._blocks = self._last_loud = 0
        self.said_s = 0.0

    @property
    def captured_s(self) -> float:
        return self._blocks * BLOCK / RATE

    @property
    def silent_s(self) -> float:
        """Since the last speech, or the beginning, in the capture's own time."""
        return (self._blocks - self._last_loud) * BLOCK / RATE

    def look(self) -> bool:
        """Takes what was captured since the last look; whether it was anything. Raises OSError."""
        grew = False
        with self._path.open("rb") as capture:
            capture.seek(self._read)
            while data := capture.read(CHUNK_BYTES):
                whole = len(data) // (FRAME_BYTES * BLOCK) * FRAME_BYTES * BLOCK
                if not whole:
                    break
                self._read += whole
                capture.seek(self._read)
                self._take(np.frombuffer(data[:whole], dtype="<i2")[::2])
                grew = True
        return grew

    def _take(self, said: npt.NDArray[np.int16]) -> None:
        blocks = said.reshape(-1, BLOCK).astype(np.float64)
        power = np.mean(blocks**2, axis=1) / 32768**2
        for level in (10 * np.log10(power + 1e-12)).tolist():
            self._noise.append(level)
            self._blocks += 1
            threshold = min(max(min(self._noise) + ABOVE_NOISE_DB, FAINTEST_DB), LOUDEST_NOISE_DB)
            self._run = self._run + 1 if level > threshold else 0
            if self._run >= SHORTEST:
                self.said_s += (SHORTEST if self._run == SHORTEST else 1) * BLOCK / RATE
                self._last_loud = self._blocks
