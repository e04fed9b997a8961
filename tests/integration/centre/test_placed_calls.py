"""An agent's call asked for by the API: who may ask, what reaches the POP, what the POP refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.wire.messages import CommandReply, PlaceCall
from tests.integration.centre.access_world import PLACES, POPS, SCOPES, Scope, World, make_world
from tests.integration.centre.support import Api, pop

NUMBER = "+493055501234"


@pytest.fixture
async def world(api: Api, centre: tuple[Centre, str]) -> World:
    return await make_world(api, centre[0])


async def key_of(world: World) -> str:
    return str((await world.api.post(f"/pops/{POPS['eu']}/key")).body["key"])


async def test_agents_call_for_themselves_and_supervisors_within_their_scope(
    world: World, settings: CentreSettings, tmp_path: Path
) -> None:
    own, others = world.places[PLACES[0]], world.places["billing", "eu"]
    agent, supervisor = await world.caller("agent", Scope()), await world.caller("supervisor", SCOPES["sales"])
    async with pop(tmp_path / "j.db", settings.bus_port, await key_of(world)) as site:
        site.handler.answer = lambda _request: CommandReply(call_id="01CALL")

        async def asked(caller: dict[str, str], **body: Any) -> int:
            return (await world.api.post("/calls", body, headers=caller)).status

        for caller in (agent, supervisor):
            assert await asked(caller, agent_id=own.ids["agent_id"], number=NUMBER) == 201
            assert await asked(caller, agent_id=others.ids["agent_id"], number=NUMBER) == 404
            in_queue = {"agent_id": own.ids["agent_id"], "number": NUMBER}
            assert await asked(caller, **in_queue, queue_id=own.ids["queue_id"]) == 201
            assert await asked(caller, **in_queue, queue_id=others.ids["queue_id"]) == 404
        assert await asked(await world.caller("compliance", Scope()), **in_queue) == 403
        commands = [request.command for request in site.handler.commands]
    plain = PlaceCall(agent_id=own.ids["agent_id"], number=NUMBER)
    queued = PlaceCall(agent_id=own.ids["agent_id"], number=NUMBER, queue_id=own.ids["queue_id"])
    assert commands == [plain, queued] * 2


async def test_asked_twice_it_is_placed_once(world: World, settings: CentreSettings, tmp_path: Path) -> None:
    agent = {**await world.caller("agent", Scope()), "Idempotency-Key": "click-1"}
    body = {"agent_id": world.places[PLACES[0]].ids["agent_id"], "number": "030 5550 1234"}
    async with pop(tmp_path / "j.db", settings.bus_port, await key_of(world)) as site:
        site.handler.answer = lambda _request: CommandReply(call_id="01CALL")
        first = await world.api.post("/calls", body, headers=agent)
        again = await world.api.post("/calls", body, headers=agent)
        commands = [request.command for request in site.handler.commands]
    assert (first.status, first.body, again.body) == (201, {"call_id": "01CALL"}, first.body)
    assert [command.number for command in commands if isinstance(command, PlaceCall)] == ["+493055501234"]


@pytest.mark.parametrize("number", ["112", "hello", "+", "0"])
async def test_what_is_no_number_for_it_is_named(world: World, number: str) -> None:
    body = {"agent_id": world.places[PLACES[0]].ids["agent_id"], "number": number}
    refused = await world.api.post("/calls", body)
    assert refused.status == 422
    assert list(refused.fields) == ["number"]
    assert ("at the phone" in refused.fields["number"]) is (number == "112")


@pytest.mark.parametrize(
    ("reply", "status", "error_id"),
    [
        (CommandReply(error_id="number_refused", detail="number: is a premium number"), 422, "invalid"),
        (CommandReply(error_id="agent_busy", detail="the agent's phone cannot be rung now"), 409, "agent_busy"),
        (CommandReply(error_id="no_trunk", detail="set it"), 409, "no_trunk"),
    ],
)
async def test_what_the_pop_refuses(
    world: World, settings: CentreSettings, tmp_path: Path, reply: CommandReply, status: int, error_id: str
) -> None:
    body = {"agent_id": world.places[PLACES[0]].ids["agent_id"], "number": NUMBER}
    async with pop(tmp_path / "j.db", settings.bus_port, await key_of(world)) as site:
        site.handler.answer = lambda _request: reply
        refused = await world.api.post("/calls", body)
    assert (refused.status, refused.error_id) == (status, error_id)
    if status == 422:
        assert refused.fields == {"number": "is a premium number"}
