"""Sealed recordings and their wrapped keys, as the two hosts of a POP hand them over. Nothing is opened for it: a file
crosses as it lies on the disk, and the standby opens it with the region's key, which it was provisioned with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from pbx.adapters.vault.blobs import PIECE, DiskBlobs, name_of, recording_of
from pbx.adapters.vault.key_store import KeyStore
from pbx.domain.errors import BadValue
from pbx.domain.ids import RecordingId, is_ulid
from pbx.wire import pair as wire


class PairedRecordings:
    """Implements ``pbx.ports.pair.Recordings``."""

    def __init__(self, root: Path, regions: Collection[str], store: KeyStore) -> None:
        self._root, self._store = root, store
        self._local = {region: DiskBlobs(root / region, region) for region in regions}

    def have(self) -> tuple[dict[str, str], list[str]]:
        keys = {row[0]: hashlib.blake2b(repr(row).encode(), digest_size=12).hexdigest() for row in self._store.rows()}
        return keys, [name for local in self._local.values() for name in local.names() if recording_of(name)]

    def key(self, recording_id: str) -> wire.KeyRow | None:
        return self._store.row(RecordingId(recording_id))

    def blob(self, recording_id: str) -> Iterator[wire.FilePiece] | None:
        name = name_of(RecordingId(recording_id))
        for region, local in self._local.items():
            if (size := local.size(name)) is not None:
                return _pieces(local, region, name, size)
        return None

    def on_change(self, changed: Callable[[str], None]) -> None:
        self._store.changed = changed

    def apply(self, message: wire.Message) -> None:
        match message:
            case wire.KeyKept(row=row) if is_ulid(row[0]) and row[1] in self._local:
                self._store.put_row(row)
            case wire.KeyGone(recording_id=recording_id) if is_ulid(recording_id):
                self._store.erase([RecordingId(recording_id)])
                for local in self._local.values():
                    local.delete(name_of(RecordingId(recording_id)))
            case wire.FileGone(area=area, name=name) if is_ulid(name) and area in self._local:
                self._local[area].delete(name_of(RecordingId(name)))
            case wire.FilePiece() if message.area in self._local and recording_of(message.name):
                self._keep(message)
            case _:
                raise BadValue("recording", "is of a region that may not rest at this host, or none")

    def _keep(self, piece: wire.FilePiece) -> None:
        directory = self._root / piece.area
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = directory / f"{piece.name}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "r+b") as out:
            if out.seek(0, os.SEEK_END) < piece.at:
                raise BadValue("recording", "a piece of it is missing")
            out.seek(piece.at)
            out.truncate()
            out.write(piece.data)
            if piece.end:
                out.flush()
                os.fsync(out.fileno())
        if piece.end:
            part.rename(directory / piece.name)

    def clear(self) -> None:
        """Pieces of files whose rest did not come."""
        for local in self._local.values():
            local.clear()


def _pieces(local: DiskBlobs, region: str, name: str, size: int) -> Iterator[wire.FilePiece]:
    for at in range(0, max(size, 1), PIECE):
        yield wire.FilePiece(region, name, at, local.read(name, at, PIECE), at + PIECE >= size)
