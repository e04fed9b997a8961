"""A conversation of four hours: no timer ends it, its recording is one whole file and can be read anywhere in it."""

from __future__ import annotations

import io
import os
import struct
import wave
from pathlib import Path

import pytest

from pbx.adapters.memory.recordings import Recording
from pbx.domain.ids import RecordingId
from pbx.recording.wav import wav_header
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_recording_control import Recorded

HOURS_S = 4 * 3600
BYTES_A_SECOND = 2 * 2 * 8000
MARK = b"\x11\x22\x33\x44" * 4


@pytest.mark.long
async def test_four_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Recording, now: float, tones: object) -> None:
        """As long as it took; silence, and a mark after three hours: 460 MB of it are no samples but holes."""
        until = self.until if self.until is not None else now
        with self.path.open("r+b") as file:
            os.truncate(file.fileno(), round((until - self.since) * 8000) * 4)
            file.seek(3 * 3600 * BYTES_A_SECOND)
            file.write(MARK)

    monkeypatch.setattr(Recording, "write", write)
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        await world.run(HOURS_S)
        assert scene.caller.hears == "talk"
        cdr = await scene.finish()
        assert cdr.talk_s is not None
        assert cdr.talk_s > HOURS_S
        [recording] = cdr.recordings
        assert recording.duration_ms == pytest.approx(1000 * (HOURS_S + 4), abs=500)
        assert recording.duration_ms is not None
        recording_id = RecordingId(recording.recording_id)
        head, size = world.vault.read(recording_id, 0, 44)
        assert size == recording.size_bytes == 44 + recording.duration_ms * BYTES_A_SECOND // 1000
        riff, data = struct.unpack_from("<I", head, 4)[0], struct.unpack_from("<I", head, 40)[0]
        assert (riff, data) == (size - 8, size - 44), "well below the 4 GiB that a WAV file can say of itself"
        with wave.open(io.BytesIO(head)) as file:
            assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        found, _ = world.vault.read(recording_id, 44 + 3 * 3600 * BYTES_A_SECOND, len(MARK))
        assert found == MARK
        assert world.vault.read(recording_id, size - 4, 4)[0] == bytes(4)


@pytest.mark.parametrize("data_bytes", [0xFFFFFFFF - 36, 0xFFFFFFFF - 35, 1 << 33])
def test_a_header_of_more_than_it_can_say(data_bytes: int) -> None:
    """A conversation that nobody ended for days must still be placed."""
    header = wav_header(data_bytes)
    assert len(header) == 44
    assert struct.unpack_from("<I", header, 4)[0] == min(data_bytes + 36, 0xFFFFFFFF)
    assert struct.unpack_from("<I", header, 40)[0] == min(data_bytes, 0xFFFFFFFF)
