"""Which prompts a phone hears: what it recorded, beside the files of the prompts.

A prompt is known by its first second; those that begin alike (positions in a queue) by the whole of them. One that is
cut short earlier is not heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dialplans.prompts import load_manifest
from pbx.simulation.flows.files import Unusable

Samples = npt.NDArray[np.float64]
RATE = 8000
PROBE = RATE
ALIKE = 0.6
"""Correlation from which on two pieces of sound are the same; speech against other speech stays under 0.3."""
SAME_PLACE = RATE // 10
QUIET = 0.01


def read_alaw(data: bytes) -> Samples:
    """ITU-T G.711, A-law, as samples from -1 to 1."""
    code = np.frombuffer(data, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int64), (code & 15).astype(np.int64) << 4
    low = mantissa + 8
    size = np.where(exponent == 0, low, (low + 256) << np.maximum(exponent - 1, 0))
    return np.asarray(np.where(code & 0x80, size, -size) / 32768.0, dtype=np.float64)


def read_recording(path: Path) -> Samples:
    """A 16-bit mono WAV file at 8000 Hz that may still be written: to the end of the file, whatever its header says."""
    data = path.read_bytes()
    start = data.find(b"data") + 8
    body = data[start : start + (len(data) - start) // 2 * 2] if start >= 8 else b""
    return np.frombuffer(body, dtype="<i2").astype(np.float64) / 32768.0


def load(directory: Path, wanted: Iterable[tuple[str, str]]) -> dict[str, Samples]:
    """``language/prompt`` -> its sound, from its first audible sample on. Raises Unusable for one that was not made."""
    manifest = load_manifest(directory)
    found = {}
    for language, prompt in sorted(wanted):
        path = directory / language / f"{prompt}.alaw"
        if manifest.missing(language, [prompt]) or not path.is_file():
            raise Unusable(str(directory), f"lacks prompt {prompt} in {language}; see 'callplane prompts build'")
        sound = read_alaw(path.read_bytes())
        loud = np.flatnonzero(np.abs(sound) > QUIET)
        if len(loud):
            found[f"{language}/{prompt}"] = sound[loud[0] :]
    return found


def likeness(sound: Samples, probe: Samples) -> Samples:
    """Normalised correlation at every place where ``probe`` could begin in ``sound``; 0 in silence."""
    count = len(sound) - len(probe) + 1
    if count <= 0:
        return np.zeros(0)
    size = 1 << (len(sound) + len(probe) - 1).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(probe, size))
    products = np.fft.irfft(spectrum, size)[:count]
    sums = np.concatenate(([0.0], np.cumsum(sound**2)))
    energy = np.maximum(sums[len(probe) :] - sums[:count], 0.0)
    scale = np.sqrt(energy * float(np.dot(probe, probe)))
    return np.asarray(np.where(scale > 1e-3, products / np.maximum(scale, 1e-3), 0.0), dtype=np.float64)


class Ear:
    """Tells the prompts of one call in the order in which they were heard."""

    def __init__(self, prompts: dict[str, Samples]) -> None:
        self._prompts = prompts
        self._at = 0
        """Everything before this sample has been understood."""

    def next(self, heard: Samples, *, over: bool) -> str | None:
        """The next prompt in ``heard``, which has grown since; ``over``: it will not grow further."""
        sound = heard[self._at :]
        found: dict[str, tuple[int, float]] = {}
        for name, prompt in self._prompts.items():
            alike = likeness(sound, prompt[:PROBE])
            first = np.flatnonzero(alike >= ALIKE)[:1]
            if len(first):
                begin = int(first[0])
                best = begin + int(np.argmax(alike[begin : begin + SAME_PLACE]))
                found[name] = (best, float(alike[best]))
        if not found:
            self._at += max(0, len(sound) - PROBE - SAME_PLACE)
            return None
        start = min(begin for begin, _ in found.values())
        near = {name for name, (begin, _) in found.items() if begin - start < SAME_PLACE}
        chosen = self._longest_alike(sound, start, near, found, over)
        if chosen is not None:
            self._at += found[chosen][0] + min(PROBE, len(self._prompts[chosen]))
        return chosen

    def _longest_alike(
        self, sound: Samples, start: int, near: set[str], found: dict[str, tuple[int, float]], over: bool
    ) -> str | None:
        """Of several that begin alike the one that goes on alike, once enough has been heard to tell."""
        if len(near) > 1:
            longest = max(len(self._prompts[name]) for name in near)
            if len(sound) < start + longest + SAME_PLACE and not over:
                return None
        return max(near, key=lambda name: self._whole(sound, found[name][0], name))

    def _whole(self, sound: Samples, begin: int, name: str) -> float:
        prompt = self._prompts[name]
        there = sound[begin : begin + len(prompt)]
        same = prompt[: len(there)]
        scale = float(np.linalg.norm(there) * np.linalg.norm(same))
        return float(np.dot(there, same)) / scale if scale else 0.0
