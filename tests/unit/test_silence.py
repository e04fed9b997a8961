"""Speech and silence told apart on samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pbx.recording.silence import FRAME_BYTES, RATE, SilenceMeter
from tests.lab.audio import tone

Side = npt.NDArray[np.float64]


def noise(seconds: float, level_db: float) -> Side:
    """White, of this RMS below full scale."""
    return np.random.default_rng(7).normal(0, 10 ** (level_db / 20), round(seconds * RATE))


def speech(seconds: float, level_db: float = -20) -> Side:
    """Syllables: 150 ms of noise, 80 ms of nothing."""
    made = noise(seconds, level_db)
    made[np.arange(len(made)) % round(0.23 * RATE) > 0.15 * RATE] = 0
    return made


def capture(path: Path, *parts: Side) -> Path:
    """What the leg says left; right, what it hears, is loud all the time and must not count."""
    left = np.concatenate(parts)
    both = np.stack((left, np.resize(tone(1000, 1.0), len(left))), axis=1)
    path.write_bytes((np.clip(both, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("line_db", [-90.0, -60.0, -45.0, -36.0])
@pytest.mark.parametrize("speech_db", [-12.0, -20.0])
def test_speech_and_then_only_the_line(tmp_path: Path, line_db: float, speech_db: float) -> None:
    said = np.concatenate((speech(4, speech_db), np.zeros(RATE * 5)))
    meter = SilenceMeter(capture(tmp_path / "a.raw", said + noise(9, line_db)))
    assert meter.look()
    assert meter.silent_s == pytest.approx(5, abs=0.15)
    assert meter.said_s == pytest.approx(4 * 0.15 / 0.23, abs=0.4)
    assert meter.captured_s == pytest.approx(9, abs=0.03)


def test_a_tone_is_no_silence_however_long(tmp_path: Path) -> None:
    """Nor is loud music: what is as loud as speech is never taken for the line's noise."""
    meter = SilenceMeter(capture(tmp_path / "a.raw", tone(700, 20)))
    meter.look()
    assert (meter.silent_s, meter.said_s) == pytest.approx((0, 20), abs=0.05)


def test_clicks_are_silence(tmp_path: Path) -> None:
    left = np.zeros(RATE * 6)
    left[:: RATE // 2] = 0.9
    meter = SilenceMeter(capture(tmp_path / "a.raw", left))
    meter.look()
    assert (meter.said_s, meter.silent_s) == pytest.approx((0, 6), abs=0.05)


@pytest.mark.parametrize("piece", [1, 319, 4096, 32_768, 100_001])
def test_a_file_that_grows_in_pieces_of_any_size(tmp_path: Path, piece: int) -> None:
    whole = capture(tmp_path / "whole.raw", speech(2), np.zeros(RATE * 3), speech(1), np.zeros(RATE)).read_bytes()
    if piece < 100:
        whole = whole[: RATE * FRAME_BYTES // 4]
    at_once = SilenceMeter(capture(tmp_path / "b.raw", np.zeros(0)))
    (tmp_path / "b.raw").write_bytes(whole)
    at_once.look()
    growing = tmp_path / "c.raw"
    meter = SilenceMeter(growing)
    with growing.open("ab", buffering=0) as file:
        for at in range(0, len(whole), piece):
            file.write(whole[at : at + piece])
            meter.look()
    assert not meter.look()
    assert (meter.said_s, meter.silent_s) == pytest.approx((at_once.said_s, at_once.silent_s))


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SilenceMeter(tmp_path / "none.raw").look()
