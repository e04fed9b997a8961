"""A POP in a strict region and a centre elsewhere: the centre has keyed hashes; rights by number hold there, too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.services import minors
from pbx.controller.command_desk import CommandDesk
from pbx.domain.pseudonyms import Pseudonyms
from pbx.recording import region_keys
from tests.integration.centre import rights_world
from tests.integration.centre.rights_world import OTHER, PERSON, POP, WAV, Site, ended, everything, site_of
from tests.integration.centre.support import Api, until
from tests.integration.centre.test_audit import entries
from tests.integration.centre.test_erasure import TAIL, database, erase, holding
from tests.integration.centre.test_retention import POLICY, groups
from tests.integration.centre.test_rights import exported


class StrictSite(Site):
    def __init__(self, directory: Path, key: str, port: int) -> None:
        super().__init__(directory, key, port)
        self.pseudonyms = Pseudonyms(self.world.journal.secret())
        desk = self.world.pop.desk
        self.world.pop.desk = CommandDesk(
            desk.calls, desk.router, desk.callbacks, desk.parking, desk.placing, desk.engine, desk.vault,
            desk.journal, desk.clock, self.pseudonyms,
        )  # fmt: skip


@asynccontextmanager
async def strict_site(api: Api, directory: Path, port: int) -> AsyncIterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rights_world, "Site", StrictSite)
        async with site_of(api, directory, port) as site:
            yield site


def name_of(site: Site, number: str) -> str:
    return Pseudonyms(site.world.journal.secret()).of(number)


async def test_records_carry_keyed_hashes(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with strict_site(api, tmp_path / "pop", settings.bus_port) as site:
        name = name_of(site, PERSON)
        record = (await api.get(f"/calls/{site.own}")).body
        assert (record["cli"], record["did"], record["caller_country"]) == (name, "+49305550100", "DE")
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == name
        assert (await api.get(f"/voicemails/{site.voicemail}")).body["cli"] == name
        tables = await everything(database(centre))
        assert holding(tables, TAIL) == holding(tables, OTHER[1:]) == set(), "no number has left the POP"
        assert "of +" not in tables["events"], "nor what was looked up"
        assert site.journal_holds(PERSON)

        erasure_id = await erase(api)
        await ended(api, erasure_id, "done")
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == "erased"
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == "erased"
        tables = await everything(database(centre))
        assert holding({k: v for k, v in tables.items() if k != "erasure_steps"}, name) == set()
        assert not site.journal_holds(TAIL)
        assert not site.opens(site.recording)
        assert site.opens(site.other_recording)


async def test_an_export_has_what_the_pop_calls_the_number(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    """The POP is asked, and changes nothing; one that does not answer is named, and the export is not complete."""
    async with strict_site(api, tmp_path / "pop", settings.bus_port) as site:
        promise, others = site.promise(PERSON), site.promise(OTHER)
        await until(lambda: _there(api, f"/callbacks/{promise}", f"/callbacks/{others}"))
        archive = await exported(api)
        told, manifest = (json.loads(archive.read(f"{name}.json")) for name in ("export", "manifest"))
        assert told["pseudonyms"] == [{"pop_id": POP, "pseudonym": name_of(site, PERSON)}]
        assert [call["call_id"] for call in told["calls"]] == [site.own]
        assert [one["callback_id"] for one in told["callbacks"]] == [promise]
        assert [one["voicemail_id"] for one in told["voicemails"]] == [site.voicemail]
        assert {one["call_id"] for one in told["events"]} == {site.own, site.led, None}
        assert name_of(site, OTHER) not in archive.read("export.json").decode()
        files = {f"recordings/{one}.wav" for one in (site.recording, site.voicemail)}
        assert all(archive.read(name) == WAV for name in files)
        assert (told["not_heard"], manifest["not_heard"], manifest["complete"]) == ([], [], True)
        assert site.journal_holds(PERSON)
        assert len(site.world.pop.callbacks.promises.open) == 2

        await api.made("/regions", {"region_id": "us", "name": "US"})
        grants = [{"role": "compliance", "regions": ["us"]}]
        elsewhere = await api.made("/tokens", {"name": "Mia", "grants": grants})
        archive = await exported(api, Authorization=f"Bearer {elsewhere['token']}")
        told = json.loads(archive.read("export.json"))
        assert (told["pseudonyms"], told["not_heard"], told["calls"]) == ([], [], []), (
            "no POP of another region is asked"
        )

        await site.disconnect()
        site.link = None
        archive = await exported(api)
        told, manifest = (json.loads(archive.read(f"{name}.json")) for name in ("export", "manifest"))
        assert manifest["not_heard"] == told["not_heard"] == [{"pop_id": POP, "why": "pop_unreachable"}]
        assert (manifest["complete"], told["calls"]) == (False, [])
    found = [entry["outcome"] for entry in await entries(api) if entry["action"] == "exports_export"]
    assert found == ["read"] * 3, "asking changes nothing, and is not noted as if it did"


async def test_a_held_number_is_held_there_too(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with strict_site(api, tmp_path / "pop", settings.bus_port) as site:
        promise = await site.old_promise(PERSON)
        await until(lambda: _there(api, f"/callbacks/{promise}"))
        hold = await api.made("/holds", {"number": PERSON, "reason": "claim", "authority": "LG Berlin"})
        for kind in ("recording", "voicemail", "cdr", "consent_evidence"):
            await api.made("/retention-policies", {**POLICY, "policy_id": kind.replace("_", "-"), "kind": kind})
        for path in (f"/recordings/{site.recording}", f"/voicemails/{site.voicemail}"):
            assert (await api.delete(path)).error_id == "held"
        await site.disconnect()
        site.link = None
        assert (await api.delete(f"/recordings/{site.recording}")).error_id == "pop_unreachable"
        plan = (await api.get("/retention-plan")).body
        assert [one["held"] for one in groups(plan, "recording")] == [0], "nobody says whose they are"
        done = (await api.post("/retention-runs")).body
        for kind in ("recording", "voicemail", "cdr", "callback", "consent_evidence"):
            [one] = groups(done, kind)
            assert (one["gone"], one["failed"], one["due"] > 0) == (0, one["due"], True), kind
        await site.connect()
        plan = (await api.get("/retention-plan")).body
        found = {kind: groups(plan, kind)[0]["held"] for kind in ("recording", "voicemail", "cdr", "callback")}
        assert found == {"recording": 1, "voicemail": 1, "cdr": 1, "callback": 1}
        await api.post("/retention-runs")
        assert (site.opens(site.recording), site.opens(site.other_recording)) == (True, False)
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == name_of(site, PERSON)
        assert (await api.get(f"/calls/{site.others}")).body["cli"] == "erased", "no keyed hash is left either"

        await api.post(f"/holds/{hold['hold_id']}/lift", {"why": "settled"})
        await api.post("/retention-runs")
        assert not site.opens(site.recording)
        tables = await everything(database(centre))
        assert holding(tables, name_of(site, PERSON)) == holding(tables, name_of(site, OTHER)) == set()
        assert not site.journal_holds(PERSON), "nor are the numbers at the POP"
        assert not site.journal_holds(OTHER)


async def test_a_marked_number_is_a_minors_there_too(
    api: Api, settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minors, "EVERY_S", 0.2)
    async with strict_site(api, tmp_path / "pop", settings.bus_port) as site:
        path = f"/recordings/{site.recording}/content"
        assert (await api.get(path)).status == 200
        await api.made("/minor-marks", {"number": PERSON, "why": "her guardian called"})
        assert (await api.get(path)).status == 422, "before the POP has done its part"
        region_keys.add(site.directory / "vault.keys", "eu-minors")
        await until(lambda: all(map(site.world.vault.is_protected, (site.recording, site.voicemail))))
        assert not site.world.vault.is_protected(site.other_recording)
        assert (await api.get(f"/recordings/{site.other_recording}/content")).status == 200
        assert (await api.get(path, headers={"X-Minor-Purpose": "she asked"})).body == WAV


async def _there(api: Api, *paths: str) -> Any:
    return all([(await api.get(path)).status == 200 for path in paths])
