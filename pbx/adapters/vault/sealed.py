"""The vault: every recording sealed under a key of its own, on this POP's disk and, where there is one, moved from
there to the object storage of its region. README.md says what holds, and against whom."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pbx.adapters.vault.blobs import Blobs, DiskBlobs, copy, name_of, pin, recording_of
from pbx.adapters.vault.key_store import Entry, KeyStore
from pbx.domain.errors import BadValue, RecordingDamaged
from pbx.domain.ids import RecordingId, is_ulid
from pbx.ports.vault import Erased, Stored
from pbx.recording import sealed
from pbx.recording.region_keys import MINORS, KeyFile
from pbx.recording.sealed import KEY_BYTES, KEY_ID_BYTES, LONGEST_HEADER, Header, Opened
from pbx.recording.wav import FRAME_BYTES, duration_ms, wav_header

PIECE = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """How many came back, and how many did not: erased, of no key, or damaged."""

    back: int
    refused: int


class SealedVault:
    """Implements ``pbx.ports.vault.Vault``."""

    def __init__(
        self, root: Path, regions: Collection[str], keys: KeyFile, store: KeyStore, remote: Mapping[str, Blobs]
    ) -> None:
        """``regions``: the only ones whose recordings may rest here. ``remote``: where they go from this disk."""
        self._keys, self._store, self._remote = keys, store, remote
        self._local = {region: DiskBlobs(root / region, region) for region in regions}
        self._pinned: set[str] = set()
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)

    def clear(self) -> None:
        """Remove what a controller that died had begun to write. Only for the controller, which alone writes here."""
        for local in self._local.values():
            local.clear()

    def takes(self, region: str) -> bool:
        return region in self._local

    # --- into it ------------------------------------------------------------------------------------------------

    def store(self, recording_id: RecordingId, region: str, raw: Path) -> Stored:
        if not is_ulid(recording_id):
            raise BadValue("recording_id", "is not a ULID")
        if not self.takes(region):
            raise BadValue("region", f"recordings of region {region!r} must not rest at this POP")
        before = self._store.get(recording_id)
        if before is not None and before.stored is not None:
            # Of a controller that died before it could remove the plain file.
            raw.unlink()
            return before.stored
        data_bytes = raw.stat().st_size // FRAME_BYTES * FRAME_BYTES
        key, key_id = os.urandom(KEY_BYTES), os.urandom(KEY_ID_BYTES)
        wrapped = self._keys.keys().wrap(region, recording_id, key_id, key)
        if not self._store.put(Entry(recording_id, region, key_id, wrapped, None)):
            raw.unlink()
            raise Erased("the recording was erased before it was stored")
        head = wav_header(data_bytes)
        header = Header(recording_id, region, key_id, len(head) + data_bytes)
        digest = hashlib.sha256()

        def plain() -> Iterator[bytes]:
            digest.update(head)
            yield head
            left = data_bytes
            with raw.open("rb") as source:
                while left and (piece := source.read(min(PIECE, left))):
                    left -= len(piece)
                    digest.update(piece)
                    yield piece

        local, name = self._local[region], name_of(recording_id)
        try:
            local.put(name, sealed.seal(header, key, plain()))
            found = self._digest(self._store.get(recording_id), local)
            if found != digest.hexdigest():
                raise OSError(f"{name} does not read as it was written")
            stored = Stored(duration_ms(data_bytes), header.plain_size, found)
            self._store.verified(recording_id, key_id, stored)
        except OSError:
            if not self._store.is_erased(recording_id):
                raise
            local.delete(name)
            raw.unlink()
            raise Erased("the recording was erased while it was stored") from None
        raw.unlink()
        return stored

    def _digest(self, entry: Entry | None, blobs: Blobs) -> str:
        """Of what is inside. Raises OSError for what does not open."""
        if entry is None:
            raise OSError("the recording's key is gone")
        digest = hashlib.sha256()
        try:
            for piece in self._opened(entry, blobs).pieces():
                digest.update(piece)
        except RecordingDamaged as error:
            raise OSError(f"what was sealed does not open: {error}") from error
        return digest.hexdigest()

    # --- out of it ----------------------------------------------------------------------------------------------

    def find(self, recording_id: RecordingId) -> Stored | None:
        entry = self._store.get(recording_id) if is_ulid(recording_id) else None
        return None if entry is None else entry.stored

    def read(self, recording_id: RecordingId, offset: int, length: int) -> tuple[bytes, int]:
        try:
            opened = self._of(recording_id)
            return opened.read(offset, length), opened.header.plain_size
        except FileNotFoundError:  # it went to its last place just now
            opened = self._of(recording_id)
            return opened.read(offset, length), opened.header.plain_size

    def verify(self, recording_id: RecordingId) -> None:
        """Read all of it. Raises like ``read``, and RecordingDamaged when its hash is not that of its record."""
        opened, entry = self._of(recording_id), self._store.get(recording_id)
        digest = hashlib.sha256()
        for piece in opened.pieces():
            digest.update(piece)
        if entry is None or entry.stored is None or digest.hexdigest() != entry.stored.sha256:
            raise RecordingDamaged("it is not what its record says")

    def _of(self, recording_id: RecordingId) -> Opened:
        entry = self._store.get(recording_id) if is_ulid(recording_id) else None
        if entry is None or entry.stored is None:
            raise KeyError(recording_id)
        if not self.takes(entry.region):
            raise sealed.WrongRegion(f"recordings of region {entry.region!r} must not be opened at this POP")
        return self._opened(entry, self._place(entry))

    def _place(self, entry: Entry) -> Blobs:
        name, local = name_of(entry.recording_id), self._local[entry.region]
        remote = self._remote.get(entry.region)
        if local.size(name) is None and remote is not None:
            return remote
        return local

    def _opened(self, entry: Entry, blobs: Blobs) -> Opened:
        name = name_of(entry.recording_id)
        size = blobs.size(name)
        if size is None:
            raise RecordingDamaged("its file is not there")
        header = sealed.decode(blobs.read(name, 0, LONGEST_HEADER))
        sealed.check(header, entry.recording_id, entry.region, entry.key_id)
        key = self._keys.keys().unwrap(entry.under, entry.recording_id, entry.key_id, entry.wrapped)
        return Opened(header, key, lambda offset, length: blobs.read(name, offset, length), size)

    def protect(self, recording_id: RecordingId) -> None:
        entry = self._store.get(recording_id) if is_ulid(recording_id) else None
        if entry is None or entry.stored is None:
            raise KeyError(recording_id)
        keys, name = self._keys.keys(), entry.region + MINORS
        if entry.under == name:
            return
        key = keys.unwrap(entry.under, recording_id, entry.key_id, entry.wrapped)
        self._store.move(entry, name, keys.wrap(name, recording_id, entry.key_id, key))

    def is_protected(self, recording_id: RecordingId) -> bool:
        entry = self._store.get(recording_id) if is_ulid(recording_id) else None
        return entry is not None and entry.under != entry.region

    # --- the end of it ------------------------------------------------------------------------------------------

    def erase(self, recording_id: RecordingId) -> None:
        if not is_ulid(recording_id) or self._store.get(recording_id) is None:
            raise KeyError(recording_id)
        self._store.erase([recording_id])
        try:
            self._sweep()
        except OSError as error:
            log.warning("the file of an erased recording, which nothing opens, is still to be removed: %s", error)

    def forget(self, erased: Collection[RecordingId], upto: int | None = None) -> int:
        return self._store.erase([recording_id for recording_id in erased if is_ulid(recording_id)], upto)

    def erased_upto(self) -> int:
        return self._store.erased_upto()

    def _sweep(self) -> None:
        for recording_id in self._store.unswept():
            for blobs in (*self._local.values(), *self._remote.values()):
                blobs.delete(name_of(recording_id))
            self._store.swept(recording_id)

    # --- copies -------------------------------------------------------------------------------------------------

    def backup(self, target: Blobs) -> int:
        """Copy to ``target`` what its region has and it has not, sealed as it is, and remove from there what was
        erased. How many were copied. Raises WrongRegion, BadValue, OSError."""
        if not self.takes(target.region):
            raise BadValue("region", f"recordings of region {target.region!r} do not rest at this POP")
        pin(target)
        for recording_id in map(recording_of, list(target.names())):
            if recording_id is not None and self._store.is_erased(recording_id):
                target.delete(name_of(recording_id))
        copied = 0
        for recording_id in self._store.all(target.region):
            entry, name = self._store.get(recording_id), name_of(recording_id)
            if entry is not None and target.size(name) != (source := self._place(entry)).size(name):
                copy(source, target, name)
                copied += 1
        return copied

    def restore(self, source: Blobs) -> Restored:
        """Take from a backup what is not here, if its key is and opens it. Raises WrongRegion, BadValue, OSError."""
        if not self.takes(source.region):
            raise BadValue("region", f"recordings of region {source.region!r} must not rest at this POP")
        pin(source)
        local, back, refused = self._local[source.region], 0, 0
        for name in source.names():
            if (recording_id := recording_of(name)) is None:
                continue
            entry = self._store.get(recording_id)
            if entry is None or entry.stored is None or entry.region != source.region:
                refused += 1
            elif self._place(entry).size(name) is None:
                try:
                    if self._digest(entry, source) != entry.stored.sha256:
                        raise OSError("it is not what its record says")
                    copy(source, local, name)
                    back += 1
                except OSError as error:
                    log.warning("recording %s of the backup is of no use: %s", recording_id, error)
                    refused += 1
        return Restored(back, refused)

    # --- to its last place --------------------------------------------------------------------------------------

    def settle(self) -> None:
        self._sweep()
        for region, remote in self._remote.items():
            local = self._local[region]
            for name in local.names():
                recording_id = recording_of(name)
                entry = None if recording_id is None else self._store.get(recording_id)
                if entry is None or entry.stored is None or entry.region != region:
                    continue
                if region not in self._pinned:
                    pin(remote)
                    self._pinned.add(region)
                copy(local, remote, name)
                if self._digest(entry, remote) != entry.stored.sha256:
                    raise OSError(f"{name} does not read in the object storage as it was written")
                local.delete(name)
                self._store.changed(entry.recording_id)
