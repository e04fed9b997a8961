"""Recordings that rest sealed at a POP, read through the centre: by ranges, by links, for a purpose, until erased."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from orchestrator.config import CentreSettings
from orchestrator.services import recording_links, secret_box
from pbx.adapters.vault.blobs import name_of
from pbx.adapters.vault.key_store import KeyStore
from pbx.adapters.vault.sealed import SealedVault
from pbx.bootstrap import KEY_STORE, fresh_vault
from pbx.domain import events as ev
from pbx.domain.errors import RecordingDamaged
from pbx.domain.ids import CallId, RecordingId
from pbx.recording import keeper
from pbx.recording.wav import wav_header
from pbx.wire.messages import CommandReply, CommandRequest, EraseRecording, ReadRecording
from tests.integration.centre.support import Api, TestPop, pop, until
from tests.integration.centre.test_audit import entries
from tests.integration.centre.test_calls import START, a_call

SAID = bytes(range(256)) * 5000
WAV = wav_header(len(SAID)) + SAID


class Site:
    """A POP with one recording in its vault."""

    def __init__(self, vault: SealedVault, recording: RecordingId, directory: Path) -> None:
        self.vault, self.recording, self.directory = vault, recording, directory
        self.path = f"/recordings/{recording}/content"
        self.asked: list[ReadRecording] = []
        self.linked: TestPop | None = None

    @property
    def file(self) -> Path:
        return self.directory / "vault" / "eu" / name_of(self.recording)

    def answer(self, request: CommandRequest) -> CommandReply:
        """As ``pbx.controller.pop`` does it."""
        match request.command:
            case ReadRecording(recording_id=recording_id, offset=offset, length=length) as read:
                self.asked.append(read)
                try:
                    blob, size = self.vault.read(RecordingId(recording_id), offset, length)
                except KeyError:
                    return CommandReply(error_id="unknown-recording")
                except RecordingDamaged:
                    return CommandReply(error_id="recording_damaged")
                return CommandReply(blob=blob, total_size=size)
            case EraseRecording(recording_id=recording_id):
                try:
                    self.vault.erase(RecordingId(recording_id))
                except KeyError:
                    return CommandReply(error_id="unknown-recording")
                return CommandReply()
            case other:
                raise AssertionError(other)


@asynccontextmanager
async def site_of(api: Api, settings: CentreSettings, directory: Path) -> AsyncIterator[Site]:
    key = await api.new_site()
    call, recording, events = a_call("sealed")
    vault = fresh_vault(directory, {"eu"})
    raw = directory / "one.raw"
    raw.write_bytes(SAID)
    stored = vault.store(recording, "eu", raw)
    ended = next(event for event in events if isinstance(event, ev.RecordingEnded))
    placed = ev.RecordingEnded(
        at=ended.at,
        recording_id=recording,
        region="eu",
        duration_ms=stored.duration_ms,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )
    site = Site(vault, recording, directory)
    async with pop(directory / "j.db", settings.bus_port, key) as linked:
        linked.handler.answer = site.answer
        await linked.journal.append(call, [placed if event is ended else event for event in events])
        linked.link.events_waiting()
        await until(lambda: _there(api, recording))
        site.linked = linked
        yield site


async def _there(api: Api, recording: str) -> bool:
    return bool((await api.get(f"/recordings/{recording}")).status == 200)


@asynccontextmanager
async def browser(api: Api) -> AsyncIterator[Api]:
    """Somebody who sends no token and no header of ours."""
    async with aiohttp.ClientSession(api.session._base_url) as session:
        yield Api(session)


async def test_a_sealed_recording_is_read_by_ranges(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, settings, tmp_path) as site:
        whole = await api.get(site.path)
        assert (whole.status, whole.body) == (200, WAV)
        tag = whole.headers["ETag"]
        assert tag == f'"{hashlib.sha256(WAV).hexdigest()}"'
        assert whole.headers["Accept-Ranges"] == "bytes"
        site.asked.clear()
        part = await api.get(site.path, headers={"Range": "bytes=640000-640099", "If-Range": tag})
        assert (part.status, part.body) == (206, WAV[640_000:640_100])
        assert part.headers["Content-Range"] == f"bytes 640000-640099/{len(WAV)}"
        assert [(read.offset, read.length) for read in site.asked] == [(640_000, 100)]
        for other in ('"another"', f"W/{tag}", "Sun, 06 Nov 1994 08:49:37 GMT"):
            all_of_it = await api.get(site.path, headers={"Range": "bytes=0-99", "If-Range": other})
            assert (all_of_it.status, len(all_of_it.body)) == (200, len(WAV))
        behind = await api.get(site.path, headers={"Range": f"bytes={len(WAV)}-"})
        assert (behind.status, behind.headers["Content-Range"]) == (416, f"bytes */{len(WAV)}")


async def test_a_player_that_seeks_leaves_no_error(
    api: Api, settings: CentreSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_of(api, settings, tmp_path) as site:
        for _ in range(3):
            async with api.session.get("/api/v1" + site.path, headers={"Range": "bytes=44-"}) as response:
                assert await response.content.readexactly(100) == SAID[:100]
                response.close()
        assert (await api.get(site.path, headers={"Range": "bytes=44-143"})).body == SAID[:100]
    assert [record.message for record in caplog.records if record.name.startswith("aiohttp")] == []


async def test_a_flipped_byte_is_an_error_and_no_sound(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, settings, tmp_path) as site:
        data = bytearray(site.file.read_bytes())
        data[len(data) // 2] ^= 0x10
        site.file.write_bytes(data)
        middle = {"Range": f"bytes={len(WAV) // 2 - 10}-{len(WAV) // 2 + 10}"}
        damaged = await api.get(site.path, headers=middle)
        assert (damaged.status, damaged.error_id) == (409, "recording_damaged")
        with pytest.raises(aiohttp.ClientError):  # what went before the place has been sent
            await api.get(site.path)


async def test_a_player_reads_by_a_link(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, settings, tmp_path) as site, browser(api) as player:
        silent = await api.post(f"/recordings/{site.recording}/link", headers={"X-Purpose": ""})
        assert (silent.status, set(silent.fields)) == (422, {"X-Purpose"})
        made = await api.post(f"/recordings/{site.recording}/link", headers={"X-Purpose": "a complaint"})
        assert made.status == 201
        url = made.body["url"].removeprefix("/api/v1")
        assert "complaint" not in url
        part = await player.get(url, headers={"Range": "bytes=44-143"})
        assert (part.status, part.body) == (206, SAID[:100])
        assert part.headers["Referrer-Policy"] == "no-referrer"
        text = url.partition("link=")[2]
        for other in (
            site.path,
            f"{site.path}?link=",
            f"{site.path}?link={text[:-4]}AAAA",
            f"/recordings?link={text}",
            f"/recordings/{site.recording}?link={text}",
            f"/voicemails/{site.recording}/content?link={text}",
        ):
            assert (await player.get(other)).status == 401, other
        assert (await player.ask("DELETE", f"/recordings/{site.recording}?link={text}")).status == 401
    found = [(e["action"], e["outcome"], e["purpose"]) for e in (await entries(api))[-3:]]
    assert found == [
        ("recordings_link", "invalid", None),
        ("recordings_link", "done", "a complaint"),
        ("recordings_content", "read", "a complaint"),
    ]


async def test_a_link_is_good_no_longer_than_its_makers_token(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    """Nor than its own time; refusals are in the audit log, with whose link it was and why."""
    async with site_of(api, settings, tmp_path) as site, browser(api) as player:
        grants = [{"role": "supervisor"}]
        made = await api.made("/tokens", {"name": "Mia", "grants": grants})
        headers = {"Authorization": f"Bearer {made['token']}", "X-Purpose": "coaching"}
        link = await api.post(f"/recordings/{site.recording}/link", headers=headers)
        url = link.body["url"].removeprefix("/api/v1")
        assert (await player.get(url)).status == 200
        assert (await api.delete(f"/tokens/{made['token_id']}")).status == 204
        assert (await player.get(url)).status == 401
        last = (await entries(api))[-1]
        assert (last["outcome"], last["purpose"], last["caller"]) == ("link_expired", "coaching", "Mia")

        link = await api.post(f"/recordings/{site.recording}/link")
        path, _, text = link.body["url"].partition("?link=")
        box = secret_box.load(settings.state_dir / "secrets.key")
        known = recording_links.read(box, path, text)
        assert known is not None
        old, _ = recording_links.make(box, path, known.caller(), 0, now=1.0)
        assert (await player.get(f"{site.path}?link={old}")).status == 401
        assert (await entries(api))[-1]["outcome"] == "link_expired"


async def test_the_scope_of_a_links_maker_counts(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, settings, tmp_path) as site, browser(api) as player:
        made = await api.made("/tokens", {"name": "Elsewhere", "grants": [{"role": "supervisor", "regions": ["us"]}]})
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert (await api.post(f"/recordings/{site.recording}/link", headers=headers)).status == 404
        assert (await api.get(site.path, headers=headers)).status == 404
        engineer = await api.made("/tokens", {"name": "E", "grants": [{"role": "engineer"}]})
        refused = {"Authorization": f"Bearer {engineer['token']}"}
        assert (await api.post(f"/recordings/{site.recording}/link", headers=refused)).status == 403
        assert (await player.get(site.path)).status == 401
    outcomes = [(e["action"], e["outcome"]) for e in (await entries(api))[-4:]]
    assert ("recordings_link", "unknown_recording") in outcomes
    assert ("recordings_content", "unknown_recording") in outcomes
    assert ("recordings_link", "forbidden") in outcomes


async def test_an_erased_recording_is_not_opened_from_a_backup(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, settings, tmp_path) as site:
        backup = tmp_path / "backup"
        shutil.copy(site.file, backup)
        assert (await api.delete(f"/recordings/{site.recording}", headers={"X-Purpose": ""})).status == 422
        assert (await api.delete(f"/recordings/{site.recording}", headers={"X-Purpose": "asked for"})).status == 204
        assert not site.file.exists()
        shutil.copy(backup, site.file)
        assert (await api.get(site.path)).error_id == "unknown_recording"
        assert (await api.delete(f"/recordings/{site.recording}")).error_id == "unknown_recording"
    found = [(e["action"], e["outcome"], e["purpose"]) for e in await entries(api) if e["action"] == "recordings_erase"]
    assert found[:2] == [("recordings_erase", "invalid", None), ("recordings_erase", "asked", "asked for")]


async def test_a_pop_that_came_back_whole_from_a_backup_is_told_what_was_erased(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    """Files, key store and journal are all as before the erasure; only the centre remembers it."""
    async with site_of(api, settings, tmp_path) as site:
        assert site.linked is not None
        before = tmp_path / "before"
        KeyStore(tmp_path / KEY_STORE).copy_to(before)
        kept = site.file.read_bytes()
        assert await keeper.replay(site.vault, site.linked.link)
        call_id = CallId((await api.get(f"/recordings/{site.recording}")).body["call_id"])
        site.vault.erase(site.recording)
        await site.linked.journal.append(call_id, [ev.RecordingErased(at=START, recording_id=site.recording)])
        site.linked.link.events_waiting()
        await until(lambda: _discarded(api, site.recording))

        back = tmp_path / "back"
        shutil.copytree(tmp_path / "vault", back / "vault")
        (back / "vault" / "eu" / name_of(site.recording)).write_bytes(kept)
        shutil.copy(before, back / KEY_STORE)
        shutil.copy(tmp_path / "vault.keys", back)
        vault = fresh_vault(back, {"eu"})
        assert vault.read(site.recording, 0, 4)[0] == b"RIFF", "nobody at this POP knows better"
        assert await keeper.replay(vault, site.linked.link)
        with pytest.raises(KeyError):
            vault.read(site.recording, 0, 4)
        assert vault.erased_upto() > 0
        vault.settle()
        assert not (back / "vault" / "eu" / name_of(site.recording)).exists()


async def _discarded(api: Api, recording: str) -> bool:
    return bool((await api.get(f"/recordings/{recording}")).body["discarded"])
