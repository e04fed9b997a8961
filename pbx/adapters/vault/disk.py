"""Recordings as WAV files on this POP's disk, one directory per region, readable by the controller alone."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

from pbx.domain.errors import BadValue
from pbx.domain.ids import RecordingId, is_ulid
from pbx.ports.vault import Stored

RATE_HZ = 8000
CHANNELS = 2
SAMPLE_BYTES = 2
FRAME_BYTES = CHANNELS * SAMPLE_BYTES
CHUNK = 1 << 20


class DiskVault:
    """Implements ``pbx.ports.vault.Vault``."""

    def __init__(self, root: Path, regions: frozenset[str]) -> None:
        """``regions``: the only regions whose recordings may rest on this disk."""
        self._root = root
        self._regions = regions
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)

    def _path(self, recording_id: RecordingId, region: str) -> Path:
        return self._root / region / f"{recording_id}.wav"

    def store(self, recording_id: RecordingId, region: str, raw: Path) -> Stored:
        if not is_ulid(recording_id):
            raise BadValue("recording_id", "is not a ULID")
        if region not in self._regions:
            raise BadValue("region", f"recordings of region {region!r} must not rest at this POP")
        data_bytes = raw.stat().st_size // FRAME_BYTES * FRAME_BYTES
        target = self._path(recording_id, region)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)  # of a controller that died
        digest = hashlib.sha256()
        left = data_bytes
        try:
            with (
                raw.open("rb") as source,
                open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out,
            ):
                chunk = wav_header(data_bytes)
                while chunk:
                    digest.update(chunk)
                    out.write(chunk)
                    chunk = source.read(min(CHUNK, left))
                    left -= len(chunk)
                out.flush()
                os.fsync(out.fileno())
            part.rename(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)
        raw.unlink()
        return Stored(data_bytes // FRAME_BYTES * 1000 // RATE_HZ, target.stat().st_size, digest.hexdigest())

    def find(self, recording_id: RecordingId) -> Stored | None:
        try:
            path = self._found(recording_id)
        except KeyError:
            return None
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return Stored((size - len(wav_header(0))) // FRAME_BYTES * 1000 // RATE_HZ, size, digest.hexdigest())

    def read(self, recording_id: RecordingId, offset: int, length: int) -> tuple[bytes, int]:
        path = self._found(recording_id)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length), path.stat().st_size

    def erase(self, recording_id: RecordingId) -> None:
        path = self._found(recording_id)
        path.unlink()
        _sync_directory(path.parent)

    def _found(self, recording_id: RecordingId) -> Path:
        paths = (self._path(recording_id, region) for region in sorted(self._regions))
        found = next((path for path in paths if path.exists()), None) if is_ulid(recording_id) else None
        if found is None:
            raise KeyError(recording_id)
        return found


def wav_header(data_bytes: int) -> bytes:
    """RIFF/WAVE header for 16-bit stereo PCM at 8000 Hz (Multimedia Programming Interface 1.0, 1991)."""
    byte_rate = RATE_HZ * FRAME_BYTES
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, CHANNELS, RATE_HZ, byte_rate, FRAME_BYTES, SAMPLE_BYTES * 8)
    return struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
