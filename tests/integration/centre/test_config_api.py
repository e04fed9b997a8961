"""The configuration nouns over REST: made, read, changed, deleted, and refused for every rule there is."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from tests.integration.centre.conftest import running
from tests.integration.centre.support import QUEUE, Api, agent, did, graph, outbox_is_empty, until


async def test_a_site_can_be_made_and_read(api: Api) -> None:
    await api.new_site()
    assert (await api.get("/dids/+49305550100")).body["time_zone"] == "Europe/Berlin"
    assert (await api.get("/dids/%2B49305550100")).status == 200
    assert (await api.get("/queues/sales")).body["ring_timeout_s"] == 20.0
    flow = (await api.get("/flows/main")).body
    assert flow["version"] == 1
    assert flow["graph"] == graph()
    found = (await api.get("/pops/de-fra-1")).body
    assert "key" not in found
    assert found["config_revision"] > 0
    assert found["connected"] is False


async def test_change_and_delete(api: Api) -> None:
    await api.new_site()
    changed = await api.put("/flows/main", {"graph": graph(languages=["de"])})
    assert changed.body["version"] == 2
    assert (await api.put("/queues/sales", {"name": "Verkauf"})).body["skills"] == {}
    body = {k: v for k, v in did(region="ru").items() if k != "number"}
    assert (await api.put("/dids/+49305550100", body)).body["region"] == "ru"
    for path in ("/dids/+49305550100", "/flows/main", "/queues/sales", "/pops/de-fra-1"):
        assert (await api.delete(path)).status == 204, path
        assert (await api.get(path)).status == 404, path


async def test_keys_and_passwords_are_shown_once_and_kept_as_hashes(api: Api) -> None:
    await api.new_pop()
    made = await api.made("/agents", agent(phone_id="1001"))
    sip = made["sip"]
    assert (sip["phone_id"], sip["realm"]) == ("1001", "callplane")
    assert len(sip["password"]) >= 20
    again = (await api.get(f"/agents/{made['agent_id']}")).body
    assert sip["password"] not in str(again)
    assert hashlib.md5(f"1001:callplane:{sip['password']}".encode()).hexdigest() not in str(again)  # noqa: S324
    renewed = await api.post(f"/agents/{made['agent_id']}/password")
    assert renewed.status == 201
    assert renewed.body["sip"]["password"] != sip["password"]
    key = await api.post("/pops/de-fra-1/key")
    assert len(key.body["key"]) == 43


BAD_DIDS: list[tuple[dict[str, Any], str, str]] = [
    ({"number": "030 5550100"}, "number", "E.164"),
    ({"number": "+49"}, "number", "E.164"),
    ({"flow_id": "nothing"}, "flow_id", "no flow nothing"),
    ({"pop_id": "nowhere"}, "pop_id", "no POP nowhere"),
    ({"time_zone": "Europe/Nowhere"}, "time_zone", "time zone"),
    ({"time_zone": "../etc/passwd"}, "time_zone", "time zone"),
    ({"country": "Germany"}, "country", "pattern"),
    ({"language": "fr"}, "language", "not offered"),
    ({"colour": "red"}, "colour", "not known"),
]


@pytest.mark.parametrize(("change", "field", "reason"), BAD_DIDS)
async def test_a_bad_did_is_refused_and_nothing_is_written(
    api: Api, centre: tuple[Centre, str], change: dict[str, Any], field: str, reason: str
) -> None:
    await api.new_site()
    await until(lambda: outbox_is_empty(centre[0]))  # the new bucket has been filled
    before = (await api.get("/pops/de-fra-1")).body["config_revision"]
    answer = await api.post("/dids", did(**{"number": "+49305550199", **change}))
    assert answer.status == 422
    assert answer.error_id == "invalid"
    assert reason in answer.fields[field]
    assert len((await api.get("/dids")).body["items"]) == 1
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before


BAD_GRAPHS: list[tuple[dict[str, Any], str, str]] = [
    ({"start": "nowhere"}, "graph.start", "names no node"),
    ({"languages": ["de", "xx"]}, "graph.languages.1", "no prompts in language xx"),
    (
        {"nodes": {**graph()["nodes"], "wait": {"type": "queue", "queue": "nobody", "on_refused": "bye"}}},
        "graph.nodes.wait.queue",
        "no queue nobody",
    ),
    (
        {"nodes": {**graph()["nodes"], "hello": {"type": "say", "prompts": ["unheard"], "next": "wait"}}},
        "graph.nodes.hello",
        "no prompt unheard in any language",
    ),
    (
        {"start": "a", "nodes": {"a": {"type": "say", "prompts": ["hello"], "next": "a"}}},
        "graph.nodes.a",
        "is in a loop without a way out: a",
    ),
    (
        {"nodes": {**graph()["nodes"], "bye": {"type": "hang_up", "prompts": ["bye"]}}},
        "graph.nodes.bye",
        "prompt bye is missing in language en",
    ),
    (
        {"nodes": {**graph()["nodes"], "hello": {"type": "flow", "flow": "nothing", "next": "wait"}}},
        "graph.nodes.hello.flow",
        "no flow nothing",
    ),
    (
        {
            "nodes": {
                **graph()["nodes"],
                "hello": {
                    "type": "hours",
                    "time_zone": "Europe/Berlin",
                    "weekly": {},
                    "country": "XX",
                    "open": "wait",
                    "closed": "wait",
                },
            }
        },
        "graph.nodes.hello.country",
        "no public holidays of XX",
    ),
]


@pytest.mark.parametrize(("change", "field", "reason"), BAD_GRAPHS)
async def test_a_bad_flow_is_refused_as_a_new_one_and_as_a_new_version(
    api: Api, change: dict[str, Any], field: str, reason: str
) -> None:
    await api.new_site()
    for answer in (
        await api.post("/flows", {"flow_id": "second", "graph": graph(**change)}),
        await api.put("/flows/main", {"graph": graph(**change)}),
    ):
        assert answer.status == 422
        assert reason in answer.fields[field]
    assert (await api.get("/flows/main")).body["version"] == 1
    assert (await api.get("/flows/second")).status == 404


def runner(flow_id: str, **change: Any) -> dict[str, Any]:
    """A graph that runs another flow."""
    nodes = {"sub": {"type": "flow", "flow": flow_id, "next": "back"}, "back": {"type": "return"}}
    return {"start": "sub", "languages": ["de"], "nodes": nodes, **change}


async def test_flows_that_run_flows(api: Api) -> None:
    await api.new_site()
    hello = {"hello": {"type": "say", "prompts": ["hello"], "next": "back"}, "back": {"type": "return"}}
    leaf = {"start": "hello", "languages": ["de"], "nodes": hello}
    await api.made("/flows", {"flow_id": "leaf", "graph": leaf})
    await api.made("/flows", {"flow_id": "middle", "graph": runner("leaf")})
    await api.made("/flows", {"flow_id": "top", "graph": runner("middle")})
    for flow_id, reason in (("leaf", "runs the flow it is in"), ("top", "flow top runs this one")):
        answer = await api.put("/flows/leaf", {"graph": runner(flow_id)})
        assert answer.status == 422
        assert reason in answer.fields["graph.nodes.sub.flow"]
    answer = await api.post("/flows", {"flow_id": "other", "graph": runner("leaf", languages=["de", "en"])})
    assert "lacks language en" in answer.fields["graph.nodes.sub.flow"]
    answer = await api.put("/flows/leaf", {"graph": {**leaf, "languages": ["en"]}})
    assert "in which flow middle runs it" in answer.fields["graph.languages"]
    refused = await api.delete("/flows/leaf")
    assert (refused.status, refused.error_id) == (409, "flow_in_use")
    for flow_id in ("top", "middle", "leaf"):
        assert (await api.delete(f"/flows/{flow_id}")).status == 204


async def test_a_flow_cannot_drop_a_language_that_a_did_starts_in(api: Api) -> None:
    await api.new_site()
    answer = await api.put("/flows/main", {"graph": graph(languages=["en"])})
    assert answer.status == 422
    assert "graph.languages" in answer.fields


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"skills": {"lang:de": 6}}, "skills.lang:de"),
        ({"skills": {"lang:de": 0}}, "skills.lang:de"),
        ({"skills": {"Not A Skill": 1}}, "skills"),
        ({"pop_id": "nowhere"}, "pop_id"),
        ({"name": ""}, "name"),
        ({"cost": -1}, "cost"),
        ({"weight": 0}, "weight"),
        ({"phone_id": "a b"}, "phone_id"),
        ({"extension": "1"}, "extension"),
        ({"extension": "0123"}, "extension"),
        ({"extension": "1234567"}, "extension"),
        ({"supervises": "yes"}, "supervises"),
    ],
)
async def test_a_bad_agent_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    await api.new_pop()
    answer = await api.post("/agents", agent(**change))
    assert answer.status == 422
    assert field in answer.fields
    assert (await api.get("/agents")).body["items"] == []


STEPS = [
    {"after_s": 30, "action": {"type": "relax_skill", "skill": "lang:de", "least": 1}},
    {"after_s": 60, "action": {"type": "raise_priority", "by": 3}},
    {"after_s": 90, "action": {"type": "overflow_queue", "queue_id": "backup"}},
    {
        "after_s": 120,
        "action": {"type": "overflow_number", "number": "+49305550777", "ring_s": 25.0, "show_caller": True},
    },
    {"after_s": 240, "action": {"type": "voicemail", "mailbox": "sales", "prompt_id": "hello"}},
    {"after_s": 300, "action": {"type": "end_with_prompt", "prompt_id": "hello"}},
]


async def test_a_queue_with_rules_is_made_and_holds_on_to_the_queue_it_overflows_to(api: Api) -> None:
    await api.made("/queues", {"queue_id": "backup", "name": "Backup"})
    rules = {"strategy": "best_skill", "priority": 5, "no_agent": "end", "max_wait_s": 600.0, "wrap_up_max_s": 120.0}
    made = await api.made("/queues", {**QUEUE, **rules, "steps": STEPS})
    found = (await api.get("/queues/sales")).body
    assert found == made
    assert {name: found[name] for name in rules} == rules
    assert found["steps"] == STEPS
    answer = await api.delete("/queues/backup")
    assert (answer.status, answer.error_id) == (409, "queue_in_use")
    assert "queue sales" in answer.body["detail"]
    assert (await api.put("/queues/sales", {"name": "Sales"})).body["steps"] == []
    assert (await api.delete("/queues/backup")).status == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"strategy": "psychic"}, "strategy"),
        ({"no_agent": "sulk"}, "no_agent"),
        ({"priority": 1001}, "priority"),
        ({"max_wait_s": 0}, "max_wait_s"),
        ({"steps": [{"after_s": -1, "action": {"type": "raise_priority", "by": 1}}]}, "steps.0.after_s"),
        ({"steps": [{"after_s": 1, "action": {"type": "sing"}}]}, "steps.0.action"),
        ({"steps": [{"after_s": 1, "action": {"type": "relax_skill", "skill": "Not A Skill"}}]}, "steps.0.action"),
        (
            {"steps": [{"after_s": 1, "action": {"type": "overflow_queue", "queue_id": "no"}}]},
            "steps.0.action.queue_id",
        ),
        (
            {"steps": [{"after_s": 1, "action": {"type": "overflow_queue", "queue_id": "sales"}}]},
            "steps.0.action.queue_id",
        ),
        (
            {"steps": [{"after_s": 1, "action": {"type": "end_with_prompt", "prompt_id": "no"}}]},
            "steps.0.action.prompt_id",
        ),
        (
            {"steps": [{"after_s": 1, "action": {"type": "overflow_number", "number": "0305550777"}}]},
            "steps.0.action.overflow_number.number",
        ),
        (
            {"steps": [{"after_s": 1, "action": {"type": "overflow_number", "number": "+499001123456"}}]},
            "steps.0.action.number",
        ),
        (
            {"steps": [{"after_s": 1, "action": {"type": "voicemail", "mailbox": "m", "prompt_id": "no"}}]},
            "steps.0.action.prompt_id",
        ),
        ({"steps": [{"after_s": 1, "action": {"type": "voicemail", "mailbox": ""}}]}, "steps.0.action"),
        ({"steps": [STEPS[0]] * 33}, "steps"),
    ],
)
async def test_a_bad_queue_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    answer = await api.post("/queues", {**QUEUE, **change})
    assert answer.status == 422
    assert any(named.startswith(field) for named in answer.fields), answer.fields
    assert (await api.get("/queues")).body["items"] == []


async def test_an_agents_cost_and_weight_are_kept(api: Api) -> None:
    await api.new_pop()
    made = await api.made("/agents", agent(cost=23.5, weight=0.5))
    found = (await api.get(f"/agents/{made['agent_id']}")).body
    assert (found["cost"], found["weight"]) == (23.5, 0.5)


async def test_a_queues_extension_is_nobody_elses(api: Api) -> None:
    await api.new_site()
    await api.made("/agents", agent(extension="101"))
    assert (await api.post("/queues", {**QUEUE, "queue_id": "billing", "extension": "101"})).fields == {
        "extension": "is another queue's, or an agent's"
    }
    made = await api.made("/queues", {**QUEUE, "queue_id": "billing", "extension": "500"})
    assert made["extension"] == "500"
    assert (await api.put("/queues/billing", {"name": "Billing", "extension": "500"})).status == 200
    assert (await api.post("/queues", {**QUEUE, "queue_id": "more", "extension": "500"})).status == 422
    assert (await api.post("/agents", agent(extension="500"))).error_id == "extension_exists"


async def test_an_extension_is_one_agents_of_the_pop(api: Api) -> None:
    await api.new_pop()
    await api.new_pop("de-ber-1")
    first = await api.made("/agents", agent(extension="101", supervises=True))
    found = (await api.get(f"/agents/{first['agent_id']}")).body
    assert (found["extension"], found["supervises"]) == ("101", True)
    taken = await api.post("/agents", agent(extension="101"))
    assert (taken.status, taken.error_id, set(taken.fields)) == (409, "extension_exists", {"extension"})
    away = await api.made("/agents", agent(extension="101", pop_id="de-ber-1"))
    change = {name: away[name] for name in ("name", "skills", "country", "extension")} | {"pop_id": "de-fra-1"}
    assert (await api.put(f"/agents/{away['agent_id']}", change)).error_id == "extension_exists"
    for extension in ("102", None, None):
        same = await api.put(f"/agents/{first['agent_id']}", {**change, "extension": extension})
        assert (same.status, same.body["extension"]) == (200, extension)
    assert (await api.put(f"/agents/{away['agent_id']}", change)).status == 200


async def test_what_exists_already_is_a_conflict(api: Api) -> None:
    await api.new_site()
    await api.made("/agents", agent(phone_id="1001"))
    clashes = [
        ("/pops", {"pop_id": "de-fra-1", "name": "x", "country": "DE"}, "pop_exists", "pop_id"),
        ("/queues", QUEUE, "queue_exists", "queue_id"),
        ("/flows", {"flow_id": "main", "graph": graph()}, "flow_exists", "flow_id"),
        ("/dids", did(), "did_exists", "number"),
        ("/agents", agent(phone_id="1001"), "phone_exists", "phone_id"),
    ]
    for path, body, error_id, field in clashes:
        answer = await api.post(path, body)
        assert (answer.status, answer.error_id) == (409, error_id)
        assert field in answer.fields


async def test_what_is_in_use_stays(api: Api) -> None:
    await api.new_site()
    for path, error_id, user in [
        ("/queues/sales", "queue_in_use", "flow main"),
        ("/flows/main", "flow_in_use", "DID +49305550100"),
        ("/pops/de-fra-1", "pop_in_use", "DID +49305550100"),
    ]:
        answer = await api.delete(path)
        assert (answer.status, answer.error_id) == (409, error_id)
        assert user in answer.body["detail"]
        assert (await api.get(path)).status == 200


async def test_pages_follow_a_cursor(api: Api) -> None:
    for number in range(5):
        await api.made("/queues", {"queue_id": f"q{number}", "name": "Q"})
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"/queues?limit=2{cursor}")).body
        seen += [item["queue_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["q0", "q1", "q2", "q3", "q4"]
    assert (await api.get("/queues?cursor=%21%21")).fields == {"cursor": "is not a cursor that this API gave out"}
    assert (await api.get("/queues?limit=0")).status == 422
    assert (await api.get("/queues?colour=red")).fields == {"colour": "is not known here"}


async def test_only_health_and_the_document_need_no_token(api: Api) -> None:
    document = (await api.get("/openapi.json", headers={"Authorization": ""})).body
    assert document["openapi"] == "3.1.0"
    assert (await api.get("/health", headers={"Authorization": ""})).body["database"] is True
    checked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") == []:
                continue
            for header in ("", "Bearer wrong", "Basic YTpi"):
                answer = await api.ask(method.upper(), path.removeprefix("/api/v1"), headers={"Authorization": header})
                assert (answer.status, answer.error_id) == (401, "unauthorized"), path
                checked += 1
    assert checked > 90


async def test_bodies_that_are_no_json_objects_are_refused(api: Api) -> None:
    for data in (b"", b"{", b"[]", b"\xff"):
        async with api.session.post("/api/v1/pops", data=data) as response:
            assert response.status == 400
            assert (await response.json())["error_id"] == "not_json"
    assert (await api.get("/nothing")).error_id == "no_such_path"
    assert (await api.ask("PATCH", "/pops")).error_id == "method_not_allowed"
    assert (await api.get("/pops/a%00b")).fields == {"pop_id": "holds the character NUL"}
    assert (await api.get("/pops?cursor=AA==")).status == 422
    nul = await api.post("/queues", {"queue_id": "q", "name": "a\0b"})
    assert nul.fields == {"name": "holds the character NUL"}


async def test_every_reference_of_the_document_leads_somewhere(api: Api) -> None:
    document = (await api.get("/openapi.json")).body
    text = json.dumps(document)
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names <= set(document["components"]["schemas"])
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) > 35
    assert len(ids) == len(set(ids))


async def test_the_first_token_is_told_once(settings: CentreSettings) -> None:
    async with running(settings) as (_, said):
        assert len(said) == 1
    async with running(settings) as (made, said):
        assert said == []
        assert isinstance(made, Centre)


async def test_tokens_can_be_made_and_revoked(api: Api) -> None:
    made = await api.made("/tokens", {"name": "lab"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await api.get("/pops", headers=headers)).status == 200
    listed = (await api.get("/tokens")).body["items"]
    assert made["token"] not in str(listed)
    assert (await api.delete(f"/tokens/{made['token_id']}")).status == 204
    assert (await api.get("/pops", headers=headers)).status == 401
