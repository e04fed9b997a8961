"""The port to where finished recordings rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pbx.domain.ids import RecordingId


@dataclass(frozen=True, slots=True)
class Stored:
    duration_ms: int
    size_bytes: int
    sha256: str


class Vault(Protocol):
    """Blocking; call it from a thread."""

    def store(self, recording_id: RecordingId, region: str, raw: Path) -> Stored:
        """Take over the samples in ``raw`` (interleaved stereo, 16 bit, 8000 Hz) and remove that file. Either the
        recording is there whole afterwards, or ``raw`` is still there and OSError was raised."""

    def find(self, recording_id: RecordingId) -> Stored | None:
        """What ``store`` said of a recording that is here; None for one that is not."""

    def read(self, recording_id: RecordingId, offset: int, length: int) -> tuple[bytes, int]:
        """Bytes of the WAV file and its whole size. Raises KeyError for a recording that is not here."""

    def erase(self, recording_id: RecordingId) -> None:
        """Destroy it. Raises KeyError for a recording that is not here, OSError when the disk refuses."""
