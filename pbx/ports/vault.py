"""The port to where finished recordings rest, sealed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pbx.domain.errors import CallplaneError
from pbx.domain.ids import RecordingId


@dataclass(frozen=True, slots=True)
class Stored:
    """Of the WAV file that ``read`` gives out."""

    duration_ms: int
    size_bytes: int
    sha256: str


class Erased(CallplaneError):
    """The recording was erased while, or before, it was to be stored; what was captured of it is destroyed."""


class Vault(Protocol):
    """Blocking; call it from a thread, but for ``takes``."""

    def takes(self, region: str) -> bool:
        """Whether recordings of this region may rest here."""

    def store(self, recording_id: RecordingId, region: str, raw: Path) -> Stored:
        """Take over the samples in ``raw`` (interleaved stereo, 16 bit, 8000 Hz) and remove that file. Either the
        recording is there whole, sealed and verified afterwards, or ``raw`` is still there and OSError was raised, or
        BadValue for a region that is not taken. Raises Erased."""

    def find(self, recording_id: RecordingId) -> Stored | None:
        """What ``store`` said of a recording that is here; None for one that is not."""

    def read(self, recording_id: RecordingId, offset: int, length: int) -> tuple[bytes, int]:
        """Bytes of the WAV file and its whole size. Raises KeyError for a recording that is not here,
        RecordingDamaged for one that is not what was sealed, OSError."""

    def protect(self, recording_id: RecordingId) -> None:
        """Its key goes under that of the region's minors: whoever has the region's key alone opens it no more. Done
        already, it stays so. Raises KeyError for a recording that is not here, BadValue where there is no such key,
        OSError."""

    def is_protected(self, recording_id: RecordingId) -> bool:
        """Whether it is under the key of minors. Raises OSError."""

    def erase(self, recording_id: RecordingId) -> None:
        """Destroy its key, and then it; it is never opened again, wherever a copy of it is. Raises KeyError for a
        recording that is not here, OSError when the disk refuses: then it is still there."""

    def forget(self, erased: Collection[RecordingId], upto: int | None = None) -> int:
        """These were erased once: destroy what has come back of them, from a backup. How many had. ``upto``: how far
        the centre's list was gone through with them. Raises OSError."""

    def erased_upto(self) -> int:
        """How far the centre's list of erased recordings was gone through; 0: not yet. Raises OSError."""

    def settle(self) -> None:
        """Bring to its last place what waits here for that. Raises OSError when that place is out of reach,
        RecordingDamaged when it is not one of this region."""
