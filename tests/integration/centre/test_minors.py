"""Data of minors: under a key of its own, opened by fewer, and only with a reason of its own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.services import minors
from pbx.domain.ids import CallId, RecordingId, derive
from pbx.recording import region_keys
from tests.integration.centre.rights_world import PERSON, WAV, Site, site_of
from tests.integration.centre.support import Api, until
from tests.integration.centre.test_audit import entries
from tests.integration.centre.test_recordings import browser

WHY = {"X-Minor-Purpose": "her guardian asked"}


async def protected(site: Site, *recordings: RecordingId) -> None:
    await until(lambda: all(site.world.vault.is_protected(one) for one in recordings))


async def test_a_marked_recording_is_opened_by_who_may_and_says_why(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site, browser(api) as player:
        path = f"/recordings/{site.recording}/content"
        supervisor = await api.made("/tokens", {"name": "Mia", "grants": [{"role": "supervisor"}]})
        mia = {"Authorization": f"Bearer {supervisor['token']}", "X-Purpose": "coaching"}
        assert (await api.get(path, headers=mia)).status == 200
        link = (await api.post(f"/recordings/{site.recording}/link", headers=mia)).body["url"].removeprefix("/api/v1")
        assert (await player.get(link)).status == 200

        mark = await api.made("/minor-marks", {"recording_id": site.recording, "why": "he said so"})
        assert (mark["kind"], mark["call_id"]) == ("recording", site.own)
        assert (await api.get(path, headers=mia)).error_id == "forbidden", "before the POP has done its part"
        assert (await player.get(link)).status == 403, "a link of before is no way in"
        assert (await api.get(path, headers={**mia, **WHY})).error_id == "forbidden"
        assert not site.world.vault.is_protected(site.recording), "the POP has no key for it"
        region_keys.add(site.directory / "vault.keys", "eu-minors")
        await api.made("/minor-marks", {"call_id": site.own, "why": "he said so"})
        await protected(site, site.recording, site.voicemail)
        missing = await api.get(path)
        assert (missing.status, set(missing.fields)) == (422, {"X-Minor-Purpose"})
        whole = await api.get(path, headers=WHY)
        assert (whole.status, whole.body) == (200, WAV)
        made = await api.post(f"/recordings/{site.recording}/link", headers=WHY)
        assert (await player.get(made.body["url"].removeprefix("/api/v1"))).body == WAV
        assert (await api.post(f"/recordings/{site.recording}/link")).status == 422
        assert (await api.get(f"/recordings/{site.other_recording}/content", headers=mia)).status == 200

        exported = await api.post("/exports", {"number": PERSON})
        assert f"recordings/{site.recording}.wav" in zipfile.ZipFile(io.BytesIO(exported.body)).namelist()
    purposes = [e["purpose"] for e in await entries(api) if e["outcome"] == "read" and e["caller"] != "Mia"]
    assert "a test; minor: her guardian asked" in purposes


async def test_a_marked_number_counts_for_later_calls(
    api: Api, settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minors, "EVERY_S", 0.2)
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        region_keys.add(site.directory / "vault.keys", "eu-minors")
        mark = await api.made("/minor-marks", {"number": PERSON, "why": "her guardian called"})
        assert PERSON not in str(mark)
        await protected(site, site.recording, site.voicemail)
        later, recording = CallId(derive(site.at, "later")), RecordingId(derive(site.at, "recording", "later"))
        await site.call(later, PERSON, recording)
        await protected(site, recording)
        assert not site.world.vault.is_protected(site.other_recording)
        assert (await api.get(f"/recordings/{recording}/content")).status == 422
        assert (await api.get(f"/recordings/{recording}/content", headers=WHY)).body == WAV


async def test_a_command_without_the_word_opens_none(settings: CentreSettings, api: Api, tmp_path: Path) -> None:
    """The POP knows by itself what is of a minor."""
    from pbx.controller import recording_commands
    from pbx.wire.messages import ReadRecording

    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        region_keys.add(site.directory / "vault.keys", "eu-minors")
        site.world.vault.protect(site.recording)
        read: Any = ReadRecording(recording_id=site.recording, offset=0, length=4)
        refused = await recording_commands.read(site.world.vault, read)
        assert (refused.error_id, refused.blob) == ("of_a_minor", b"")
        allowed = ReadRecording(recording_id=site.recording, offset=0, length=4, minors=True)
        assert (await recording_commands.read(site.world.vault, allowed)).blob == b"RIFF"
