"""Regions, skills, schedules, trunks, webhooks and countries over REST; who waits, as the POPs say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dialplans.cli import render as dialplan_command
from orchestrator.adapters.db.models import TrunkRow, WebhookRow
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.domain.grants import Role
from orchestrator.domain.webhook_signature import new_secret
from orchestrator.services import secret_box, webhooks
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.controller.config_store import consent_floor
from pbx.domain.consent import Floor, Regime
from pbx.wire.messages import AgentConfig, CommandReply, ListWaiting, QueueConfig, WaitingCall
from tests.integration.centre.conftest import running
from tests.integration.centre.support import QUEUE, Api, agent, did, pop, until

WEEK: dict[str, Any] = {"time_zone": "Europe/Berlin", "weekly": {"mon": ["09:00-17:00"]}}


async def sent_to(centre: Centre, pop_id: str, key: str) -> Any:
    """What a POP whose bucket is filled now gets under ``key``."""
    assert centre.database is not None
    async with centre.database.read() as session:
        entities = await UnitOfWork(session, 0.0).entities_of(pop_id)
    by_id = {getattr(one, "queue_id", None) or getattr(one, "agent_id", None): one for one in entities}
    return by_id[key]


@pytest.mark.parametrize(
    ("path", "spec", "key"),
    [
        ("/regions", {"region_id": "eu", "name": "Europe"}, "eu"),
        ("/skills", {"skill_id": "lang:de", "name": "German", "description": "C1 or better"}, "lang:de"),
        ("/hours", {"hours_id": "office", "name": "Office", **WEEK}, "office"),
        ("/shifts", {"shifts_id": "early", "name": "Early", **WEEK}, "early"),
        ("/holidays", {"holidays_id": "bridge", "name": "Bridge days", "days": ["2026-12-24"]}, "bridge"),
        (
            "/consent-policies",
            {"consent_policy_id": "eu", "name": "EU", "floor": "notice", "places": {"DE": "opt_in", "US-CA": "opt_in"}},
            "eu",
        ),
    ],
)
async def test_a_named_resource_is_made_read_changed_and_deleted(
    api: Api, path: str, spec: dict[str, Any], key: str
) -> None:
    made = await api.post(path, spec)
    assert made.status == 201, made.body
    assert {name: made.body[name] for name in spec} == spec
    read = await api.get(f"{path}/{key}")
    assert (read.body, read.headers["ETag"]) == (made.body, made.headers["ETag"])
    again = await api.post(path, spec)
    assert (again.status, list(again.fields)) == (409, [next(iter(spec))])
    body = {name: value for name, value in spec.items() if name != next(iter(spec))}
    changed = await api.put(f"{path}/{key}", {**body, "name": "Other"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status, changed.body["name"]) == (200, "Other")
    stale = await api.put(f"{path}/{key}", body, headers={"If-Match": read.headers["ETag"]})
    assert stale.status == 412
    assert [item["name"] for item in (await api.get(f"{path}?name=oth")).body["items"]] == ["Other"]
    assert (await api.get(f"{path}?name=nobody")).body["items"] == []
    assert (await api.delete(f"{path}/{key}")).status == 204
    assert (await api.get(f"{path}/{key}")).status == 404
    assert (await api.put(f"{path}/{key}", body)).status == 404


async def test_any_skill_goes_until_skills_are_declared(api: Api) -> None:
    await api.new_pop()
    await api.made("/queues", {**QUEUE, "skills": {"lang:de": 3, "sales": 1}})
    await api.made("/agents", agent(skills={"lang:de": 5, "lang:tr": 2}))
    await api.made("/skills", {"skill_id": "lang:fr", "name": "French"})
    names = [item["skill_id"] for item in (await api.get("/skills")).body["items"]]
    assert names == ["lang:de", "lang:fr", "lang:tr", "sales"]  # those in use were taken along
    assert (await api.post("/agents", agent(skills={"lang:fr": 1}))).status == 201
    for path, body in (
        ("/agents", agent(skills={"lang:dee": 1})),
        ("/queues", {**QUEUE, "queue_id": "q", "skills": {"lang:dee": 1}}),
    ):
        refused = await api.post(path, body)
        assert (refused.status, refused.fields) == (422, {"skills.lang:dee": "is not declared under /skills"})
    used = await api.delete("/skills/sales")
    assert (used.status, used.error_id) == (409, "skill_in_use")
    assert "queue sales" in used.body["detail"]
    await api.put("/queues/sales", {"name": "Sales", "skills": {"lang:de": 3}})
    assert (await api.delete("/skills/sales")).status == 204


async def test_any_region_goes_until_regions_are_declared(api: Api) -> None:
    await api.new_site()
    await api.made("/regions", {"region_id": "us", "name": "United States"})
    assert [item["region_id"] for item in (await api.get("/regions")).body["items"]] == ["eu", "us"]
    refused = await api.post("/dids", did(number="+49305550101", region="ru"))
    assert refused.fields == {"region": "there is no region ru"}
    assert (await api.delete("/regions/eu")).error_id == "region_in_use"
    assert (await api.post("/dids", did(number="+49305550101", region="us"))).status == 201


async def test_named_hours_and_their_holidays_are_those_of_the_queue(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_pop()
    await api.made("/holidays", {"holidays_id": "bridge", "name": "B", "days": ["2026-12-24"]})
    hours = {"name": "Office", **WEEK, "holidays": ["2026-12-31"], "holidays_ids": ["bridge"]}
    unknown = await api.post("/hours", {"hours_id": "office", **hours, "holidays_ids": ["no"], "country": "XX"})
    assert set(unknown.fields) == {"holidays_ids.0", "country"}
    await api.made("/hours", {"hours_id": "office", **hours})
    made = await api.made("/queues", {**QUEUE, "hours_id": "office"})
    assert made["hours"]["holidays"] == ["2026-12-24", "2026-12-31"]
    before = (await api.get("/pops/de-fra-1")).body["config_revision"]
    await api.put("/holidays/bridge", {"name": "B", "days": ["2026-12-28"]})
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before + 1
    later = {**hours, "weekly": {"mon": ["10:00-18:00"]}}
    assert (await api.put("/hours/office", later)).status == 200
    config = await sent_to(centre[0], "de-fra-1", "sales")
    assert isinstance(config, QueueConfig)
    assert config.hours is not None
    assert (config.hours.weekly, config.hours.holidays) == ({"mon": ["10:00-18:00"]}, ["2026-12-28", "2026-12-31"])
    read = (await api.get("/queues/sales")).body
    own = {name: value for name, value in read.items() if name not in ("queue_id", "created_at")}
    assert (await api.put("/queues/sales", own)).body == read  # what was read can be written
    assert (await api.delete("/hours/office")).error_id == "hours_in_use"
    assert (await api.delete("/holidays/bridge")).error_id == "holidays_in_use"
    assert (await api.put("/queues/sales", {**own, "hours_id": None})).body["hours"]["time_zone"] == "Europe/Berlin"
    assert (await api.delete("/hours/office")).status == 204
    assert "hours_id" in (await api.put("/queues/sales", {**own, "hours_id": "office"})).fields


async def test_a_consent_policy_is_asked_by_the_queues_that_name_it(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_pop()
    policy = {"name": "EU", "floor": "notice", "places": {"DE": "opt_in"}}
    await api.made("/consent-policies", {"consent_policy_id": "eu", **policy})
    unknown = await api.post("/queues", {**QUEUE, "consent_policy_id": "uk"})
    assert unknown.fields == {"consent_policy_id": "there is no consent policy uk"}
    await api.made("/queues", {**QUEUE, "consent_policy_id": "eu", "consent_floor": "opt_out"})
    read = (await api.get("/queues/sales")).body
    own = {name: value for name, value in read.items() if name not in ("queue_id", "created_at")}
    assert (await api.put("/queues/sales", own)).body == read  # what was read can be written
    before = (await api.get("/pops/de-fra-1")).body["config_revision"]
    assert (await api.put("/consent-policies/eu", {**policy, "unknown": "prohibited"})).status == 200
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before + 1
    config = await sent_to(centre[0], "de-fra-1", "sales")
    assert isinstance(config, QueueConfig)
    assert consent_floor(config) == Floor(Regime.OPT_OUT, {"DE": Regime.OPT_IN}, Regime.PROHIBITED)
    for field, value in (("places", {"DE": "maybe"}), ("places", {"XX": "opt_in"}), ("floor", "loud")):
        refused = await api.put("/consent-policies/eu", {**policy, field: value})
        assert refused.status == 422
        assert [name.partition(".")[0] for name in refused.fields] == [field]
    assert (await api.delete("/consent-policies/eu")).error_id == "consent_policy_in_use"
    await api.put("/queues/sales", {**own, "consent_policy_id": None})
    assert (await api.delete("/consent-policies/eu")).status == 204
    config = await sent_to(centre[0], "de-fra-1", "sales")
    assert consent_floor(config) == Floor(Regime.OPT_OUT)


async def test_a_role_tells_the_routes_that_it_may_use(api: Api) -> None:
    await api.new_pop()
    agent_id = (await api.made("/agents", agent()))["agent_id"]
    roles = {role["role"]: role for role in (await api.get("/roles")).body["items"]}
    assert set(roles) == set(Role)
    makes = {"method": "POST", "path": "/api/v1/consent-policies"}
    for role in Role:
        assert (await api.get(f"/roles/{role}")).body == roles[role]
        may = any(makes.items() <= route.items() for route in roles[role]["routes"])
        assert may is (role in (Role.ADMIN, Role.COMPLIANCE))
        grant = {"role": role, "agent_id": agent_id} if role is Role.AGENT else {"role": role}
        made = await api.made("/tokens", {"name": role, "grants": [grant]})
        spec = {"consent_policy_id": f"by-{role}", "name": "Strict"}
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert (await api.post("/consent-policies", spec, headers=headers)).status == (201 if may else 403)
    assert (await api.get("/roles/king")).status == 404
    paged = await api.get("/roles?limit=2")
    rest = await api.get(f"/roles?cursor={paged.body['next_cursor']}")
    assert [item["role"] for item in (*paged.body["items"], *rest.body["items"])] == sorted(Role)


async def test_named_shifts_are_those_of_the_agents(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_pop()
    await api.made("/shifts", {"shifts_id": "early", "name": "Early", **WEEK})
    assert "shifts_id" in (await api.post("/agents", agent(shifts_id="late"))).fields
    made = await api.made("/agents", agent(shifts_id="early"))
    assert made["shifts"]["weekly"] == {"mon": ["09:00-17:00"]}
    text = json.dumps(agent(shifts_id="early")) + "\n" + json.dumps(agent(shifts_id="late"))
    kind = {"Content-Type": "application/x-ndjson"}
    refused = await api.ask("POST", "/agents/import", data=text, headers=kind)
    assert [(error["row"], error["field"]) for error in refused.body["errors"]] == [(2, "shifts_id")]
    overlap = {**WEEK, "weekly": {"mon": ["22:00-06:00"], "tue": ["05:00-09:00"]}}
    assert (await api.put("/shifts/early", {"name": "Early", **overlap})).status == 422
    assert (await api.put("/shifts/early", {"name": "Early", **WEEK, "weekly": {"sun": ["08:00-12:00"]}})).status == 200
    config = await sent_to(centre[0], "de-fra-1", made["agent_id"])
    assert isinstance(config, AgentConfig)
    assert config.shifts is not None
    assert config.shifts.weekly == {"sun": ["08:00-12:00"]}
    assert (await api.delete("/shifts/early")).error_id == "shifts_in_use"


CARRIER: dict[str, Any] = {"name": "carrier", "addresses": ["203.0.113.0/24"], "host": "203.0.113.5:5060"}


async def test_trunks_become_files_of_the_media_server(api: Api, centre: tuple[Centre, str], tmp_path: Path) -> None:
    await api.new_pop()
    path = "/pops/de-fra-1/trunks"
    made = await api.made(path, CARRIER)
    assert (made["has_password"], made["codecs"]) == (False, None)
    spec = {"name": "second", "username": "second-user", "password": "correct horse"}
    second = await api.post(path, spec)
    assert (second.status, second.body["has_password"]) == (201, True)
    assert second.headers["Location"] == "/api/v1/pops/de-fra-1/trunks/second"
    assert "password" not in second.body
    timers = {"session": "required", "session_expires_s": 600}
    kept = await api.put(f"{path}/second", {"username": "second-user", "codecs": ["gsm", "alaw"], "timers": timers})
    assert {name: value for name, value in kept.body["timers"].items() if value is not None} == timers
    assert kept.body["has_password"] is True
    assert centre[0].database is not None
    async with centre[0].database.read() as session:
        [sealed] = [row.password for row in await session.scalars(select(TrunkRow)) if row.password is not None]
    assert b"correct horse" not in sealed
    assert (made["transport"], made["srtp"]) == ("udp", None)
    over_tls = {"name": "tls", "addresses": ["198.51.100.9"], "host": "198.51.100.9:5061", "transport": "tls"}
    assert (await api.made(path, over_tls))["transport"] == "tls"
    reason = {"srtp": "preferred", "clear_reason": "its gateways to mobile networks have no SRTP"}
    changed = await api.put(f"{path}/tls", {name: over_tls[name] for name in over_tls if name != "name"} | reason)
    assert {name: changed.body[name] for name in reason} == reason
    told = await api.get("/pops/de-fra-1/dialplan")
    assert [trunk["password"] for trunk in told.body["trunks"]] == [None, "correct horse", None]
    (tmp_path / "trunks.json").write_text(json.dumps(told.body))
    (tmp_path / "pop.yml").write_text(
        "pop_id: de-fra-1\ncountry: DE\nsip_address: 192.0.2.10\nari_password: a\nami_password: b\ntls_dir: /etc/t\n"
    )
    words = [
        "--pop",
        str(tmp_path / "pop.yml"),
        "--out",
        str(tmp_path / "etc"),
        "--trunks",
        str(tmp_path / "trunks.json"),
    ]
    assert dialplan_command(words) == 0
    pjsip = (tmp_path / "etc" / "pjsip.conf").read_text()
    assert "203.0.113.5:5060" in pjsip
    assert "allow = gsm,alaw\n" in pjsip
    assert "timers = required\ntimers_sess_expires = 600\n" in pjsip
    assert "correct horse" in pjsip
    assert "contact = sip:198.51.100.9:5061\\;transport=tls" in pjsip
    assert "media_encryption = sdes\nmedia_encryption_optimistic = yes" in pjsip
    assert (await api.delete(f"{path}/carrier")).status == 204
    assert (await api.delete("/pops/de-fra-1")).status == 204
    assert (await api.get(path)).error_id == "unknown_pop"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"host": None}, "host", "needed"),
        ({"addresses": []}, "addresses", "needed"),
        ({"username": "carrier-user"}, "username", "belong together"),
        ({"username": "first", "password": "longenough", "addresses": [], "host": None}, "username", "another one"),
        ({"host": "a;b"}, "host", "break a configuration line"),
        ({"addresses": ["203.0.113.1\nx"]}, "addresses.0", "break a configuration line"),
        ({"name": "First!"}, "name", "pattern"),
        ({"codecs": []}, "codecs", "at least 1"),
        ({"codecs": ["alaw", "g729"]}, "codecs.1", "'opus'"),
        ({"codecs": ["alaw", "alaw"]}, "codecs", "twice"),
        ({"timers": {"min_se_s": 30}}, "timers.min_se_s", "90"),
        ({"timers": {"min_se_s": 3600, "session_expires_s": 600}}, "timers.min_se_s", "more than session_expires_s"),
        ({"srtp": "required"}, "srtp", "clear text"),
        ({"transport": "tls", "srtp": "off"}, "clear_reason", "say why"),
        ({"transport": "tcp"}, "transport", "udp"),
        ({"username": "phone-1", "password": "longenough", "addresses": []}, "username", "taken"),
    ],
)
async def test_a_bad_trunk_is_refused(api: Api, change: dict[str, Any], field: str, reason: str) -> None:
    await api.new_pop()
    await api.made("/agents", agent(phone_id="phone-1"))
    await api.made("/pops/de-fra-1/trunks", {**CARRIER, "name": "first"})
    refused = await api.post("/pops/de-fra-1/trunks", {**CARRIER, **change})
    assert refused.status in (409, 422)
    assert reason in refused.fields.get(field, ""), refused.body
    assert len((await api.get("/pops/de-fra-1/trunks")).body["items"]) == 1


async def test_webhooks_have_a_secret_that_is_shown_once(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings
) -> None:
    spec = {"url": "https://crm.example.org/hook?x=1", "events": ["CallEnded", "VoicemailLeft"]}
    made = await api.made("/webhooks", spec)
    path = f"/webhooks/{made['webhook_id']}"
    read = (await api.get(path)).body
    assert "secret" not in read
    assert {name: read[name] for name in spec} == spec
    box = secret_box.load(settings.state_dir / "secrets.key")
    assert centre[0].database is not None
    async with centre[0].database.read() as session:
        row = await session.get_one(WebhookRow, made["webhook_id"])
        assert made["secret"].encode() not in row.secret
        assert webhooks.secret_of(row, box) == made["secret"]
    renewed = await api.post(f"{path}/secret")
    assert renewed.body["secret"] != made["secret"]
    mine = new_secret()
    assert (await api.made("/webhooks", {**spec, "secret": mine}))["secret"] == mine
    assert (await api.put(path, {**spec, "active": False})).body["active"] is False
    assert [one["webhook_id"] for one in (await api.get("/webhooks?active=false")).body["items"]] == [
        made["webhook_id"]
    ]
    assert (await api.delete(path)).status == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://crm.example.org"}, "url"),
        ({"url": "https://user:pw@crm.example.org"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://crm.example.org:99999"}, "url"),
        ({"url": "https://crm.example.org/a b"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["CallExploded"]}, "events"),
        ({"events": ["*", "*"]}, "events"),
        ({"events": ["NodeEntered"]}, "events"),
        ({"secret": "a secret of my own"}, "secret"),
        ({"unit_id": "nobodys"}, "unit_id"),
        ({"url": "http://crm.example.org"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
    ],
)
async def test_a_bad_webhook_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    refused = await api.post("/webhooks", {"url": "https://crm.example.org", "events": ["*"], **change})
    assert (refused.status, list(refused.fields)) == (422, [field])


async def test_secrets_outlast_a_restart(settings: CentreSettings) -> None:
    async with running(settings):
        key = settings.state_dir / "secrets.key"
        assert key.stat().st_mode & 0o777 == 0o600
        before = key.read_text()
    async with running(settings):
        assert key.read_text() == before


async def test_countries_are_read_from_the_packs(api: Api) -> None:
    first = (await api.get("/countries?limit=10")).body
    rest = (await api.get(f"/countries?limit=100&cursor={first['next_cursor']}")).body
    codes = [one["country"] for one in (*first["items"], *rest["items"])]
    assert codes == sorted(codes)
    assert {"DE", "US", "IN"} <= set(codes)
    germany = (await api.get("/countries/DE")).body
    assert (germany["e164_country_code"], germany["time_zone"]) == (49, "Europe/Berlin")
    assert germany["pack"]["recording"]["regime"]["source"]
    assert {one["recording_regime"] for one in (await api.get("/countries?recording_regime=opt_in")).body["items"]} == {
        "opt_in"
    }
    for code in ("XX", "de", "DEU"):
        assert (await api.get(f"/countries/{code}")).error_id == "unknown_country"


async def test_who_waits_is_asked_of_the_pops(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_pop()
    await api.new_pop("us-nyc-1")
    waits = [
        WaitingCall(call_id=f"c{n}", queue_id="sales", position=n, waited_s=10.0 * n, effective_priority=0.5)
        for n in (1, 2, 3)
    ]
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        site.handler.answer = lambda _request: CommandReply(waiting=waits, more=False)

        async def linked() -> bool:
            return not (await api.get("/waiting-calls?pop_id=de-fra-1")).body["not_heard"]

        await until(linked)
        found = (await api.get("/waiting-calls?queue_id=sales&limit=2")).body
        assert [item["call_id"] for item in found["items"]] == ["c3", "c2"]
        assert found["items"][0]["explanation"] == "/api/v1/calls/c3/wait"
        assert (found["not_heard"], found["truncated"]) == (["us-nyc-1"], True)
        assert site.handler.commands[-1].command == ListWaiting(queue_id="sales", limit=2)
        assert (await api.get("/waiting-calls?pop_id=us-nyc-1")).body == {
            "items": [],
            "not_heard": ["us-nyc-1"],
            "truncated": False,
        }
    assert (await api.get("/waiting-calls?pop_id=nowhere")).error_id == "unknown_pop"
