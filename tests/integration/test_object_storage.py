"""The vault on a real object storage: SeaweedFS, one bucket for each region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx.adapters.vault.blobs import MARKER, DiskBlobs, name_of, pin
from pbx.adapters.vault.s3 import S3Blobs
from pbx.adapters.vault.sealed import SealedVault
from pbx.bootstrap import RECORDINGS, build_vault
from pbx.config import VaultSettings
from pbx.domain.errors import BadValue
from pbx.domain.ids import RecordingId, derive
from pbx.recording import region_keys, sealed
from pbx.recording.wav import wav_header
from tests.support import object_storage
from tests.support.object_storage import SeaweedFS

ONE, TWO = (RecordingId(derive(1.0, "recording", name)) for name in ("one", "two"))
SAID = bytes(range(256)) * 100_000
"""More than a part of an upload."""
WAV = wav_header(len(SAID)) + SAID


@pytest.fixture(scope="module")
def weed() -> Iterator[SeaweedFS]:
    with SeaweedFS(["eu", "us"]) as running:
        yield running


@pytest.fixture
def eu(weed: SeaweedFS) -> Iterator[S3Blobs]:
    """The bucket of this region, empty but for its marker."""
    blobs = S3Blobs(weed.storage, "eu")
    yield blobs
    for name in list(blobs.names()):
        blobs.delete(name)


def settings_of(directory: Path, weed: SeaweedFS, region: str = "eu") -> VaultSettings:
    directory.mkdir(exist_ok=True)
    settings = VaultSettings(
        state_dir=directory,
        regions=[region],
        vault_s3_url=weed.url,
        vault_s3_access_key=object_storage.ACCESS,
        vault_s3_secret_key=object_storage.SECRET,  # type: ignore[arg-type]  # a text from the environment
        vault_s3_allow_http=True,
    )
    if not settings.key_file.exists():
        region_keys.add(settings.key_file, region)
    return settings


def record(vault: SealedVault, directory: Path, recording_id: RecordingId = ONE, said: bytes = SAID) -> None:
    raw = directory / f"{recording_id}.raw"
    raw.write_bytes(said)
    vault.store(recording_id, "eu", raw)


def local(directory: Path) -> list[str]:
    return list(DiskBlobs(directory / RECORDINGS / "eu", "eu").names())


def test_a_recording_is_moved_and_read_from_there(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    vault = build_vault(settings_of(tmp_path, weed))
    record(vault, tmp_path)
    assert local(tmp_path) == [name_of(ONE)]
    assert vault.read(ONE, 0, 100)[0] == WAV[:100]
    vault.settle()
    assert local(tmp_path) == []
    assert sorted(eu.names()) == sorted([name_of(ONE), MARKER])
    for offset, length in ((0, 100), (12_345_678, 200_000), (len(WAV) - 10, 100)):
        assert vault.read(ONE, offset, length) == (WAV[offset : offset + length], len(WAV))
    vault.verify(ONE)
    assert SAID[:64] not in eu.read(name_of(ONE), 0, 1 << 20)
    assert build_vault(settings_of(tmp_path, weed)).read(ONE, 50, 1)[0] == WAV[50:51]


def test_a_flipped_byte_in_the_storage_is_detected(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    vault = build_vault(settings_of(tmp_path, weed))
    record(vault, tmp_path)
    vault.settle()
    size = eu.size(name_of(ONE))
    assert size is not None
    data = bytearray(eu.read(name_of(ONE), 0, size))
    data[size // 2] ^= 1
    eu.put(name_of(ONE), [bytes(data)])
    with pytest.raises(sealed.Tampered):
        vault.read(ONE, len(WAV) // 2 - 1000, 2000)
    assert vault.read(ONE, 0, 100)[0] == WAV[:100]
    eu.put(name_of(ONE), [bytes(data[:-1])])
    with pytest.raises(sealed.Truncated):
        vault.read(ONE, 0, 100)


def test_an_erased_recording_leaves_the_storage_and_opens_no_more(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    vault = build_vault(settings_of(tmp_path, weed))
    record(vault, tmp_path, said=SAID[:1000])
    vault.settle()
    copy = eu.read(name_of(ONE), 0, 10_000)
    vault.erase(ONE)
    assert eu.size(name_of(ONE)) is None
    eu.put(name_of(ONE), [copy])
    with pytest.raises(KeyError):
        vault.read(ONE, 0, 10)


def test_a_storage_that_does_not_answer_costs_nothing(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    """Recordings wait on this disk, sealed; erasing destroys the key at once and the object later."""
    vault = build_vault(settings_of(tmp_path, weed).model_copy(update={"vault_s3_timeout_s": 2.0}))
    record(vault, tmp_path, ONE, SAID[:1000])
    vault.settle()
    weed.pause()
    try:
        record(vault, tmp_path, TWO, SAID[:1000])
        with pytest.raises(OSError, match="object storage failed"):
            vault.settle()
        assert vault.read(TWO, 44, 10)[0] == SAID[:10]
        vault.erase(ONE)
        with pytest.raises(KeyError):
            vault.read(ONE, 0, 10)
    finally:
        weed.resume()
    vault.settle()
    assert sorted(eu.names()) == sorted([name_of(TWO), MARKER])
    assert local(tmp_path) == []
    assert vault.read(TWO, 44, 10)[0] == SAID[:10]


def test_a_bucket_of_another_region_gets_nothing(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    """The wrong bucket was named: it says itself whose it is."""
    pin(S3Blobs(weed.storage, "us"))
    settings = settings_of(tmp_path, weed).model_copy(update={"vault_s3_bucket": "callplane-us"})
    vault = build_vault(settings)
    record(vault, tmp_path, said=SAID[:1000])
    with pytest.raises(sealed.WrongRegion):
        vault.settle()
    assert local(tmp_path) == [name_of(ONE)]
    assert list(S3Blobs(weed.storage, "us").names()) == [MARKER]


def test_an_object_copied_to_another_region_does_not_open(tmp_path: Path, weed: SeaweedFS, eu: S3Blobs) -> None:
    vault = build_vault(settings_of(tmp_path / "eu", weed))
    record(vault, tmp_path / "eu", said=SAID[:1000])
    vault.settle()
    there = S3Blobs(weed.storage, "us")
    try:
        there.put(name_of(ONE), [eu.read(name_of(ONE), 0, 10_000)])
        other = build_vault(settings_of(tmp_path / "us", weed, "us"))
        with pytest.raises(KeyError):
            other.read(ONE, 0, 10)
        restored = other.restore(there)
        assert (restored.back, restored.refused) == (0, 1)
    finally:
        there.delete(name_of(ONE))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"vault_s3_allow_http": False}, "CALLPLANE_POP_VAULT_S3_URL"),
        ({"vault_s3_access_key": ""}, "CALLPLANE_POP_VAULT_S3_ACCESS_KEY"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, weed: SeaweedFS, change: dict[str, object], field: str) -> None:
    with pytest.raises(BadValue) as refused:
        build_vault(settings_of(tmp_path, weed).model_copy(update=change))
    assert refused.value.field == field
