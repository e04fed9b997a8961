"""Sound that somebody recorded, to what the media servers play: 8 kHz mono A-law and mu-law, as ``synth`` makes it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

# What reads sound is imported when there is some: programs that only may be sent some start without it.
if TYPE_CHECKING:
    from dialplans import synth

RAW = {"audio/pcma": "ALAW", "audio/pcmu": "ULAW"}
"""G.711 without a header, by the kind of RFC 4856."""
WAV = ("audio/wav", "audio/x-wav", "audio/vnd.wave")
KINDS = (*WAV, *RAW)
MOST_BYTES = 16 << 20
LEAST_S, MOST_S = 0.1, 300.0
RATE_HZ = 8000
RATES_HZ = (RATE_HZ, 48000)


class NoSound(ValueError):
    """What was sent cannot become a prompt; the message says why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    alaw: bytes
    sha256: str
    """Of the A-law bytes, as in the manifest of prompts."""

    @property
    def duration_ms(self) -> int:
        return len(self.alaw) * 1000 // RATE_HZ


def read(content: bytes, kind: str) -> Recorded:
    """Raises NoSound. A-law that comes as A-law stays as it is, byte for byte."""
    if kind in RAW:
        alaw = content if RAW[kind] == "ALAW" else _alaw(_raw(content, RAW[kind]))
    else:
        alaw = _alaw(_wav(content))
    seconds = len(alaw) / RATE_HZ
    if not LEAST_S <= seconds <= MOST_S:
        raise NoSound(f"lasts {seconds:.1f} s; a prompt lasts {LEAST_S:g} to {MOST_S:g} s")
    return Recorded(alaw, hashlib.sha256(alaw).hexdigest())


def files(alaw: bytes) -> dict[str, bytes]:
    """File suffix -> bytes, as ``synth.encode`` gives them."""
    from dialplans import synth

    return {**synth.encode(_raw(alaw, "ALAW")), "alaw": alaw}


def wav(alaw: bytes) -> bytes:
    """For those who listen on a computer: 16 bit linear."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, _raw(alaw, "ALAW"), RATE_HZ, format="WAV", subtype="PCM_16")
    return out.getvalue()


def _alaw(sound: synth.Sound) -> bytes:
    from dialplans import synth

    return synth.encode(sound)["alaw"]


def _raw(content: bytes, subtype: str) -> synth.Sound:
    import soundfile

    sound: synth.Sound
    sound, _ = soundfile.read(
        io.BytesIO(content), format="RAW", subtype=subtype, samplerate=RATE_HZ, channels=1, dtype="float64"
    )
    return sound


def _wav(content: bytes) -> synth.Sound:
    import numpy as np
    import soundfile

    from dialplans import synth

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format not in ("WAV", "WAVEX"):
                raise NoSound(f"is {file.format}, not WAV")
            if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
                raise NoSound(f"has {file.samplerate} samples a second; {RATES_HZ[0]} to {RATES_HZ[1]} can be used")
            if file.frames > MOST_S * file.samplerate:
                raise NoSound(f"lasts longer than {MOST_S:g} s")
            rate, sound = file.samplerate, file.read(dtype="float64", always_2d=True)
    except soundfile.SoundFileError:
        raise NoSound("is not a WAV file that can be read") from None
    mono: synth.Sound = np.clip(np.nan_to_num(np.mean(sound, axis=1)), -1.0, 1.0)
    return synth.resample(mono, rate)
