"""What is past its time goes, each day; what should have gone and did not is an alarm."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from orchestrator.adapters.db.models import EventRow
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.services.rebuild import rebuild
from orchestrator.services.retention import Retention
from pbx.domain.ids import CallId, derive
from tests.integration.centre.conftest import running
from tests.integration.centre.rights_world import DID, OTHER, PERSON, everything, site_of
from tests.integration.centre.support import Api, until
from tests.integration.centre.terminal import Terminal
from tests.integration.centre.test_erasure import database, holding
from tests.integration.centre.test_erasure_killed import client
from tests.support.ports import free_port

POLICY = {"policy_id": "audio", "kind": "recording", "keep_days": 30, "why": "quality"}


def groups(report: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in report["groups"] if one["kind"] == kind]


def alarms(report: dict[str, Any]) -> set[str]:
    return {one["what"] for one in report["alarms"]}


async def test_what_is_due_goes_and_the_rest_stays(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await api.made("/retention-policies", POLICY)
        hold = {"recording_id": site.other_recording, "reason": "claim", "authority": "LG Berlin"}
        await api.made("/holds", hold)
        plan = (await api.get("/retention-plan")).body
        [audio] = groups(plan, "recording")
        assert (audio["country"], audio["queue_id"], audio["days"]) == ("DE", "sales", 30)
        assert (audio["decided_by"], audio["why"]) == ("policy audio", "quality")
        assert (audio["due"], audio["held"], audio["gone"]) == (1, 1, 0)
        assert [one["id"] for one in plan["items"]] == [site.recording]
        assert [one["decided_by"] for one in groups(plan, "voicemail")] == ["default"]
        assert alarms(plan) == {"not_erasing"}
        assert site.opens(site.recording), "a plan changes nothing"

        done = (await api.post("/retention-runs", headers={"X-Purpose": "by hand"})).body
        [audio] = groups(done, "recording")
        assert (audio["due"], audio["gone"], audio["held"], audio["failed"]) == (1, 1, 1, 0)
        assert (site.opens(site.recording), site.opens(site.other_recording), site.opens(site.voicemail)) == (
            False,
            True,
            True,
        )
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == PERSON, "its record has more time"
        assert (await api.get("/retention-runs")).body["items"][0] == done

        await api.made("/retention-policies", {**POLICY, "policy_id": "records", "kind": "cdr"})
        before = (await api.get("/reports/figures")).body
        cleared = (await api.post("/retention-runs")).body
        [records] = groups(cleared, "cdr")
        assert (records["gone"], records["held"]) == (2, 1), "the held recording keeps the record of its call"
        assert (await api.get(f"/calls/{site.own}")).body["cli"] == "erased"
        assert (await api.get(f"/calls/{site.others}")).body["cli"] == OTHER
        assert (await api.get("/reports/figures")).body == before
        assert not site.journal_holds(PERSON), "the POP's journal has lost it, too"
        await rebuild(database(centre))
        assert holding(await everything(database(centre)), PERSON[1:]) == set()
        [records] = groups((await api.post("/retention-runs")).body, "cdr")
        assert (records["gone"], records["held"]) == (0, 1), "once"


async def test_callbacks_and_callers_without_a_number(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    """Closed callbacks are kept as long as records; of who called without a number goes what was keyed in, too."""
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        nobody = CallId(derive(site.at, "call", "nobody"))
        await site.call(nobody, "withheld", None)
        old, held, still_open = (
            await site.old_promise(PERSON),
            await site.old_promise(OTHER, site.others),
            site.promise(PERSON),
        )
        await until(lambda: _known(api, f"/callbacks/{still_open}", f"/calls/{nobody}"))
        await api.made("/retention-policies", {**POLICY, "policy_id": "none", "kind": "recording", "country": "FR"})
        [callbacks] = groups((await api.get("/retention-plan")).body, "callback")
        assert (callbacks["decided_by"], callbacks["days"], callbacks["kept"]) == ("default", 730, 2)
        await api.made("/retention-policies", {**POLICY, "policy_id": "records", "kind": "cdr"})
        await api.made("/holds", {"call_id": site.others, "reason": "claim", "authority": "LG Berlin"})
        plan = (await api.get("/retention-plan")).body
        [callbacks] = groups(plan, "callback")
        assert (callbacks["country"], callbacks["queue_id"], callbacks["decided_by"]) == (
            "DE",
            "sales",
            "policy records",
        )
        assert (callbacks["due"], callbacks["held"], callbacks["kept"]) == (1, 1, 0), "an open one has no time"
        assert [one["id"] for one in plan["items"] if one["kind"] == "callback"] == [old]
        assert plan["matched"]["records"] == 6, "four calls and two callbacks"
        assert '"digit":"7"' in await _events(centre, nobody)

        done = (await api.post("/retention-runs")).body
        [callbacks] = groups(done, "callback")
        assert (callbacks["gone"], callbacks["held"]) == (1, 1)
        for promise, number in ((old, "erased"), (held, OTHER), (still_open, PERSON)):
            assert (await api.get(f"/callbacks/{promise}")).body["number"] == number
        kept = {one.kind: str(bytes(one.data)) for one in site.world.journal.read_call(nobody)}
        assert ('"digit":"?"' in kept["DigitPressed"], '"values":{}' in kept["LookupEnded"]) == (True, True)
        assert DID in kept["LegOffered"]
        assert '"digit":"7"' not in await _events(centre, nobody)
        requested = site.world.journal._db.execute(
            "SELECT data FROM events WHERE kind = 'CallbackRequested' ORDER BY seq"
        )
        numbers = [json.loads(data)["number"] for (data,) in requested]
        assert sorted(numbers) == sorted(["erased", OTHER, PERSON])
        await rebuild(database(centre))
        assert (await api.get(f"/callbacks/{old}")).body["number"] == "erased"
        assert groups((await api.post("/retention-runs")).body, "callback")[0]["gone"] == 0, "once"


async def _known(api: Api, *paths: str) -> bool:
    return all([(await api.get(path)).status == 200 for path in paths])


async def _events(centre: tuple[Centre, str], call_id: str) -> str:
    async with database(centre).read() as session:
        rows = await session.scalars(select(EventRow.data).where(EventRow.call_id == call_id))
        return "\n".join(rows)


async def test_a_pop_that_is_away_loses_nothing_of_it(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await api.made("/retention-policies", POLICY)
        await site.disconnect()
        site.link = None
        [audio] = groups((await api.post("/retention-runs")).body, "recording")
        assert (audio["due"], audio["gone"], audio["failed"]) == (2, 0, 2)
        assert audio["oldest_kept_at"] == "2026-09-21T14:13:30Z"
        await site.connect()
        [audio] = groups((await api.post("/retention-runs")).body, "recording")
        assert (audio["gone"], audio["failed"], audio["oldest_kept_at"]) == (2, 0, None)
        assert not site.opens(site.recording)


async def test_evidence_stays_as_long_as_what_it_is_for(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await api.made("/retention-policies", {**POLICY, "kind": "consent_evidence"})
        assert [one["gone"] for one in groups((await api.post("/retention-runs")).body, "consent_evidence")] == [1]
        evidence = (await api.get(f"/calls/{site.own}")).body["consents"][0]
        assert evidence["prompt_sha256"] == "ab" * 32, "its recording is there"
        gone = (await api.get(f"/calls/{site.led}")).body["consents"][0]
        assert (gone["granted"], gone["regime"], gone["prompt_sha256"], gone["digit"]) == (True, "opt_in", "", None)


async def test_a_policy_that_matches_nothing_is_an_alarm(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    """Where there is something that it might have matched; and what a run passed over that should have gone."""
    await api.made("/retention-policies", {**POLICY, "policy_id": "empty"})
    assert alarms((await api.get("/retention-plan")).body) == set(), "there is nothing yet"
    assert (await api.delete("/retention-policies/empty")).status == 204
    async with site_of(api, tmp_path / "pop", settings.bus_port):
        for policy_id, more in (("typo", {"queue_id": "slaes"}), ("france", {"country": "FR"}), ("good", {})):
            await api.made("/retention-policies", {**POLICY, "policy_id": policy_id, "keep_days": 365, **more})
        plan = (await api.get("/retention-plan")).body
        found = {(one["what"], one["policy_id"]) for one in plan["alarms"]}
        assert found == {("unknown_queue", "typo"), ("matches_nothing", "france")}
        assert plan["matched"] == {"typo": 0, "france": 0, "good": 2}
        body = {name: value for name, value in POLICY.items() if name != "policy_id"}
        assert (await api.put("/retention-policies/typo", {**body, "enabled": False})).status == 200
        plan = (await api.get("/retention-plan")).body
        assert alarms(plan) == {"matches_nothing"}


async def test_the_daily_run(settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, and in the metrics; later, when runs passed a recording over, that is an alarm."""
    port = free_port()
    more = settings.model_copy(update={"retention": "erase", "metrics_port": port})
    made: list[Retention] = []
    once = Retention.once

    async def noted(self: Retention, *, erase: bool, pauses: float = 0.0) -> Any:
        made.append(self)
        return await once(self, erase=erase, pauses=pauses)

    monkeypatch.setattr("orchestrator.services.retention.LOOK_S", 0.1)
    monkeypatch.setattr(Retention, "once", noted)
    async with running(more) as (centre, said), client(centre, said) as api:
        await until(lambda: made)
        async with site_of(api, tmp_path / "pop", more.bus_port) as site:
            retention = made[0]
            assert retention.erases
            first = await until(lambda: _runs(api))
            assert (len(first), first[0]["erased"], first[0]["groups"]) == (1, True, [])
            retention._clock = lambda: time.time() + 150 * 86_400
            monkeypatch.setattr("orchestrator.services.retention_items._SOUNDS", {"recording": "x", "voicemail": "y"})
            report = (await retention.once(erase=True)).report
            assert alarms(report) == set(), "no run has been late yet"
            report = (await retention.once(erase=True)).report
            assert alarms(report) == {"overdue"}, "the runs do not see the recordings, the records do"
            assert site.opens(site.recording)
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as page:
                text = await page.text()
            assert "callplane_retention_alarms 1.0" in text
            assert 'callplane_retention_things{kind="cdr",state="due"} 0.0' in text
            monkeypatch.undo()
            report = (await retention.once(erase=True)).report
            assert [one["gone"] for one in groups(report, "recording")] == [2]
            assert not site.opens(site.recording)

            async def quiet() -> bool:
                return "overdue" not in alarms(await retention.plan())

            await until(quiet)  # the POP's word that they are erased takes a moment


