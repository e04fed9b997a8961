"""Where sealed files lie: a place of one region, on disk here, in object storage in ``s3.py``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from pbx.domain.ids import RecordingId, is_ulid
from pbx.recording.region_keys import sync_directory
from pbx.recording.sealed import LONGEST_HEADER, WrongRegion, decode

MARKER = "callplane-region"
"""Names the region that a place away from the POP's own disk belongs to."""
_SUFFIX = ".sealed"
PIECE = 1 << 20


def name_of(recording_id: RecordingId) -> str:
    return recording_id + _SUFFIX


def recording_of(name: str) -> RecordingId | None:
    stem = name.removesuffix(_SUFFIX)
    return RecordingId(stem) if name.endswith(_SUFFIX) and is_ulid(stem) else None


class Blobs(Protocol):
    """Everything raises OSError; FileNotFoundError for what is not there."""

    region: str

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        """Whole and synced, or not at all; in place of what was there."""

    def size(self, name: str) -> int | None:
        """Bytes; None for what is not there."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Fewer than ``length`` only at the end."""

    def delete(self, name: str) -> None:
        """Also of what is not there."""

    def names(self) -> Iterator[str]:
        """Of everything that is there."""


class DiskBlobs:
    """One directory, for us alone."""

    def __init__(self, directory: Path, region: str) -> None:
        self.region = region
        self._directory = directory

    def put(self, name: str, parts: Iterable[bytes]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._directory / name
        part = target.with_name(name + ".part")
        part.unlink(missing_ok=True)  # of a controller that died
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                for piece in parts:
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_directory(self._directory)

    def size(self, name: str) -> int | None:
        try:
            return (self._directory / name).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, name: str, offset: int, length: int) -> bytes:
        handle = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(handle, length, offset)
        finally:
            os.close(handle)

    def delete(self, name: str) -> None:
        if self._directory.exists():
            (self._directory / name).unlink(missing_ok=True)
            sync_directory(self._directory)

    def names(self) -> Iterator[str]:
        return (path.name for path in sorted(self._directory.glob("*"))) if self._directory.exists() else iter(())

    def clear(self) -> None:
        """What a controller that died had begun to write."""
        for name in self.names():
            if name.endswith(".part"):
                (self._directory / name).unlink(missing_ok=True)


def pin(blobs: Blobs) -> Blobs:
    """``blobs``, once it says itself that it is a place of its region. Raises WrongRegion for another's, and for one
    that holds things and says nothing; OSError."""
    if (size := blobs.size(MARKER)) is None:
        if next(blobs.names(), None) is not None:
            raise WrongRegion(f"it holds things, and no {MARKER} that says of which region")
        blobs.put(MARKER, [blobs.region.encode()])
    elif (found := blobs.read(MARKER, 0, min(size, 100))) != blobs.region.encode():
        raise WrongRegion(f"it is a place of region {found.decode('ascii', 'replace')!r}, not of {blobs.region!r}")
    return blobs


def copy(source: Blobs, target: Blobs, name: str) -> None:
    """A sealed file, as it is. Raises WrongRegion when it belongs to another region than either place, NotSealed for
    what is none, OSError."""
    if (size := source.size(name)) is None:
        raise FileNotFoundError(name)
    header = decode(source.read(name, 0, LONGEST_HEADER))
    if not header.region == source.region == target.region:
        raise WrongRegion(f"it belongs to region {header.region!r} and must not go to {target.region!r}")
    target.put(name, (source.read(name, at, min(PIECE, size - at)) for at in range(0, size, PIECE)))
