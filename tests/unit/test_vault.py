"""The vault: keys, crashes between its steps, erasing, backups, regions, rotation."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx.adapters.vault.blobs import MARKER, DiskBlobs, copy, name_of, pin
from pbx.adapters.vault.key_store import KeyStore
from pbx.adapters.vault.sealed import SealedVault
from pbx.bootstrap import KEY_STORE, RECORDINGS
from pbx.domain.errors import BadValue, RecordingDamaged
from pbx.ports.vault import Erased
from pbx.recording import sealed
from pbx.recording.wav import wav_header
from tests.support.vault_site import ONE, SAID, THREE, TWO, Site


@pytest.fixture
def eu(tmp_path: Path) -> Site:
    return Site(tmp_path / "eu")


def test_a_recording_is_sealed_and_read(eu: Site) -> None:
    raw = eu.captured(ONE)
    stored = eu.vault.store(ONE, "eu", raw)
    wav = wav_header(len(SAID)) + SAID
    assert (stored.size_bytes, stored.sha256) == (len(wav), hashlib.sha256(wav).hexdigest())
    assert stored.duration_ms == len(SAID) // 4 * 1000 // 8000
    assert not raw.exists()
    assert eu.opens(ONE)
    assert eu.again().vault.find(ONE) == stored
    on_disk = eu.file(ONE).read_bytes()
    assert b"RIFF" not in on_disk
    assert SAID[:64] not in on_disk
    assert eu.file(ONE).stat().st_mode & 0o777 == 0o600
    assert (eu.directory / KEY_STORE).stat().st_mode & 0o777 == 0o600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_any_range_is_that_of_the_wav_file(eu: Site, offset: int, length: int) -> None:
    if eu.vault.find(ONE) is None:
        eu.record(ONE)
    wav = wav_header(len(SAID)) + SAID
    assert eu.vault.read(ONE, offset, length) == (wav[offset : offset + length], len(wav))


def test_a_half_frame_at_the_end_is_left_out(eu: Site) -> None:
    eu.record(ONE, b"\1\2\3\4\5\6")
    assert eu.opens(ONE, b"\1\2\3\4")


def test_neither_file_holds_the_key(eu: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    urandom = os.urandom

    def noted(size: int) -> bytes:
        made.append(urandom(size))
        return made[-1]

    monkeypatch.setattr(os, "urandom", noted)
    eu.record(ONE)
    [key] = [secret for secret in made if len(secret) == sealed.KEY_BYTES]
    for path in eu.directory.rglob("*"):
        if path.is_file():
            assert key not in path.read_bytes(), path.name


# --- a controller that dies -------------------------------------------------------------------------------------------


class Died(BaseException):
    """The process is gone."""


def _dies(*_: object) -> None:
    raise Died


@pytest.mark.parametrize(
    ("thing", "step"),
    [
        (KeyStore, "put"),
        (DiskBlobs, "put"),
        (SealedVault, "_digest"),
        (KeyStore, "verified"),
        (Path, "unlink"),
        (os, "fsync"),
        (Path, "rename"),
    ],
)
def test_a_crash_at_any_step_leaves_no_half(
    eu: Site, monkeypatch: pytest.MonkeyPatch, thing: object, step: str
) -> None:
    raw = eu.captured(ONE)
    with monkeypatch.context() as dying:
        if step == "unlink":  # of the plain file, the last step
            unlink = Path.unlink
            dying.setattr(Path, "unlink", lambda path, missing_ok=False: _dies() if path == raw else unlink(path, True))
        else:
            dying.setattr(thing, step, _dies)
        with pytest.raises(Died):
            eu.vault.store(ONE, "eu", raw)
    site = eu.again()
    assert raw.exists()
    if step != "unlink":
        assert site.vault.find(ONE) is None
        with pytest.raises(KeyError):
            site.vault.read(ONE, 0, 1)
    site.vault.clear()
    site.vault.store(ONE, "eu", raw)
    assert site.opens(ONE)
    assert not raw.exists()
    assert sorted(path.name for path in eu.file(ONE).parent.iterdir()) == [name_of(ONE)]


def test_what_was_half_written_is_removed(eu: Site) -> None:
    eu.file(ONE).parent.mkdir()
    part = eu.file(ONE).with_name(name_of(ONE) + ".part")
    part.write_bytes(b"of a controller that died")
    eu.again()
    assert part.exists(), "another process may be writing it"
    eu.vault.clear()
    assert not part.exists()


def test_what_is_erased_while_it_is_sealed_is_destroyed(eu: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, put = eu.captured(ONE), DiskBlobs.put

    def erased_meanwhile(self: DiskBlobs, name: str, parts: Iterable[bytes]) -> None:
        put(self, name, parts)
        monkeypatch.undo()
        eu.vault.erase(ONE)

    monkeypatch.setattr(DiskBlobs, "put", erased_meanwhile)
    with pytest.raises(Erased):
        eu.vault.store(ONE, "eu", raw)
    assert not raw.exists()
    assert not eu.file(ONE).exists()


@pytest.mark.parametrize("broken", ["write", "read"])
def test_a_disk_that_fails_leaves_the_capture(eu: Site, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Full, or one that does not give back what was written to it."""
    raw = eu.captured(ONE)
    with monkeypatch.context() as failing:
        if broken == "write":
            full = OSError(errno.ENOSPC, "no space left on device")
            failing.setattr(os, "fsync", lambda _handle: (_ for _ in ()).throw(full))
        else:
            read = DiskBlobs.read
            failing.setattr(DiskBlobs, "read", lambda self, name, *at: read(self, name, *at)[:-1] + b"?")
        with pytest.raises(OSError, match=r"no space|does not open"):
            eu.vault.store(ONE, "eu", raw)
    assert raw.read_bytes() == SAID
    assert eu.vault.find(ONE) is None


