"""What somebody with limits may change and name, what an agent may do, and what the live stream shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.adapters.db.access_models import CallUnitRow
from orchestrator.adapters.db.models import AgentRow, QueueRow, TokenRow
from orchestrator.bootstrap import Centre
from orchestrator.domain.grants import Caller, Grant, Role, calling
from orchestrator.domain.problems import Forbidden, Invalid
from pbx.domain import events as ev
from pbx.domain.ids import AgentId, CallId, QueueId, derive
from tests.integration.centre.access_world import POPS, SCOPES, START, Place, Scope, World, flow_of, make_world, take_in
from tests.integration.centre.support import Api, agent, did, graph


@pytest.fixture
async def world(api: Api, centre: tuple[Centre, str]) -> World:
    return await make_world(api, centre[0])


async def ask(world: World, headers: dict[str, str], method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await world.api.ask(method, path, body, headers=headers)
    return answer.status, answer.body


async def test_a_scope_can_be_worked_in(world: World) -> None:
    """Everything of the own unit can be made, changed and deleted."""
    supervisor = await world.caller("supervisor", SCOPES["sales in eu"])
    new = agent(unit_id="sales", name="New")
    code, made = await ask(world, supervisor, "POST", "/agents", new)
    assert code == 201, made
    assert made["unit_id"] == "sales"
    path = f"/agents/{made['agent_id']}"
    assert (await ask(world, supervisor, "PUT", path, {**new, "name": "Newer"}))[1]["name"] == "Newer"
    assert (await ask(world, supervisor, "POST", path + "/password"))[0] == 201
    assert (await ask(world, supervisor, "DELETE", path))[0] == 204
    voicemail = world.places["sales", "eu"].ids["voicemail_id"]
    assert (await ask(world, supervisor, "POST", f"/voicemails/{voicemail}/heard"))[0] == 204

    engineer = await world.caller("engineer", SCOPES["sales"])
    assert (await ask(world, engineer, "PUT", "/queues/q-sales", {"name": "S", "unit_id": "sales"}))[0] == 200
    assert (await ask(world, engineer, "POST", "/queues", {"queue_id": "more", "name": "M", "unit_id": "sales"}))[
        0
    ] == 201
    assert (await ask(world, engineer, "PUT", "/flows/f-sales", {"graph": flow_of("sales")}))[1]["unit_id"] == "sales"
    draft = {"graph": flow_of("sales"), "unit_id": "sales"}
    assert (await ask(world, engineer, "PUT", "/flows/next/draft", draft))[1]["unit_id"] == "sales"
    assert (await ask(world, engineer, "POST", "/flows/next/publish", {"draft_revision": 1}))[1]["unit_id"] == "sales"
    number = did(number="+49305550177", flow_id="f-sales", unit_id="sales")
    assert (await ask(world, engineer, "POST", "/dids", number))[0] == 201
    assert (await ask(world, engineer, "DELETE", "/dids/+49305550177"))[0] == 204
    assert (await ask(world, engineer, "DELETE", "/flows/next"))[0] == 204
    assert (await ask(world, engineer, "DELETE", "/queues/more"))[0] == 204


def promise(place: Place, queue_id: str) -> dict[str, str]:
    return {"did": place.ids["number"], "queue_id": queue_id, "number": "+49306660001"}


async def test_what_belongs_to_others_cannot_be_named(world: World) -> None:
    sales, billing = world.places["sales", "eu"], world.places["billing", "eu"]
    theirs, abroad = billing.ids["agent_id"], world.places["sales", "us"].ids["agent_id"]
    supervisor = await world.caller("supervisor", SCOPES["sales in eu"])
    engineer = await world.caller("engineer", SCOPES["sales"])
    call = sales.ids["call_id"]
    stepping = {
        "name": "S",
        "unit_id": "sales",
        "steps": [{"after_s": 1, "action": {"type": "overflow_queue", "queue_id": "q-billing"}}],
    }
    other = {
        "start": "a",
        "languages": ["de", "en"],
        "nodes": {"a": {"type": "flow", "flow": "f-billing", "next": "b"}, "b": {"type": "hang_up"}},
    }
    moved = {k: v for k, v in did(flow_id="f-billing", unit_id="sales").items() if k != "number"}
    refused: list[tuple[dict[str, str], str, str, Any, int, str]] = [
        (supervisor, "POST", "/agents", agent(unit_id="billing"), 422, "there is no unit billing"),
        (supervisor, "POST", "/agents", agent(), 422, "none of the units"),
        (supervisor, "POST", "/agents", agent(unit_id="sales", pop_id=POPS["us"]), 422, "no POP us-nyc-1"),
        (supervisor, "PUT", f"/agents/{sales.ids['agent_id']}", agent(unit_id="billing"), 422, "no unit billing"),
        (supervisor, "PUT", f"/agents/{sales.ids['agent_id']}", agent(), 422, "none of the units"),
        (supervisor, "POST", f"/calls/{call}/transfer", {"queue_id": "q-billing"}, 404, "no queue"),
        (supervisor, "POST", f"/calls/{call}/transfer", {"agent_id": theirs}, 404, "no agent"),
        (supervisor, "POST", f"/calls/{call}/consult", {"agent_id": theirs}, 404, "no agent"),
        (supervisor, "POST", f"/calls/{call}/retrieve", {"agent_id": theirs}, 404, "no agent"),
        (supervisor, "POST", f"/calls/{call}/supervision", {"agent_id": abroad, "mode": "listen"}, 404, "no agent"),
        (supervisor, "GET", f"/calls/{call}/wait?agent_id={theirs}", None, 404, "no agent"),
        (supervisor, "POST", "/callbacks", promise(sales, "q-billing"), 404, "no queue"),
        (supervisor, "POST", "/callbacks", promise(billing, "q-sales"), 404, "no did"),
        (engineer, "POST", "/queues", {"queue_id": "mine", "name": "M"}, 422, "none of the units"),
        (engineer, "PUT", "/queues/q-sales", {"name": "S", "unit_id": "billing"}, 422, "no unit billing"),
        (engineer, "PUT", "/queues/q-sales", stepping, 422, "no queue q-billing"),
        (engineer, "PUT", "/flows/f-sales", {"graph": flow_of("billing")}, 422, "no queue q-billing"),
        (engineer, "PUT", "/flows/f-sales", {"graph": other}, 422, "no flow f-billing"),
        (engineer, "PUT", "/flows/f-sales", {"graph": flow_of("sales"), "unit_id": "billing"}, 422, "no unit billing"),
        (engineer, "POST", "/flows", {"flow_id": "mine", "graph": flow_of("sales")}, 422, "none of the units"),
        (engineer, "PUT", "/flows/mine/draft", {"graph": graph()}, 422, "none of the units"),
        (engineer, "PUT", f"/dids/{sales.ids['number']}", moved, 422, "no flow f-billing"),
        (engineer, "POST", "/pops", {"pop_id": "new", "name": "N", "country": "DE"}, 403, "every unit"),
    ]  # fmt: skip
    for headers, method, path, body, code, words in refused:
        got, problem = await ask(world, headers, method, path, body)
        assert (got, words in problem["detail"]) == (code, True), (method, path, body, problem)


async def test_an_agent_works_with_the_own_calls(world: World) -> None:
    own, other = world.places["sales", "eu"].ids, world.places["billing", "eu"].ids
    caller = await world.caller("agent", Scope())
    code, found = await ask(world, caller, "GET", "/calls")
    assert (code, [c["call_id"] for c in found["items"]]) == (200, [own["call_id"]])
    assert (await ask(world, caller, "GET", f"/agents/{own['agent_id']}"))[0] == 200
    for path, body, code in [
        (f"/agents/{own['agent_id']}/status", {"status": "AVAILABLE"}, 503),  # no POP is connected
        (f"/agents/{other['agent_id']}/status", {"status": "AVAILABLE"}, 404),
        (f"/calls/{own['call_id']}/hold", {}, 503),
        (f"/calls/{own['call_id']}/transfer", {"queue_id": "q-sales"}, 503),
        (f"/calls/{own['call_id']}/transfer", {"queue_id": "q-billing"}, 404),
        (f"/calls/{own['call_id']}/supervision", {"agent_id": own["agent_id"], "mode": "listen"}, 403),
        (f"/calls/{other['call_id']}/hold", {}, 404),
    ]:
        assert (await ask(world, caller, "POST", path, body))[0] == code, path
    await world.api.delete(f"/agents/{own['agent_id']}")
    refused = await world.api.post("/tokens", {"name": "x", "grants": [{"role": "agent", "agent_id": own["agent_id"]}]})
    assert refused.fields == {"grants.0.agent_id": "names no agent"}


async def test_several_grants_add_up_role_by_role(world: World) -> None:
    both = await world.token({"role": "supervisor", "units": ["sales"]}, {"role": "compliance", "units": ["billing"]})
    sales, billing = world.places["sales", "eu"].ids, world.places["billing", "eu"].ids
    _, calls = await ask(world, both, "GET", "/calls")
    assert {c["call_id"] for c in calls["items"]} >= {sales["call_id"], billing["call_id"]}
    assert (await ask(world, both, "POST", f"/calls/{sales['call_id']}/hold"))[0] == 503
    assert (await ask(world, both, "POST", f"/calls/{billing['call_id']}/hold"))[0] == 404


@asynccontextmanager
async def stream(world: World, headers: dict[str, str]) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with world.api.session.get("/api/v1/events?after=0", headers=headers) as response:
        assert response.status == 200

        async def read() -> None:
            async for line in response.content:
                if line.startswith(b"data: "):
                    frames.put_nowait(json.loads(line[6:]))

        reader = asyncio.create_task(read())
        try:
            yield frames
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


async def test_the_live_stream_shows_the_own_unit(world: World) -> None:
    supervisor = await world.caller("supervisor", SCOPES["sales in eu"])
    own = world.places["sales", "eu"].ids
    for at, (place, found) in enumerate(world.places.items()):
        changed = ev.AgentChanged(
            at=START, agent_id=AgentId(found.ids["agent_id"]), status="AVAILABLE", reason=None, state="IDLE"
        )
        await take_in(world.centre, POPS[place[1]], None, [changed], derive(START, "j", str(at)))
    last = ev.HangUpAsked(at=START + 99, by="api")
    await take_in(world.centre, own["pop_id"], CallId(own["call_id"]), [last], derive(START, "last"))
    seen: list[dict[str, Any]] = []
    async with stream(world, supervisor) as frames:
        while not seen or seen[-1]["kind"] != "HangUpAsked":
            seen.append(await asyncio.wait_for(frames.get(), 10))
    assert {frame["call_id"] for frame in seen} == {own["call_id"], None}
    assert [f["data"]["agent_id"] for f in seen if f["call_id"] is None] == [own["agent_id"]]
    assert {f["kind"] for f in seen} >= {"LegOffered", "CallbackRequested", "AgentChanged"}


async def test_a_call_stays_with_the_unit_it_came_to(world: World) -> None:
    """A queue that moves takes no past along; a call that goes to another unit's queue is theirs from then on."""
    sales, billing = world.places["sales", "eu"].ids, world.places["billing", "eu"].ids
    assert (await world.api.put("/queues/q-billing", {"name": "B", "unit_id": "sales"})).status == 200
    supervisor = await world.caller("supervisor", SCOPES["sales"])
    again = ev.HangUpAsked(at=START + 99, by="api")
    await take_in(world.centre, billing["pop_id"], CallId(billing["call_id"]), [again], derive(START, "again"))
    assert (await ask(world, supervisor, "GET", f"/calls/{billing['call_id']}"))[0] == 404
    assert (await world.api.put("/queues/q-billing", {"name": "B", "unit_id": "billing"})).status == 200
    handed_on: list[ev.Event] = [
        ev.TalkEnded(at=START + 100, agent_id=AgentId(sales["agent_id"]), reason="transferred"),
        ev.QueueJoined(at=START + 100, queue_id=QueueId("q-billing"), position=1),
    ]
    assert (await ask(world, supervisor, "GET", f"/calls/{sales['call_id']}"))[0] == 200
    await take_in(
        world.centre, sales["pop_id"], CallId(sales["call_id"]), handed_on, derive(START, "journal", "sales", "eu"), 50
    )
    for path in (f"/calls/{sales['call_id']}", f"/recordings/{sales['recording_id']}"):
        assert (await ask(world, supervisor, "GET", path))[0] == 404
    assert world.centre.database is not None
    async with world.centre.database.read() as session:
        row = await session.get_one(CallUnitRow, sales["call_id"])
    assert row.unit_id == "billing"


