"""What a recording is to whoever hears it: a WAV file, 16-bit stereo at 8000 Hz, caller left, agent right."""

from __future__ import annotations

import struct

RATE_HZ = 8000
CHANNELS = 2
SAMPLE_BYTES = 2
FRAME_BYTES = CHANNELS * SAMPLE_BYTES
_MOST = 0xFFFFFFFF


def duration_ms(data_bytes: int) -> int:
    return data_bytes // FRAME_BYTES * 1000 // RATE_HZ


def wav_header(data_bytes: int) -> bytes:
    """RIFF/WAVE header for 16-bit stereo PCM at 8000 Hz (Multimedia Programming Interface 1.0, 1991). Its sizes have 32
    bits: of more than 37 hours it says as much as they hold, upon which programs read to the end of the file."""
    byte_rate = RATE_HZ * FRAME_BYTES
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, CHANNELS, RATE_HZ, byte_rate, FRAME_BYTES, SAMPLE_BYTES * 8)
    riff, data = min(36 + data_bytes, _MOST), min(data_bytes, _MOST)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", data)
