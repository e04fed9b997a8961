"""Tones: made for the far ends to send, and found again in what they heard."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

FULL_SCALE = 32768.0
PRESENT_DB = -35.0  # the far ends send at -6 to -12 dB; G.711 alone adds noise at about -75 dB a bin
BLOCK_S = 0.25


def tone(freq_hz: float, duration_s: float, rate: int = 8000, level_db: float = -9.0) -> Samples:
    """A sine of `level_db` decibels below full scale (peak), as samples from -1 to 1."""
    times = np.arange(round(duration_s * rate)) / rate
    return np.asarray(10 ** (level_db / 20) * np.sin(2 * np.pi * freq_hz * times), dtype=np.float64)


def tone_level_db(samples: Samples, rate: int, freq_hz: float) -> float:
    """Level of one frequency, in decibels below a full-scale sine; -inf when there is nothing.

    The median over blocks of a quarter of a second, each under a Hann window: a click or a short beep does
    not count as a tone, and a tone during most of the samples does. Raises `ValueError` for less than one
    block.
    """
    size = round(BLOCK_S * rate)
    count = len(samples) // size
    if count == 0:
        raise ValueError(f"{len(samples)} samples are less than one block of {BLOCK_S} s")
    if not 0 < freq_hz < rate / 2:
        raise ValueError(f"{freq_hz} Hz cannot be heard at {rate} samples a second")
    window = np.hanning(size)
    probe = window * np.exp(-2j * np.pi * freq_hz * np.arange(size) / rate)
    blocks = samples[: count * size].reshape(count, size)
    amplitude = float(np.median(np.abs(blocks @ probe))) * 2 / float(window.sum())
    return float(20 * np.log10(amplitude)) if amplitude > 0 else float("-inf")


def contains_tone(samples: Samples, rate: int, freq_hz: float, at_least_db: float = PRESENT_DB) -> bool:
    """Whether the frequency is there for most of the time, at `at_least_db` or louder."""
    return tone_level_db(samples, rate, freq_hz) >= at_least_db


def from_pcm16(data: bytes, channels: int = 1) -> list[Samples]:
    """Samples of each channel of interleaved 16-bit little-endian PCM, without an incomplete last frame."""
    frame = 2 * channels
    whole = np.frombuffer(data[: len(data) // frame * frame], dtype="<i2").reshape(-1, channels)
    return [whole[:, index].astype(np.float64) / FULL_SCALE for index in range(channels)]


def to_pcm16(samples: Samples) -> bytes:
    """16-bit little-endian PCM of samples from -1 to 1; louder ones are clipped."""
    return np.clip(samples * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes()


def write_wav(path: Path, samples: Samples, rate: int = 8000) -> None:
    """Write a mono 16-bit WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(to_pcm16(samples))


def read_wav(path: Path) -> tuple[list[Samples], int]:
    """Samples of each channel, and the rate, of a 16-bit WAV file.

    Reads to the end of the file, whatever the header says: the writer may be at it still, or was killed.
    """
    data = path.read_bytes()
    start = data.find(b"data")
    if data[:4] != b"RIFF" or start < 0:
        raise ValueError(f"{path} is no WAV file")
    channels = int.from_bytes(data[22:24], "little")
    rate = int.from_bytes(data[24:28], "little")
    if int.from_bytes(data[34:36], "little") != 16:
        raise ValueError(f"{path} has no 16-bit samples")
    return from_pcm16(data[start + 8 :], channels), rate
