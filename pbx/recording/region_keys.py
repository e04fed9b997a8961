"""The keys of regions, which wrap the recordings' own keys: several versions of each, the newest in use.

A key file has one line for each version, ``region version key`` with the key in hexadecimal digits, and is readable by
its owner alone. It is made and changed by ``callplane vault new-key`` and ``drop-key``; no key is ever an argument or
in a message.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pbx.domain.errors import BadValue
from pbx.domain.ids import RecordingId
from pbx.recording.sealed import KEY_BYTES, LONGEST_REGION, WrongKey

NONCE_BYTES = 12
FIELD = "CALLPLANE_POP_VAULT_KEYS"
_HEAD = "# Region keys of Callplane. Whoever has them and a key store opens its recordings.\n"
MINORS = "-minors"
"""After a region's name: the key under which recordings of minors are, in the same file or in none."""
_LINE = re.compile(rf"([a-z0-9][a-z0-9-]{{0,{LONGEST_REGION - 1}}}) ([1-9][0-9]{{0,8}}) ([0-9a-f]{{{2 * KEY_BYTES}}})")
Versions = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A recording's own key under the key of its region. ``sealed``: nonce and ciphertext."""

    version: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class RegionKeys:
    """What a key file holds."""

    _keys: Mapping[str, Versions] = field(repr=False)

    @property
    def regions(self) -> frozenset[str]:
        return frozenset(self._keys)

    def versions(self, region: str) -> tuple[int, ...]:
        """Oldest first."""
        return tuple(sorted(self._keys.get(region, {})))

    def newest(self, region: str) -> int:
        """Raises BadValue when there is no key of this region."""
        if not (versions := self.versions(region)):
            raise BadValue(FIELD, f"holds no key of region {region!r}")
        return versions[-1]

    def wrap(self, region: str, recording_id: RecordingId, key_id: bytes, key: bytes) -> Wrapped:
        """Under the newest version. Raises BadValue when there is no key of this region."""
        version, nonce = self.newest(region), os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._keys[region][version])
        return Wrapped(version, nonce + cipher.encrypt(nonce, key, _about(region, recording_id, key_id, version)))

    def unwrap(self, region: str, recording_id: RecordingId, key_id: bytes, wrapped: Wrapped) -> bytes:
        """Raises WrongKey when it was wrapped for another region or recording, or under a key that is not here."""
        key = self._keys.get(region, {}).get(wrapped.version)
        if key is None:
            raise WrongKey(f"there is no version {wrapped.version} of the key of region {region!r} here")
        nonce, sealed = wrapped.sealed[:NONCE_BYTES], wrapped.sealed[NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, sealed, _about(region, recording_id, key_id, wrapped.version))
        except InvalidTag:
            raise WrongKey("its key was not wrapped under this region's key for this recording") from None


def _about(region: str, recording_id: RecordingId, key_id: bytes, version: int) -> bytes:
    return b"\0".join((b"callplane region key 1", region.encode(), recording_id.encode(), key_id.hex().encode())) + (
        version.to_bytes(4, "big")
    )


def load(path: Path) -> RegionKeys:
    """Raises BadValue when the file is not there, is not a key file, or others than its owner may read it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        make = f"callplane vault new-key {path} --region REGION"
        raise BadValue(FIELD, f"{path} cannot be opened ({error.strerror}); a key file is made by: {make}") from None
    with os.fdopen(handle) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise BadValue(FIELD, f"{path} must be a file that its owner alone may read (mode 0600)")
        if status.st_uid not in (os.geteuid(), 0):
            raise BadValue(FIELD, f"{path} belongs to another user")
        lines = file.read().splitlines()
    keys: dict[str, dict[int, bytes]] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if (found := _LINE.fullmatch(line)) is None:
            raise BadValue(FIELD, f"{path}, line {number}: is not a region, a version and a key")
        region, version = found[1], int(found[2])
        if version in keys.setdefault(region, {}):
            raise BadValue(FIELD, f"{path}, line {number}: version {version} of region {region!r} is there twice")
        keys[region][version] = bytes.fromhex(found[3])
    return RegionKeys(keys)


def add(path: Path, region: str) -> int:
    """A new key of the region becomes its newest; the file is made when it is not there. Returns its version.

    Raises BadValue, OSError; the file is as it was then.
    """
    if not _LINE.fullmatch(f"{region} 1 {'0' * 2 * KEY_BYTES}"):
        raise BadValue("region", f"is not 1 to {LONGEST_REGION} small letters, digits and dashes")
    keys = load(path) if path.exists() else RegionKeys({})
    version = max((0, *keys.versions(region))) + 1
    _write(path, keys, region, {**keys._keys.get(region, {}), version: os.urandom(KEY_BYTES)})
    return version


def drop(path: Path, region: str, version: int) -> None:
    """Destroy a version that is not the newest: what is wrapped under it cannot be opened any more, wherever a copy
    is. Raises BadValue, OSError; the file is as it was then."""
    keys = load(path)
    if version not in keys.versions(region):
        raise BadValue("version", f"{path} holds no version {version} of region {region!r}")
    if version == keys.newest(region):
        raise BadValue("version", f"version {version} is the newest of region {region!r}; make another one first")
    _write(path, keys, region, {n: key for n, key in keys._keys[region].items() if n != version})


def _write(path: Path, keys: RegionKeys, region: str, versions: Versions) -> None:
    """The file whole or as it was. What it held before is overwritten first, as far as the file system lets us."""
    all_keys = {**keys._keys, region: versions}
    lines = [f"{name} {n} {all_keys[name][n].hex()}\n" for name in sorted(all_keys) for n in sorted(all_keys[name])]
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(_HEAD + "".join(lines))
        out.flush()
        os.fsync(out.fileno())
    former = os.open(path, os.O_WRONLY | os.O_NOFOLLOW) if path.exists() else None
    part.rename(path)
    sync_directory(path.parent)
    if former is not None:
        with os.fdopen(former, "wb") as old:
            old.write(bytes(os.fstat(former).st_size))
            old.flush()
            os.fsync(former)


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class KeyFile:
    """A key file as it is now: read again when it was changed."""

    def __init__(self, path: Path, regions: frozenset[str]) -> None:
        """``regions``: it must hold a key of each, may hold one of its minors, and of no other. Raises BadValue."""
        self._path, self._regions = path, regions
        self._seen = self._stamp()
        self._keys = self._load()

    def keys(self) -> RegionKeys:
        """Raises BadValue when the file cannot be used any more."""
        if (stamp := self._stamp()) != self._seen:
            self._keys, self._seen = self._load(), stamp
        return self._keys

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def _load(self) -> RegionKeys:
        keys = load(self._path)
        minors = {region + MINORS for region in self._regions}
        if foreign := sorted(keys.regions - self._regions - minors):
            reason = f"holds a key of region {foreign[0]!r}, whose recordings must not rest at this POP"
            raise BadValue(FIELD, reason)
        for region in sorted(self._regions):
            keys.newest(region)
        return keys
