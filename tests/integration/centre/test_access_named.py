"""Limits on what came with named resources: who waits, imports, regions of POPs; and requests that are asked twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.wire.messages import CommandReply, WaitingCall
from tests.integration.centre.access_world import POPS, SCOPES, Scope, World, make_world
from tests.integration.centre.support import QUEUE, Answer, Api, agent, did, pop


@pytest.fixture
async def world(api: Api, centre: tuple[Centre, str]) -> World:
    return await make_world(api, centre[0])


def waiting(call_id: str, queue_id: str, waited_s: float) -> WaitingCall:
    return WaitingCall(
        call_id=call_id, queue_id=queue_id, position=1, waited_s=waited_s, effective_priority=1.0, next_step_s=None
    )


async def test_only_own_calls_are_seen_waiting(world: World, settings: CentreSettings, tmp_path: Path) -> None:
    key = (await world.api.post(f"/pops/{POPS['eu']}/key")).body["key"]
    here = [place for (_, region), place in world.places.items() if region == "eu"]
    calls = [waiting(p.ids["call_id"], p.ids["queue_id"], 10.0 + at) for at, p in enumerate(here)]
    calls.append(waiting("not-recorded-yet", "q-sales", 99.0))
    names = {place.ids["call_id"]: place.unit for place in here}
    callers: list[tuple[str, Scope, list[str | None]]] = [
        ("supervisor", Scope(), [None, "billing", "sales"]),
        ("supervisor", SCOPES["eu"], [None, "billing", "sales"]),
        ("supervisor", SCOPES["sales"], ["sales"]),
        ("engineer", SCOPES["sales in eu"], ["sales"]),
        ("supervisor", Scope(regions=frozenset({"us"})), []),
        ("agent", Scope(), []),
    ]
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        site.handler.answer = lambda _request: CommandReply(waiting=calls)
        for role, scope, units in callers:
            caller = await world.caller(role, scope)
            found = (await world.api.get("/waiting-calls", headers=caller)).body
            seen = [item["call_id"] for item in found["items"]]
            assert ("not-recorded-yet" in seen) is (scope == Scope() and role != "agent")
            assert [names[call] for call in seen if call in names] == units, (role, scope)
            sees_us = role != "agent" and (scope.regions is None or "us" in scope.regions)
            assert found["not_heard"] == ([POPS["us"]] if sees_us else [])


def places(answer: Answer) -> list[tuple[int, str, str]]:
    return [(error["row"], error["field"], error["reason"]) for error in answer.body["errors"]]


async def imported(world: World, caller: dict[str, str], noun: str, rows: list[dict[str, Any]]) -> Answer:
    text = "\n".join(json.dumps(row) for row in rows)
    headers = {**caller, "Content-Type": "application/x-ndjson"}
    return await world.api.ask("POST", f"/{noun}/import", data=text.encode(), headers=headers)


async def test_an_import_stays_within_the_scope(world: World) -> None:
    engineer = await world.caller("engineer", SCOPES["sales in eu"])
    own = did(number="+49305550301", flow_id="f-sales", unit_id="sales")
    refused = await imported(
        world,
        engineer,
        "dids",
        [
            own,
            {**own, "number": "+49305550302", "unit_id": "billing"},
            {**own, "number": "+49305550303", "flow_id": "f-billing"},
            {**own, "number": "+49305550304", "pop_id": POPS["us"]},
        ],
    )
    assert places(refused) == [
        (2, "unit_id", "there is no unit billing"),
        (3, "flow_id", "there is no flow f-billing"),
        (4, "pop_id", f"there is no POP {POPS['us']}"),
    ]
    nobodys = await imported(world, engineer, "dids", [{**own, "unit_id": None}])
    assert list(nobodys.fields) == ["unit_id"]
    assert (await imported(world, engineer, "dids", [own])).body["items"][0]["unit_id"] == "sales"

    person = agent(unit_id="sales", name="New")
    refused = await imported(world, engineer, "agents", [{**person, "unit_id": "billing"}, person])
    assert places(refused) == [(1, "unit_id", "there is no unit billing")]
    assert list((await imported(world, engineer, "agents", [agent()])).fields) == ["unit_id"]
    assert (await imported(world, engineer, "agents", [person])).body["items"][0]["unit_id"] == "sales"


async def test_a_pop_lies_in_a_declared_region(api: Api) -> None:
    site = {"pop_id": "de-fra-1", "name": "Frankfurt", "country": "DE", "region": "eu"}
    await api.made("/pops", site)
    await api.made("/regions", {"region_id": "us", "name": "America"})
    assert [one["region_id"] for one in (await api.get("/regions")).body["items"]] == ["eu", "us"]
    refused = await api.post("/pops", {**site, "pop_id": "jp-tyo-1", "region": "jp"})
    assert refused.fields == {"region": "there is no region jp"}
    change = {"name": "Frankfurt", "country": "DE"}
    assert (await api.put("/pops/de-fra-1", {**change, "region": "jp"})).fields == refused.fields
    used = await api.delete("/regions/eu")
    assert (used.status, used.error_id) == (409, "region_in_use")
    assert (await api.put("/pops/de-fra-1", {**change, "region": "us"})).status == 200
    assert (await api.put("/pops/de-fra-1", change)).status == 200
    for region in ("eu", "us"):
        assert (await api.delete(f"/regions/{region}")).status == 204


async def test_what_is_asked_twice_is_noted_as_such(world: World) -> None:
    """A caller with limits, too, is given the same answer; the log tells what was done from what was told again."""
    engineer = {**await world.caller("engineer", SCOPES["sales"]), "Idempotency-Key": "one"}
    spec = {**QUEUE, "queue_id": "q-more", "unit_id": "sales"}
    first = await world.api.post("/queues", spec, headers=engineer)
    again = await world.api.post("/queues", spec, headers=engineer)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    noted = (await world.api.get("/audit?limit=2")).body["items"]
    assert [(one["action"], one["outcome"]) for one in noted] == [
        ("queues_create", "replayed"),
        ("queues_create", "done"),
    ]
    assert [bool(one["changes"]) for one in noted] == [False, True]


async def test_a_login_is_never_answered_from_memory(world: World) -> None:
    """It is asked without a caller: nobody may have answers kept there."""
    words = {"login": "ada", "password": "correct horse battery"}
    await world.api.made("/users", {**words, "name": "Ada", "grants": [{"role": "engineer"}]})
    answers = [await world.api.post("/login", words, headers={"Idempotency-Key": "same"}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body["token"] != answers[1].body["token"]


async def test_a_stale_change_of_a_limited_caller_is_refused(world: World) -> None:
    engineer = await world.caller("engineer", SCOPES["sales"])
    read = await world.api.get("/queues/q-sales", headers=engineer)
    wanted = {"name": "Renamed", "unit_id": "sales"}
    for tag, status in ((read.headers["ETag"], 200), (read.headers["ETag"], 412), ("*", 200)):
        answer = await world.api.put("/queues/q-sales", wanted, headers={**engineer, "If-Match": tag})
        assert answer.status == status, answer.body
    hidden = await world.api.put("/queues/q-billing", wanted, headers={**engineer, "If-Match": "*"})
    assert hidden.status == 404
