"""Tones are found where they are, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from tests.lab import audio, rtp_digits


@pytest.mark.parametrize("freq_hz", [300, 440, 1000, 3100])
@pytest.mark.parametrize("level_db", [-6, -20])
def test_level_of_a_tone(freq_hz: int, level_db: int) -> None:
    samples = audio.tone(freq_hz, 2, level_db=level_db)
    assert audio.tone_level_db(samples, 8000, freq_hz) == pytest.approx(level_db, abs=0.5)
    assert audio.tone_level_db(samples, 8000, freq_hz + 150) < level_db - 40


def test_two_tones_are_told_apart_and_silence_has_none() -> None:
    both = audio.tone(440, 2) + audio.tone(880, 2, level_db=-20)
    assert audio.contains_tone(both, 8000, 440)
    assert audio.contains_tone(both, 8000, 880)
    assert not audio.contains_tone(both, 8000, 660)
    assert audio.tone_level_db(np.zeros(8000), 8000, 440) == float("-inf")


def test_noise_and_a_short_beep_are_no_tone() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 16000)
    assert not audio.contains_tone(noise, 8000, 440)
    beep = np.zeros(16000)
    beep[4000:7000] = audio.tone(440, 3000 / 8000)
    assert not audio.contains_tone(beep, 8000, 440)


def test_what_cannot_be_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="less than one block"):
        audio.tone_level_db(np.zeros(10), 8000, 440)
    with pytest.raises(ValueError, match="cannot be heard"):
        audio.tone_level_db(np.zeros(8000), 8000, 4000)


def test_wav_round_trip_also_of_an_unfinished_file(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    audio.write_wav(path, audio.tone(440, 1))
    (samples,), rate = audio.read_wav(path)
    assert (len(samples), rate) == (8000, 8000)
    path.write_bytes(path.read_bytes()[:-1001])
    (samples,), rate = audio.read_wav(path)
    assert len(samples) == 7499
    assert audio.contains_tone(samples, rate, 440)
    path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match="no WAV"):
        audio.read_wav(path)


def test_stereo_is_taken_apart() -> None:
    left, right = audio.tone(440, 1), audio.tone(1000, 1)
    stereo = np.stack([left, right], axis=1).reshape(-1)
    first, second = audio.from_pcm16(audio.to_pcm16(stereo) + b"\0", channels=2)
    assert audio.contains_tone(first, 8000, 440)
    assert not audio.contains_tone(first, 8000, 1000)
    assert audio.contains_tone(second, 8000, 1000)


def test_a_digit_that_is_none_is_refused() -> None:
    assert len(rtp_digits.capture("#", 0)) == 24 + rtp_digits.PACKETS * (16 + 14 + 20 + 8 + 12 + 4)
    for wrong in ("", "12", "x"):
        with pytest.raises(ValueError, match="is no digit"):
            rtp_digits.capture(wrong, 0)
