"""A number erased everywhere: nothing of it is left, nothing brings it back, and a certificate says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.db.engine import Database
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.domain import certificates
from orchestrator.services.rebuild import rebuild
from pbx.domain.ids import CallId, RecordingId, derive
from tests.integration.centre.rights_world import (
    OTHER,
    PERSON,
    POP,
    Site,
    ended,
    everything,
    messages,
    site_of,
)
from tests.integration.centre.support import Api, until
from tests.integration.centre.test_audit import entries

TAIL = PERSON[4:]
"""How every way to write it ends."""


def database(centre: tuple[Centre, str]) -> Database:
    assert centre[0].database is not None
    return centre[0].database


def holding(tables: dict[str, str], text: str = TAIL) -> set[str]:
    return {name for name, rows in tables.items() if text in rows}


async def erase(api: Api) -> str:
    made = await api.made("/erasures", {"number": PERSON})
    return str(made["erasure_id"])


async def test_erased_everywhere_and_nothing_brings_it_back(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        webhook_id = await messages(api, centre[0], site)
        promise, others_promise = site.promise(PERSON), site.promise(OTHER)
        await until(lambda: _known(api, promise))
        backup = tmp_path / "backup.sealed"
        shutil.copy(site.file(site.recording), backup)
        before = await everything(database(centre))
        assert holding(before) >= {"events", "calls", "voicemails", "callbacks", "report_facts", "webhook_deliveries"}
        figures = (await api.get("/reports/figures")).body

        erasure = await ended(api, await erase(api), "done")
        assert erasure["steps"] == {"done": sum(erasure["steps"].values())}
        after = await everything(database(centre))
        assert holding(after) == set()
        assert "of " + PERSON not in after["events"]
        assert "of " + OTHER in after["events"]
        assert holding(after, OTHER) == holding(before, OTHER)
        assert not site.journal_holds(TAIL)
        assert site.journal_holds(OTHER)
        record = (await api.get(f"/calls/{site.own}")).body
        assert (record["cli"], record["queue_id"], record["consents"][0]["granted"]) == ("erased", "sales", True)
        assert (await api.get(f"/calls/{site.led}")).body["forwards"][0]["number"] == "erased"
        assert (await api.get("/reports/figures")).body == figures
        assert (await api.get(f"/callbacks/{promise}")).body["state"] == "cancelled"
        assert (await api.get(f"/callbacks/{others_promise}")).body["state"] == "waiting"

        await rebuild(database(centre))
        assert holding(await everything(database(centre))) == set()
        assert (await api.get(f"/calls/{site.own}")).body == record

        assert not site.opens(site.recording)
        assert not site.opens(site.voicemail)
        assert site.opens(site.other_recording)
        shutil.copy(backup, site.file(site.recording))
        assert not site.opens(site.recording), "the file came back from a backup, its key did not"
        for path in (f"/recordings/{site.recording}/content", f"/voicemails/{site.voicemail}/content"):
            assert (await api.get(path)).status == 404
        assert (await api.get(f"/recordings/{site.other_recording}/content")).status == 200

        document = (await api.get(f"/erasures/{erasure['erasure_id']}/certificate")).body
        body = certificates.verify(document, (await api.get("/certificate-key")).body["public_key"])
        assert TAIL not in json.dumps(document)
        assert body["result"] == "erased"
        destroyed = {item["id"] for item in body["destroyed"] if "id" in item}
        assert destroyed == {site.recording, site.voicemail}
        assert {item["what"] for item in body["replaced"]} == {"call", "callback", "journal", "unreadable batches"}
        assert {item["where"] for item in body["replaced"]} == {"centre", f"POP {POP}"}
        assert body["recipients"] == [{"webhook": webhook_id, "url": "https://crm.example.org", "messages": 1}]
        text = await api.get(f"/erasures/{erasure['erasure_id']}/certificate/text")
        assert f"Result        erased, {body['completed_at']}" in text.body.decode()
    found = [(e["action"], e["outcome"], e["purpose"]) for e in await entries(api) if e["action"] == "erasures_request"]
    assert found == [("erasures_request", "done", "a test")]


async def _known(api: Api, callback_id: str) -> bool:
    return (await api.get(f"/callbacks/{callback_id}")).status == 200


async def test_a_pop_that_is_away_does_its_part_when_it_is_back(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    """Also of a call of which the centre had not heard, and of a recording of it."""
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await site.disconnect()
        unheard, recording = CallId(derive(site.at, "unheard")), RecordingId(derive(site.at, "recording", "unheard"))
        site.link = None
        await site.call(unheard, PERSON, recording)
        erasure_id = await erase(api)
        assert (await api.get(f"/erasures/{erasure_id}/certificate")).error_id == "not_finished"

        async def waits() -> Any:
            found = (await api.get(f"/erasures/{erasure_id}")).body["waits_for"]
            return {(one["kind"], one["why"]) for one in found} == {
                ("pop", "pop_unreachable"), ("recording", "pop_unreachable"),
            }  # fmt: skip

        await until(waits)
        assert site.opens(site.recording)
        assert holding(await everything(database(centre))) == set(), "the centre's part is done"
        await site.connect()
        await ended(api, erasure_id, "done")
        assert (await api.get(f"/calls/{unheard}")).body["cli"] == "erased"
        assert (site.opens(site.recording), site.opens(recording)) == (False, False)
        assert not site.journal_holds(TAIL)
        assert holding(await everything(database(centre))) == set()


async def test_what_comes_in_later_of_before_is_erased_on_its_way(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    """A journal that came back from a backup: its events are new to the centre, and tell of the number."""
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        erasure_id = await erase(api)
        first = await ended(api, erasure_id, "done")
        late, recording = CallId(derive(site.at, "late")), RecordingId(derive(site.at, "recording", "late"))
        await site.call(late, PERSON, recording)

        async def erased() -> bool:
            return (await api.get(f"/calls/{late}")).status == 200 and not site.opens(recording)

        await until(erased)
        again = await until(lambda: _issued(api, erasure_id, 2))
        assert again["erasure_id"] == first["erasure_id"]
        assert holding(await everything(database(centre))) == set()
        assert not site.journal_holds(TAIL)


async def _issued(api: Api, erasure_id: str, issue: int) -> Any:
    found = await api.get(f"/erasures/{erasure_id}/certificate")
    body = found.body["certificate"] if found.status == 200 else {}
    return body if body.get("issue") == issue else None


async def test_a_live_call_is_waited_for(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        live = CallId(derive(site.at, "live"))
        await site.call(live, PERSON, None, over=False)
        await until(lambda: _is_call(api, live))
        erasure_id = await erase(api)

        async def waits() -> Any:
            found = (await api.get(f"/erasures/{erasure_id}")).body["waits_for"]
            return {(one["kind"], one["why"]) for one in found} == {
                ("call", "live"),
                ("pop", "live"),
                ("deliveries", "calls"),
            }

        await until(waits)
        again = await api.post("/erasures", {"number": PERSON})
        assert (again.status, again.body["erasure_id"]) == (201, erasure_id), "it is not begun twice"
        await site.world.journal.append(live, [_end(site)])
        await ended(api, erasure_id, "done")
        assert (await api.get(f"/calls/{live}")).body["cli"] == "erased"
        assert holding(await everything(database(centre))) == set()


async def _is_call(api: Api, call: str) -> bool:
    return (await api.get(f"/calls/{call}")).status == 200


def _end(site: Site) -> Any:
    from pbx.domain import events as ev
    from pbx.domain.hangup_cause import HangupCause

    why, cause = ev.EndReason.CALLER_HUNG_UP, HangupCause.NORMAL_CLEARING
    return ev.CallEnded(at=site.at + 90, ended_at=site.at + 90, reason=why, cause=cause)


@pytest.mark.parametrize(
    ("number", "purpose", "field"),
    [
        ("017012345678", "asked for", "number"),
        ("+49305550100", "asked for", "number"),
        (PERSON, "", "X-Purpose"),
        (PERSON, "he called from 0170 12345678", "X-Purpose"),
    ],
)
async def test_what_is_refused(api: Api, number: str, purpose: str, field: str) -> None:
    await api.new_site()
    refused = await api.post("/erasures", {"number": number}, headers={"X-Purpose": purpose})
    assert (refused.status, set(refused.fields)) == (422, {field})
    assert (await api.get("/erasures")).body["items"] == []


async def test_a_pop_that_was_removed_is_named_as_not_reached(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    async with site_of(api, tmp_path / "pop", settings.bus_port) as site:
        await site.disconnect()
        site.link = None
        erasure_id = await erase(api)
        await until(lambda: _waits_for_pop(api, erasure_id))
        assert (await api.delete("/dids/%2B49305550100")).status == 204
        assert (await api.delete(f"/pops/{POP}")).status == 204
        await ended(api, erasure_id, "done")
        body = (await api.get(f"/erasures/{erasure_id}/certificate")).body["certificate"]
        lost = {(one["what"], one["id"]) for one in body["kept"] if "not reached" in one["why"]}
        assert lost == {("pop", POP), ("recording", site.recording), ("recording", site.voicemail)}
        assert body["destroyed"] == []


async def _waits_for_pop(api: Api, erasure_id: str) -> bool:
    found = (await api.get(f"/erasures/{erasure_id}")).body["waits_for"]
    return {one["why"] for one in found} == {"pop_unreachable"}
