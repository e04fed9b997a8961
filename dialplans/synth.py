"""Sound for prompts and music, made on this machine: espeak-ng speaks, numpy does the rest.

All sound is 8 kHz mono, float64 in -1..1, and is written as raw A-law and mu-law: what a G.711 call carries, so that
the media server plays a prompt without decoding, encoding or resampling anything.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

Sound = npt.NDArray[np.float64]

RATE_HZ = 8000
PEAK = 0.6
"""Speech peaks at -4 dBFS: loud enough on a phone, never clipped by the network."""
SUFFIXES = {"alaw": "ALAW", "ulaw": "ULAW"}
"""File suffix the media servers know -> subtype libsndfile knows. The first is the one that is hashed."""
ESPEAK_TIMEOUT_S = 30
_TAPS = 48
"""Half width of the resampling kernel, in input samples."""


class SynthesisError(RuntimeError):
    """Speech could not be made; the message says what to install or what espeak-ng said."""


def espeak_version() -> str:
    """First line of ``espeak-ng --version``. Raises SynthesisError naming the package when it is missing."""
    if shutil.which("espeak-ng") is None:
        raise SynthesisError("espeak-ng is missing: install the Debian package espeak-ng")
    done = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, timeout=ESPEAK_TIMEOUT_S)
    # The rest of the line is where its data lies on this machine.
    return done.stdout.split(" Data at")[0].strip()


def speak(text: str, voice: str, words_per_minute: int = 150) -> Sound:
    """``text`` spoken by an espeak-ng voice. Raises SynthesisError."""
    espeak_version()
    done = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-b", "1", "--stdout"],
        input=text.encode(),
        capture_output=True,
        timeout=ESPEAK_TIMEOUT_S,
    )
    if done.returncode != 0 or len(done.stdout) <= 44:
        raise SynthesisError(f"espeak-ng, voice {voice}: {done.stderr.decode(errors='replace').strip() or 'no sound'}")
    # The header's length fields are wrong on a pipe, so the samples are taken as they are.
    header = done.stdout[:44]
    rate = int.from_bytes(header[24:28], "little")
    if header[:4] != b"RIFF" or header[22:24] != b"\x01\x00" or header[34:36] != b"\x10\x00":
        raise SynthesisError(f"espeak-ng, voice {voice}: not 16-bit mono sound")
    samples = np.frombuffer(done.stdout[44 : 44 + (len(done.stdout) - 44) // 2 * 2], dtype="<i2")
    sound = resample(samples.astype(np.float64) / 32768, rate)
    peak = float(np.max(np.abs(sound), initial=0.0))
    if peak == 0.0:
        raise SynthesisError(f"espeak-ng, voice {voice}: silence for {text!r}")
    return sound * (PEAK / peak)


def resample(sound: Sound, rate_hz: int) -> Sound:
    """``sound`` at 8 kHz, low-passed below the new band (windowed sinc)."""
    if rate_hz == RATE_HZ:
        return sound
    ratio = rate_hz / RATE_HZ
    cutoff = min(1.0, 0.92 / ratio)
    at = np.arange(int(len(sound) / ratio)) * ratio
    first = np.floor(at).astype(np.int64) - _TAPS + 1
    padded = np.concatenate([np.zeros(_TAPS), sound, np.zeros(_TAPS + 1)])
    result = np.zeros(len(at))
    for tap in range(2 * _TAPS):
        distance = first + tap - at
        weight = cutoff * np.sinc(cutoff * distance) * np.cos(np.pi * distance / (2 * _TAPS + 2)) ** 2
        result += weight * padded[first + tap + _TAPS]
    return result


_CHORDS_HZ = (
    (220.00, 261.63, 329.63, 392.00),
    (174.61, 220.00, 261.63, 329.63),
    (196.00, 261.63, 329.63, 392.00),
    (196.00, 246.94, 293.66, 392.00),
)
CHORD_S = 5.0


def music() -> Sound:
    """A soft loop of four chords, 20 s, that joins its own beginning without a click."""
    length = int(CHORD_S * RATE_HZ)
    fade = length // 2
    total = np.zeros(length * len(_CHORDS_HZ))
    t = np.arange(length + fade) / RATE_HZ
    envelope = np.minimum(1.0, np.minimum(np.arange(length + fade), np.arange(length + fade)[::-1]) / fade)
    envelope = np.sin(envelope * np.pi / 2) ** 2
    for index, chord in enumerate(_CHORDS_HZ):
        voice = np.zeros(length + fade)
        for number, pitch in enumerate(chord):
            vibrato = 1.5 * np.sin(2 * np.pi * (0.23 + 0.05 * number) * t)
            for harmonic, level in ((1, 1.0), (2, 0.22), (3, 0.06)):
                voice += level * np.sin(2 * np.pi * pitch * harmonic * t + harmonic * vibrato * 0.1)
        places = (index * length + np.arange(length + fade)) % len(total)
        np.add.at(total, places, voice * envelope)
    # Music is heard for minutes: well below speech.
    return total * (0.2 / float(np.max(np.abs(total))))


TONE_HZ, TONE_S, PAUSE_S = 1400.0, 0.4, 0.25


def tone() -> Sound:
    """What a caller hears before speaking: a short pause and a tone, whose ends do not click."""
    length, edge = int(TONE_S * RATE_HZ), RATE_HZ // 100
    envelope = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / edge)
    sine = 0.3 * envelope * np.sin(2 * np.pi * TONE_HZ * np.arange(length) / RATE_HZ)
    return np.concatenate([np.zeros(int(PAUSE_S * RATE_HZ)), sine])


def encode(sound: Sound) -> dict[str, bytes]:
    """File suffix -> bytes of ``sound`` in that format."""
    files: dict[str, bytes] = {}
    for suffix, subtype in SUFFIXES.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, RATE_HZ, format="RAW", subtype=subtype)
        files[suffix] = buffer.getvalue()
    return files


def decode(path: Path) -> Sound:
    """The sound in a file that ``encode`` made."""
    data, _ = soundfile.read(
        path, format="RAW", subtype=SUFFIXES[path.suffix[1:]], samplerate=RATE_HZ, channels=1, dtype="float64"
    )
    sound: Sound = data
    return sound