# --- erasing and backups ----------------------------------------------------------------------------------------------


def test_what_was_erased_is_not_opened_from_a_backup(eu: Site, tmp_path: Path) -> None:
    """Files restored: their key is gone. Files and key store restored: the journal says that it was erased."""
    eu.record(ONE)
    eu.record(TWO)
    before = tmp_path / "before"
    shutil.copytree(eu.directory, before)
    eu.vault.erase(ONE)
    assert not eu.file(ONE).exists()
    with pytest.raises(KeyError):
        eu.vault.read(ONE, 0, 1)
    with pytest.raises(KeyError):
        eu.vault.erase(ONE)

    shutil.copy(before / RECORDINGS / "eu" / name_of(ONE), eu.file(ONE))
    site = eu.again()
    with pytest.raises(KeyError):
        site.vault.read(ONE, 0, 1)
    assert site.vault.find(ONE) is None

    for name in (KEY_STORE, f"{KEY_STORE}-wal", f"{KEY_STORE}-shm"):
        (eu.directory / name).unlink(missing_ok=True)
        if (before / name).exists():
            shutil.copy(before / name, eu.directory / name)
    site = eu.again()
    assert site.vault.forget([ONE]) == 1
    with pytest.raises(KeyError):
        site.vault.read(ONE, 0, 1)
    with pytest.raises(Erased):
        site.record(ONE)
    assert not (eu.directory / f"{ONE}.raw").exists()
    assert site.opens(TWO)
    assert site.vault.forget([ONE]) == 0
    site.vault.settle()
    assert not eu.file(ONE).exists()


def test_the_wrapped_key_of_an_erased_recording_is_nowhere(eu: Site) -> None:
    eu.record(ONE)
    entry = KeyStore(eu.directory / KEY_STORE).get(ONE)
    assert entry is not None
    files = [path for path in eu.directory.iterdir() if path.is_file()]
    assert [path.name for path in files if entry.wrapped.sealed in path.read_bytes()] == [KEY_STORE]
    eu.vault.erase(ONE)
    assert [path.name for path in files if entry.wrapped.sealed in path.read_bytes()] == []


