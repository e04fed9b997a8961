"""Sealed recordings on their way to a POP's other host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbx.adapters.vault.blobs import PIECE, DiskBlobs, name_of
from pbx.adapters.vault.key_store import KeyStore
from pbx.adapters.vault.pair import PairedRecordings
from pbx.domain.errors import BadValue
from pbx.domain.ids import RecordingId, derive

RECORDING = RecordingId(derive(1_790_000_000.0, "recording"))


def host(directory: Path) -> PairedRecordings:
    directory.mkdir()
    return PairedRecordings(directory / "recordings", ["eu"], KeyStore(directory / "keys.sqlite"))


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    made = os.urandom(2 * PIECE + 100)
    DiskBlobs(tmp_path / "active" / "recordings" / "eu", "eu").put(name_of(RECORDING), [made])
    return made


def test_a_file_that_was_cut_off_is_whole_the_next_time(tmp_path: Path, content: bytes) -> None:
    active = PairedRecordings(tmp_path / "active" / "recordings", ["eu"], KeyStore(tmp_path / "keys.sqlite"))
    standby = host(tmp_path / "standby")
    pieces = active.blob(RECORDING)
    assert pieces is not None
    for _ in range(2):
        standby.apply(next(pieces))  # and the connection is over
    assert standby.have() == ({}, [])
    for piece in active.blob(RECORDING) or ():
        standby.apply(piece)
    path = tmp_path / "standby" / "recordings" / "eu" / name_of(RECORDING)
    assert path.read_bytes() == content
    assert standby.have()[1] == [name_of(RECORDING)]


def test_a_piece_without_those_before_it_is_refused(tmp_path: Path, content: bytes) -> None:
    active = PairedRecordings(tmp_path / "active" / "recordings", ["eu"], KeyStore(tmp_path / "keys.sqlite"))
    pieces = list(active.blob(RECORDING) or ())
    standby = host(tmp_path / "standby")
    with pytest.raises(BadValue, match="missing"):
        standby.apply(pieces[1])
    assert standby.have()[1] == []
