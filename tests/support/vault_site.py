"""A POP's vault as its settings make it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx import vault_cli
from pbx.adapters.vault.blobs import name_of
from pbx.bootstrap import RECORDINGS, build_vault
from pbx.config import VaultSettings
from pbx.domain.ids import RecordingId, derive
from pbx.recording import region_keys
from pbx.recording.wav import wav_header

ONE, TWO, THREE = (RecordingId(derive(1.0, "recording", name)) for name in ("one", "two", "three"))
SAID = bytes(range(256)) * 1500
"""Five chunks and something."""


class Site:
    """A POP's vault as its settings make it, for one region."""

    def __init__(self, directory: Path, region: str = "eu") -> None:
        self.directory, self.region = directory, region
        self.settings = VaultSettings(state_dir=directory, regions=[region])
        directory.mkdir(exist_ok=True)
        if not self.settings.key_file.exists():
            region_keys.add(self.settings.key_file, region)
        self.vault = build_vault(self.settings)

    def again(self) -> Site:
        """The next controller."""
        return Site(self.directory, self.region)

    def captured(self, recording_id: RecordingId, said: bytes = SAID) -> Path:
        raw = self.directory / f"{recording_id}.raw"
        raw.write_bytes(said)
        return raw

    def record(self, recording_id: RecordingId, said: bytes = SAID) -> None:
        self.vault.store(recording_id, self.region, self.captured(recording_id, said))

    def file(self, recording_id: RecordingId) -> Path:
        return self.directory / RECORDINGS / self.region / name_of(recording_id)

    def opens(self, recording_id: RecordingId, said: bytes = SAID) -> bool:
        blob, size = self.vault.read(recording_id, 0, 1 << 30)
        assert size == len(blob)
        return blob == wav_header(len(said)) + said

    def cli(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
        monkeypatch.setenv("CALLPLANE_POP_STATE_DIR", str(self.directory))
        monkeypatch.setenv("CALLPLANE_POP_REGIONS", f'["{self.region}"]')
        return vault_cli.main(words)