def test_an_older_key_store_opens_nothing_once_the_key_was_rotated(
    eu: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds against a restored key store where nobody replays what was erased."""
    eu.record(ONE)
    before = tmp_path / "keys-before"
    assert eu.cli(monkeypatch, "backup-keys", str(before)) == 0
    sealed_before = eu.file(ONE).read_bytes()
    assert eu.cli(monkeypatch, "new-key", str(eu.settings.key_file), "--region", "eu") == 0
    assert eu.cli(monkeypatch, "drop-key", "--region", "eu", "--version", "1") == 2, "it is still in use"
    assert eu.cli(monkeypatch, "rewrap", "--region", "eu") == 0
    assert eu.file(ONE).read_bytes() == sealed_before
    assert eu.opens(ONE)
    assert eu.cli(monkeypatch, "drop-key", "--region", "eu", "--version", "1") == 0
    assert eu.opens(ONE)
    for name in (KEY_STORE, f"{KEY_STORE}-wal", f"{KEY_STORE}-shm"):
        (eu.directory / name).unlink(missing_ok=True)
    shutil.copy(before, eu.directory / KEY_STORE)
    with pytest.raises(sealed.WrongKey):
        eu.again().opens(ONE)


def test_backup_and_restore(eu: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for recording_id in (ONE, TWO, THREE):
        eu.record(recording_id)
    there = tmp_path / "backup"
    assert eu.cli(monkeypatch, "backup", str(there), "--region", "eu") == 0
    assert sorted(path.name for path in there.iterdir()) == sorted([MARKER, *map(name_of, (ONE, TWO, THREE))])
    kept = (there / name_of(ONE)).read_bytes()
    eu.vault.erase(ONE)
    assert eu.vault.backup(DiskBlobs(there, "eu")) == 0
    assert not (there / name_of(ONE)).exists(), "a backup forgets what was erased"
    (there / name_of(ONE)).write_bytes(kept)
    eu.file(TWO).unlink()
    eu.file(THREE).unlink()
    damaged = bytearray((there / name_of(THREE)).read_bytes())
    damaged[-1] ^= 1
    (there / name_of(THREE)).write_bytes(damaged)
    with pytest.raises(RecordingDamaged):
        eu.opens(TWO)
    assert eu.cli(monkeypatch, "verify") == 1
    restored = eu.vault.restore(DiskBlobs(there, "eu"))
    assert (restored.back, restored.refused) == (1, 2)
    assert eu.opens(TWO)
    assert not eu.file(ONE).exists()
    assert not eu.file(THREE).exists()


# --- regions ----------------------------------------------------------------------------------------------------------


def test_a_recording_of_another_region_is_not_taken(eu: Site) -> None:
    raw = eu.captured(ONE)
    assert (eu.vault.takes("eu"), eu.vault.takes("us")) == (True, False)
    with pytest.raises(BadValue, match="must not rest"):
        eu.vault.store(ONE, "us", raw)
    assert raw.exists()
    assert not (eu.directory / RECORDINGS / "us").exists()


def test_a_file_moved_to_another_region_does_not_open(eu: Site, tmp_path: Path) -> None:
    """With its wrapped key, and even with a key store that says it belongs there."""
    us = Site(tmp_path / "us", "us")
    eu.record(ONE)
    us.record(TWO)
    shutil.copy(eu.file(ONE), us.file(ONE))
    with pytest.raises(KeyError):
        us.vault.read(ONE, 0, 1)
    entry = KeyStore(eu.directory / KEY_STORE).get(ONE)
    assert entry is not None
    store = KeyStore(us.directory / KEY_STORE)
    store.put(entry)
    assert entry.stored is not None
    store.verified(ONE, entry.key_id, entry.stored)
    with pytest.raises(sealed.WrongRegion):
        us.vault.read(ONE, 0, 1)
    store._db.execute("UPDATE keys SET region = 'us' WHERE recording_id = ?", (ONE,))
    with pytest.raises(sealed.WrongRegion):
        us.vault.read(ONE, 0, 1)
    data = us.file(ONE).read_bytes()
    forged = sealed.Header(ONE, "us", entry.key_id, sealed.decode(data).plain_size, sealed.decode(data).prefix)
    us.file(ONE).write_bytes(forged.encode() + data[forged.size :])
    with pytest.raises(sealed.WrongKey):
        us.vault.read(ONE, 0, 1)


def test_copies_and_backups_stay_in_the_region(eu: Site, tmp_path: Path) -> None:
    eu.record(ONE)
    us = pin(DiskBlobs(tmp_path / "us-backup", "us"))
    with pytest.raises(BadValue, match="do not rest"):
        eu.vault.backup(us)
    with pytest.raises(sealed.WrongRegion):
        eu.vault.backup(DiskBlobs(tmp_path / "us-backup", "eu"))
    with pytest.raises(sealed.WrongRegion):
        copy(DiskBlobs(eu.file(ONE).parent, "eu"), us, name_of(ONE))
    with pytest.raises(sealed.WrongRegion):
        copy(DiskBlobs(eu.file(ONE).parent, "us"), us, name_of(ONE))
    assert list(us.names()) == [MARKER]
    (tmp_path / "something").mkdir()
    (tmp_path / "something" / "else").write_text("x")
    with pytest.raises(sealed.WrongRegion, match="says of which region"):
        eu.vault.backup(DiskBlobs(tmp_path / "something", "eu"))