async def test_whoever_forgets_to_ask_writes_nothing_outside(world: World) -> None:
    """The last line: rows are checked when they are written, whatever code writes them."""
    database, billing = world.centre.database, world.places["billing", "eu"].ids
    assert database is not None
    limited = Grant(Role.ADMIN, units=frozenset({"sales"}))

    async def change(entity: Any, key: str, name: str) -> None:
        with calling(Caller("x", "x", (limited,))):
            async with database.write() as session:
                row = await session.get_one(entity, key)
                setattr(row, name, "sales")

    for entity, key, name, problem in [
        (AgentRow, billing["agent_id"], "name", Invalid),
        (AgentRow, billing["agent_id"], "unit_id", Invalid),
        (QueueRow, "q-billing", "unit_id", Invalid),
    ]:
        with pytest.raises(problem):
            await change(entity, key, name)
    with pytest.raises(Forbidden), calling(Caller("x", "x", (limited,))):
        async with database.write() as session:
            session.add(TokenRow(token_id="t", name="n", sha256="h", role="admin", created_at=0.0))
    assert (await world.api.get(f"/agents/{billing['agent_id']}")).body["unit_id"] == "billing"


async def test_a_token_ends_when_it_was_to(world: World) -> None:
    past = await world.api.post("/tokens", {"name": "old", "expires_at": "2020-01-01T00:00:00Z"})
    assert past.fields == {"expires_at": "is past"}
    made = await world.api.made("/tokens", {"name": "short", "expires_at": "2096-01-01T00:00:00Z"})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await ask(world, headers, "GET", "/pops"))[0] == 200
    assert world.centre.database is not None
    async with world.centre.database.write() as session:
        over = update(TokenRow).where(TokenRow.token_id == made["token_id"]).values(expires_at=time.time() - 1)
        await session.execute(over)
    assert (await ask(world, headers, "GET", "/pops"))[0] == 401


@pytest.mark.parametrize(
    ("grant", "field"),
    [
        ({"role": "king"}, "grants.0.role"),
        ({"role": "agent"}, "grants.0"),
        ({"role": "supervisor", "agent_id": "x"}, "grants.0"),
        ({"role": "agent", "agent_id": "x", "units": ["sales"]}, "grants.0"),
        ({"role": "supervisor", "units": []}, "grants.0.units"),
        ({"role": "supervisor", "units": ["No Unit"]}, "grants.0.units.0"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(api: Api, grant: dict[str, Any], field: str) -> None:
    answer = await api.post("/tokens", {"name": "x", "grants": [grant]})
    assert answer.status == 422
    assert any(named.startswith(field) for named in answer.fields), answer.fields
