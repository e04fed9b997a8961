"""Whether a tone is heard in what a media server is writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

RATE = 8000
HEADER_BYTES = 44
"""Of a WAV file. While it is written the lengths in it are wrong, so it is not read as one."""
HEARD_S = 0.5
LEAST = 0.005
"""Of full scale, as the root of the mean square: -46 dB."""
SHARE = 0.5
"""Of all power, that of the tone: sound broken by loss has less, another tone next to none."""


def carries(path: Path, hz: int) -> bool:
    """Whether any half second of ``path`` (16 bit, 8 kHz, mono) is the tone. A file that is not there has none. Raises
    OSError."""
    try:
        raw = path.read_bytes()[HEADER_BYTES:]
    except FileNotFoundError:
        return False
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.float64) / 32768
    length = round(HEARD_S * RATE)
    wave = np.exp(-2j * np.pi * hz * np.arange(length) / RATE)
    for begin in range(0, len(samples) - length + 1, length // 4):
        block = samples[begin : begin + length]
        power = float(np.mean(block**2))
        tone = 2 * abs(float(np.abs(np.dot(block, wave))) / length) ** 2
        if power >= LEAST**2 and tone >= SHARE * power:
            return True
    return False
