"""Who takes the recording back when the conversation is over: by ``*0`` at a node of the flow, or by the no of a second
asking. Nothing of it is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.domain.consent import Regime, RegimeTable
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_call_nodes import flow
from tests.unit.test_survey import FLOW, QUEUE, Talk, with_survey

MENU = {"type": "menu", "prompt": "menu", "choices": {"1": "end", "0": "end"}, "on_failure": "end", "tries": 3}
COLLECT: dict[str, Any] = {
    "type": "collect", "prompts": ["menu"], "variable": "card", "next": "end", "on_failure": "end", "tries": 3,
    "keep": True,
}  # fmt: skip
SAY = {"type": "say", "prompts": ["menu"], "next": "end"}
END = {"type": "hang_up", "prompts": ["goodbye"]}


def after(node: dict[str, Any]) -> dict[str, Any]:
    return flow("wait", wait=QUEUE, rating=node, end=END)


NODES = {"survey": FLOW, "menu": after(MENU), "collect": after(COLLECT), "say": after(SAY)}


async def at_node(world: World, talk: Talk) -> None:
    talk.hang_up(talk.anna)
    await world.until(lambda: world.kinds(talk.caller).count("NodeEntered") == 2, "the node after the conversation")
    await world.run(0.2)
    assert len(world.files()) == 1, "the recording rests"


@pytest.mark.parametrize("node", list(NODES))
async def test_star_and_zero_at_a_node_destroy_what_was_recorded(tmp_path: Path, node: str) -> None:
    async with World(tmp_path, NODES[node]) as world:
        talk = Talk(world)
        caller = await talk.begin()
        await at_node(world, talk)
        heard = list(caller.heard)
        caller.press("*")
        caller.press("0")
        await world.run(0.5)
        assert world.files() == []
        assert caller.heard == heard, "the node goes on as if nothing had been pressed"
        if node == "survey":
            caller.press("1")
            await talk.asked("survey-rating")
        caller.hang_up()
        cdr = await world.ended(caller)
    assert [one.discarded for one in cdr.recordings] == [True]
    assert [(one.granted, one.reason) for one in cdr.consents] == [(False, "withdrawn")]


@pytest.mark.parametrize(
    "keys", ["0", "*1", "**", "0*"], ids=["no star", "another code", "two stars", "the wrong way round"]
)
async def test_other_keys_destroy_nothing(tmp_path: Path, keys: str) -> None:
    async with World(
        tmp_path, with_survey(questions=[{"id": "csat", "prompts": ["survey-rating"], "digits": "9"}])
    ) as world:
        talk = Talk(world)
        caller = await talk.begin()
        await at_node(world, talk)
        for key in keys:
            caller.press(key)
        await world.run(0.5)
        assert len(world.files()) == 1
        caller.hang_up()
        cdr = await world.ended(caller)
    assert [one.discarded for one in cdr.recordings] == [False]


async def test_a_node_that_asks_for_the_star_has_it(tmp_path: Path) -> None:
    starred = COLLECT | {"terminator": "*", "max_digits": 3}
    async with World(tmp_path, after(starred)) as world:
        talk = Talk(world)
        caller = await talk.begin()
        await at_node(world, talk)
        for key in "12*":
            caller.press(key)
        await talk.asked("goodbye")
        caller.press("0")
        cdr = await world.ended(caller)
    assert [one.discarded for one in cdr.recordings] == [False]


@pytest.mark.parametrize(("digit", "destroyed"), [("2", True), ("1", False), (None, False)])
async def test_no_to_a_second_asking_destroys_what_was_recorded(
    tmp_path: Path, digit: str | None, destroyed: bool
) -> None:
    asking = {"type": "consent", "next": "end", "at_least": "opt_in", "tries": 1}
    async with World(tmp_path, after(asking)) as world:
        talk = Talk(world)
        caller = await talk.begin()
        await at_node(world, talk)
        await talk.asked("consent-keys-opt-in")
        if digit is not None:
            caller.press(digit)
        cdr = await world.ended(caller)
    assert [one.discarded for one in cdr.recordings] == [destroyed]
    assert world.files() == [] if destroyed else len(world.files()) == 1


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
async def test_a_controller_that_dies_between_the_keys(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        await at_node(world, talk)
        caller.press("*")
        await world.run(0.2)
        await world.restart(kill=kill)
        caller.press("0")
        await world.run(0.5)
        assert world.files() == []
        caller.hang_up()
        cdr = await world.ended(caller)
    assert [one.discarded for one in cdr.recordings] == [True]


@pytest.mark.parametrize("when", ["before any conversation", "between two"])
async def test_who_takes_it_back_while_waiting_is_not_recorded_afterwards(tmp_path: Path, when: str) -> None:
    """Not only what there is: one that would begin with the next conversation never does."""
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE, "PL": Regime.NOTICE}, Regime.OPT_IN)
        if when == "between two":  # the first agent's place asks for more than anybody was told
            world.agent("pawel", country="PL")
        caller = await world.call()
        if when == "between two":
            await world.until(lambda: caller.hears == "talk", "the first conversation")
            await world.run(1)
            assert world.engine.recorded == []
            world.status("pawel", "NOT_READY", "lunch")
            assert await world.command(wire.TransferCall(call_id=world.call_id(caller), queue_id="support")) is None
        waits = ["before any conversation", "between two"].index(when) + 1
        await world.until(lambda: world.kinds(caller).count("QueueJoined") == waits, "the wait")
        caller.press("*")
        caller.press("0")
        await world.run(1)
        world.agent("anna")
        await world.until(lambda: caller.hears == "talk", "the conversation")
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert world.engine.recorded == []
    assert cdr.recordings == []
    assert [(one.granted, one.reason) for one in cdr.consents] == [(False, "withdrawn")]
    assert [talk.agent_id for talk in cdr.talks][-1] == "anna"
