"""Export of a number's data; legal holds; who may, and within which scope."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.services.rebuild import rebuild
from tests.integration.centre.access_world import make_world
from tests.integration.centre.rights_world import (
    OTHER,
    PERSON,
    WAV,
    ended,
    everything,
    messages,
    site_of,
)
from tests.integration.centre.support import Api, until
from tests.integration.centre.terminal import Terminal
from tests.integration.centre.test_audit import entries
from tests.integration.centre.test_erasure import TAIL, database, erase, holding


async def exported(api: Api, **headers: str) -> zipfile.ZipFile:
    answer = await api.post("/exports", {"number": PERSON}, headers={"X-Purpose": "asked for", **headers})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/zip"), answer.body
    return zipfile.ZipFile(io.BytesIO(answer.body))


async def test_all_of_a_number_in_one_archive(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await messages(api, centre[0], site)
        promise = site.promise(PERSON)
        site.promise(OTHER)
        await until(lambda: _status(api, f"/callbacks/{promise}", 200))
        archive = await exported(api)
        assert archive.testzip() is None
        files = {f"recordings/{one}.wav" for one in (site.recording, site.voicemail)}
        assert set(archive.namelist()) == {"export.json", "schema.json", "manifest.json", *files}
        assert all(archive.read(name) == WAV for name in files)
        told = json.loads(archive.read("export.json"))
        jsonschema_rs.validate(json.loads(archive.read("schema.json")), told)
        assert [call["call_id"] for call in told["calls"]] == [site.own]
        assert told["calls"][0]["consents"][0]["prompt_sha256"] == "ab" * 32
        assert told["calls"][0]["wait_s"] == 4
        assert [one["callback_id"] for one in told["callbacks"]] == [promise]
        assert [one["voicemail_id"] for one in told["voicemails"]] == [site.voicemail]
        assert [one["state"] for one in told["messages"]] == ["waiting", "delivered"]
        led = [one for one in told["events"] if one["call_id"] == site.led]
        assert [one["kind"] for one in led] == ["ForwardStarted"], "of somebody else's call what names the number"
        assert OTHER not in archive.read("export.json").decode()
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["complete"] is True
        assert manifest["sha256_of_export"] == hashlib.sha256(archive.read("export.json")).hexdigest()
        await site.disconnect()
        site.link = None
        without = await exported(api)
        manifest = json.loads(without.read("manifest.json"))
        assert (manifest["complete"], {one["why_missing"] for one in manifest["recordings"]}) == (
            False,
            {"pop_unreachable"},
        )
        assert (await api.post("/exports", {"number": PERSON}, headers={"X-Purpose": ""})).status == 422
        assert set((await api.post("/exports?purpose=", {"number": PERSON})).fields) == {"purpose"}
    found = [(e["outcome"], e["purpose"], e["thing"]) for e in await entries(api) if e["action"] == "exports_export"]
    assert found == [("read", "asked for", "exports")] * 2 + [("invalid", None, "exports")] * 2
    assert TAIL not in str(await entries(api))


async def _status(api: Api, path: str, wanted: int) -> bool:
    return (await api.get(path)).status == wanted


async def test_a_hold_on_a_number_keeps_everything_and_says_so(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        hold = await api.made("/holds", {"number": PERSON, "reason": "claim 4711", "authority": "LG Berlin"})
        assert TAIL not in json.dumps(hold)
        for path in (f"/recordings/{site.recording}", f"/voicemails/{site.voicemail}"):
            refused = await api.delete(path)
            assert (refused.status, refused.error_id) == (409, "held")
            assert hold["hold_id"] in refused.body["detail"]
        before = await everything(database(centre))
        erasure_id = await erase(api)
        held = await ended(api, erasure_id, "held")
        body = (await api.get(f"/erasures/{erasure_id}/certificate")).body["certificate"]
        assert (body["result"], body["destroyed"]) == ("refused", [])
        assert [(one["hold"], one["authority"]) for one in body["held"]] == [(hold["hold_id"], "LG Berlin")]
        after = await everything(database(centre))
        assert {name: after[name] for name in ("events", "calls", "recordings")} == {
            name: before[name] for name in ("events", "calls", "recordings")
        }
        assert site.opens(site.recording)
        assert held["steps"] == {}

        assert (await api.post(f"/erasures/{erasure_id}/continue")).body["state"] == "running"
        await until(lambda: _issue(api, erasure_id, 2))
        lifted = await api.post(f"/holds/{hold['hold_id']}/lift", {"why": "settled"})
        assert (lifted.body["lifted_by"], lifted.body["lifted_why"]) == (hold["created_by"], "settled")
        assert (await api.post(f"/holds/{hold['hold_id']}/lift", {"why": "again"})).error_id == "lifted"
        assert (await api.post(f"/erasures/{erasure_id}/continue")).status == 200
        await ended(api, erasure_id, "done")
        assert (await api.post(f"/erasures/{erasure_id}/continue")).error_id == "not_held"
        assert not site.opens(site.recording)
        left = holding(await everything(database(centre)))
        assert left == set(), left
    audited = [(e["action"], e["outcome"]) for e in await entries(api) if e["action"].startswith("holds_")]
    assert audited == [("holds_place", "done"), ("holds_lift", "done"), ("holds_lift", "lifted")]


async def _issue(api: Api, erasure_id: str, issue: int) -> bool:
    found = await api.get(f"/erasures/{erasure_id}/certificate")
    return bool(found.body["certificate"]["issue"] == issue)


async def test_a_hold_on_a_recording_keeps_it_and_its_record_the_rest_goes(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        spec = {"recording_id": site.recording, "reason": "claim", "authority": "LG Berlin"}
        hold = await api.made("/holds", spec)
        assert hold["call_id"] == site.own
        erasure_id = await erase(api)
        shown = await ended(api, erasure_id, "held")
        assert {(one["kind"], one["id"], one["why"]) for one in shown["waits_for"]} == {
            ("recording", site.recording, hold["hold_id"]),
            ("call", site.own, hold["hold_id"]),
        }
        assert (site.opens(site.recording), site.opens(site.voicemail)) == (True, False)
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == PERSON
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == "erased"
        body = (await api.get(f"/erasures/{erasure_id}/certificate")).body["certificate"]
        assert body["result"] == "refused in part"
        assert [one["id"] for one in body["destroyed"]] == [site.voicemail]
        await api.post(f"/holds/{hold['hold_id']}/lift", {"why": "settled"})
        await api.post(f"/erasures/{erasure_id}/continue")
        await ended(api, erasure_id, "done")
        assert not site.opens(site.recording)
        assert holding(await everything(database(centre))) == set()


async def test_within_the_scope_of_who_asks(api: Api, centre: tuple[Centre, str]) -> None:
    """Each place has calls of a customer of its own; here all of them are one and the same."""
    world = await make_world(api, centre[0])
    own = world.places["sales", "eu"]
    number = "+4930666" + own.ids["number"][-4:]

    async def told(*grants: dict[str, Any]) -> set[str]:
        headers = {**await world.token(*grants), "X-Purpose": "asked for"}
        answer = await api.post("/exports", {"number": number}, headers=headers)
        assert answer.status == 200
        export = json.loads(zipfile.ZipFile(io.BytesIO(answer.body)).read("export.json"))
        return {call["call_id"] for call in export["calls"]}

    mine = {own.ids["call_id"]}
    assert await told({"role": "compliance"}) == mine
    assert await told({"role": "compliance", "units": ["sales"], "regions": ["eu"]}) == mine
    assert await told({"role": "compliance", "units": ["billing"]}) == set()
    assert await told({"role": "compliance", "regions": ["us"]}) == set()
    supervisor = await world.token({"role": "supervisor"})
    assert (await api.post("/exports", {"number": number}, headers=supervisor)).status == 403
    limited = await world.token({"role": "compliance", "units": ["sales"]})
    why = {"reason": "r", "authority": "a"}
    assert (await api.post("/holds", {"number": number, **why}, headers=limited)).status == 403
    elsewhere = {"recording_id": world.places["billing", "eu"].ids["recording_id"], **why}
    assert (await api.post("/holds", elsewhere, headers=limited)).status == 404
    limited = await world.token({"role": "compliance", "units": ["billing"]})
    made = await api.post("/erasures", {"number": number}, headers=limited)
    assert made.status == 201
    await until(lambda: _state(api, made.body["erasure_id"]))
    assert (await api.get(f"/calls/{own.ids['call_id']}")).body["cli"] == number, "it is not of that unit"
    other = await world.token({"role": "compliance", "units": ["sales"]})
    assert (await api.get(f"/erasures/{made.body['erasure_id']}", headers=other)).status == 404


async def _state(api: Api, erasure_id: str) -> bool:
    return bool((await api.get(f"/erasures/{erasure_id}")).body["state"] == "done")


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "r", "authority": "a"},
        {"number": PERSON, "call_id": "0" * 26, "reason": "r", "authority": "a"},
        {"number": PERSON, "reason": " ", "authority": "a"},
        {"number": PERSON, "reason": "r", "authority": "a", "until": "2020-01-01T00:00:00Z"},
    ],
)
async def test_holds_that_are_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.post("/holds", body)).status == 422


async def test_a_call_is_rectified(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    """Whose call it was counts everywhere, also after a new projection, and for the rights of both."""
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        path = f"/calls/{site.others}/correction"
        assert (await api.get(path)).body["number"] is None
        assert (await api.put(path, {"name": "Ada"}, headers={"X-Purpose": ""})).status == 422
        spec = {"number": PERSON, "name": "Ada", "note": "called from a friend's phone"}
        made = await api.put(path, spec)
        assert {name: made.body[name] for name in spec} == spec
        assert (await api.get(f"/calls/{site.others}")).body["cli"] == PERSON
        await rebuild(database(centre))
        assert (await api.get(f"/calls/{site.others}")).body["cli"] == PERSON
        told = json.loads((await exported(api)).read("export.json"))
        assert {call["call_id"] for call in told["calls"]} == {site.own, site.others}
        assert [one["name"] for one in told["corrections"]] == ["Ada"]
        await ended(api, await erase(api), "done")
        assert (await api.get(f"/calls/{site.others}")).body["cli"] == OTHER, "what the carrier said is somebody else's"
        assert not site.opens(site.other_recording), "and the recording was of the person"
        assert holding(await everything(database(centre))) == set()
        assert (await api.put(path, {})).status == 200
    found = [e["changes"] for e in await entries(api) if e["action"] == "corrections_put" and e["outcome"] == "done"]
    assert any("new corrections/" in change for change in found[0])


async def test_from_the_command_line(api: Api, terminal: Terminal, settings: CentreSettings, tmp_path: Path) -> None:
    number, certificate, key = tmp_path / "number", tmp_path / "certificate.json", tmp_path / "key"
    number.write_text(PERSON + "\n")
    right = tmp_path / "right.yml"
    right.write_text("name: Ada\n")
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        out = tmp_path / "export.zip"
        asked = ("--number-file", str(number), "--purpose", "asked for")
        said = await terminal("rights", "export", str(out), *asked)
        assert (said.code, said.out.strip()) == (0, str(out)), said.err
        assert f"recordings/{site.recording}.wav" in zipfile.ZipFile(out).namelist()
        assert "not heard" not in said.err
        said = await terminal("rights", "rectify", site.own, "--file", str(right), "--purpose", "asked for")
        assert (said.code, (await api.get(f"/calls/{site.own}/correction")).body["name"]) == (0, "Ada"), said.err
        said = await terminal("rights", "erase", *asked, "--certificate", str(certificate))
        assert (said.code, "done" in said.out) == (0, True), said.err
        key.write_text((await terminal("rights", "key")).out)
        said = await terminal("rights", "verify", str(certificate), "--key", str(key))
        assert (said.code, site.recording in said.out) == (0, True), said.err
        document = json.loads(certificate.read_text())
        document["certificate"]["destroyed"] = []
        certificate.write_text(json.dumps(document))
        said = await terminal("rights", "verify", str(certificate), "--key", str(key))
        assert (said.code, "does not say what the centre signed" in said.err) == (1, True)
        await site.disconnect()
        site.link = None
        said = await terminal("rights", "export", str(tmp_path / "away.zip"), *asked)
        assert (said.code, "POP de-1 was not heard (pop_unreachable)" in said.err) == (0, True), said.err
        said = await terminal("rights", "erase", "--number-file", str(number))
        assert (said.code, "--purpose" in said.err) == (2, True)