async def _runs(api: Api) -> Any:
    return (await api.get("/retention-runs")).body["items"]


async def test_policies(api: Api) -> None:
    made = await api.made("/retention-policies", {**POLICY, "country": "FR"})
    assert (made["country"], made["enabled"]) == ("FR", True)
    assert (await api.post("/retention-policies", POLICY)).error_id == "retention_policy_exists"
    assert [one["policy_id"] for one in (await api.get("/retention-policies?country=FR")).body["items"]] == ["audio"]
    assert (await api.get("/retention-policies?kind=cdr")).body["items"] == []
    for wrong in ({"keep_days": 0}, {"kind": "all"}, {"why": " "}, {"country": "fr"}):
        assert (await api.post("/retention-policies", {**POLICY, "policy_id": "x", **wrong})).status == 422
    assert (await api.post("/retention-runs", headers={"X-Purpose": ""})).status == 422


async def test_from_the_command_line(api: Api, terminal: Terminal, settings: CentreSettings, tmp_path: Path) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        spec = tmp_path / "policy.yml"
        spec.write_text("policy_id: audio\nkind: recording\nkeep_days: 30\nwhy: quality\n")
        assert (await terminal("retention", "create", "--file", str(spec))).code == 0
        assert (await terminal("retention")).rows[0][:2] == ["audio", "recording"]
        said = await terminal("retention", "plan", "--items")
        assert {row[1] for row in said.rows} == {site.recording, site.other_recording}, said.err
        assert "ALARM" in said.err
        said = await terminal("retention", "plan", "--json")
        assert [one["due"] for one in groups(said.json, "recording")] == [2]
        said = await terminal("retention", "run", "--purpose", "by hand")
        assert said.code == 0, said.err
        assert not site.opens(site.recording)
        assert (await terminal("retention", "runs")).rows[0][0], "a table"


async def test_a_hold_on_a_recording_holds_no_other_of_its_call(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        for kind in ("recording", "voicemail"):
            await api.made("/retention-policies", {**POLICY, "policy_id": kind, "kind": kind})
        await api.made("/holds", {"recording_id": site.recording, "reason": "claim", "authority": "LG Berlin"})
        await api.post("/retention-runs")
        assert (site.opens(site.recording), site.opens(site.voicemail)) == (True, False)
