"""What a caller's answer is good for later: under which rule it was asked, and whether it was no."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.errors import BadValue
from pbx.domain.flow import AskConsent, parse
from pbx.domain.ids import FlowId
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_consultation import CONFERENCE, Consulting

TOLD = {"DE": Regime.NOTICE, "PH": Regime.OPT_OUT, "VN": Regime.OPT_IN, "XN": Regime.NONE}


def asking(**fields: Any) -> dict[str, Any]:
    consent = {"type": "consent", "next": "wait", "timeout_s": 1, "tries": 1, **fields}
    return SHORT_FLOW | {"start": "consent", "nodes": SHORT_FLOW["nodes"] | {"consent": consent}}


@pytest.mark.parametrize(
    ("at_least", "digit", "agent", "recorded"),
    [
        ("none", None, "DE", True),
        ("none", None, "PH", False),  # nobody said how to refuse
        ("none", "1", "VN", False),  # nobody had asked for that key
        ("opt_out", None, "PH", True),
        ("opt_out", "2", "PH", False),
        ("opt_out", "1", "VN", False),  # the key says yes to nothing here: silence would have been the same
        ("opt_in", "1", "VN", True),
        ("opt_in", "1", "PH", True),
        ("opt_in", None, "DE", False),
    ],
)
async def test_an_answer_holds_for_the_rule_it_was_asked_by(
    tmp_path: Path, at_least: str, digit: str | None, agent: str, recorded: bool
) -> None:
    async with World(tmp_path, asking(at_least=at_least)) as world:
        world.config.regimes = RegimeTable(TOLD)
        world.agent("anna", country=agent)
        caller = await world.call()
        await world.until(lambda: len(caller.heard) == (1 if at_least == "none" else 2), "the notice to be over")
        if digit is not None:
            caller.press(digit)
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert bool(cdr.recordings) == bool(world.files()) == recorded
        if not recorded and agent != "DE":
            assert cdr.consents[-1].granted is False


async def test_no_is_no_where_the_law_would_not_have_asked(tmp_path: Path) -> None:
    async with World(tmp_path, asking(at_least="opt_out")) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: bool(caller.heard))
        caller.press("2")
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        assert world.files() == []
        caller.hang_up()
        await world.ended(caller)
        assert world.engine.recorded == []


async def test_keys_that_were_not_named_to_the_end_are_no_way_out(tmp_path: Path) -> None:
    async with World(tmp_path, asking()) as world:
        world.config.regimes = RegimeTable({"DE": Regime.OPT_OUT})
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: len(caller.heard) == 2)
        [play] = world.engine._plays
        await world.engine.stop_play(play)
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(one.granted, one.reason) for one in cdr.consents] == [(False, "prompt_cut")]
        assert world.engine.recorded == []


@pytest.mark.parametrize(
    ("policy", "caller", "asked", "digit", "recorded"),
    [
        ({"floor": "opt_in"}, "+493012345678", "opt_in", "1", True),
        ({"floor": "opt_in"}, "+493012345678", "opt_in", None, False),
        ({"places": {"DE": "opt_in"}}, "+4915112345678", "opt_in", None, False),
        ({"places": {"FR": "opt_in"}}, "+493012345678", "notice", None, True),
        ({"unknown": "prohibited"}, None, "prohibited", None, False),
        ({"unknown": "prohibited"}, "+493012345678", "notice", None, True),
    ],
)
async def test_a_consent_node_asks_as_the_policy_of_its_queue_demands(
    tmp_path: Path, policy: dict[str, Any], caller: str | None, asked: str, digit: str | None, recorded: bool
) -> None:
    consent_policy = wire.ConsentPolicyConfig(**policy)
    async with World(tmp_path, asking(queue="support"), consent_policy=consent_policy) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NOTICE}, unknown=Regime.NOTICE)
        world.agent("anna")
        call = await world.call(caller or "withheld", "DE" if caller else None)
        if digit is not None:
            await world.until(lambda: len(call.heard) == 2, "the question to be over")
            call.press(digit)
        await world.until(lambda: call.hears == "talk")
        await world.run(2)
        call.hang_up()
        cdr = await world.ended(call)
        assert bool(cdr.recordings) == recorded
        assert cdr.consents[0].regime == asked


@pytest.mark.parametrize(("digit", "recorded"), [(None, False), ("1", True)])
async def test_what_was_not_asked_as_strictly_as_the_queues_policy_demands_is_not_recorded(
    tmp_path: Path, digit: str | None, recorded: bool
) -> None:
    at_least = "none" if digit is None else "opt_in"
    consent_policy = wire.ConsentPolicyConfig(places={"PL": "opt_in"})
    async with World(tmp_path, asking(at_least=at_least), consent_policy=consent_policy) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NOTICE, "PL": Regime.NOTICE})
        world.agent("anna", country="PL")
        caller = await world.call()
        if digit is not None:
            await world.until(lambda: len(caller.heard) == 2)
            caller.press(digit)
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert bool(cdr.recordings) == recorded


@pytest.mark.parametrize("word", ["prohibited", "strict", ""])
def test_at_least_is_a_regime_that_asks(word: str) -> None:
    with pytest.raises(BadValue) as refused:
        parse(FlowId("f"), 1, asking(at_least=word))
    assert refused.value.field == "graph.nodes.consent.at_least"
    node = parse(FlowId("f"), 1, asking(at_least="opt_in")).nodes["consent"]
    assert isinstance(node, AskConsent)
    assert node.at_least is Regime.OPT_IN


@pytest.mark.parametrize("by_swap", [False, True])
async def test_a_pause_that_ends_in_a_conference_asks_for_the_third_one_too(tmp_path: Path, by_swap: bool) -> None:
    """Found by ``make fuzz-consent``: the agent went on alone, and with the agent's country only."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Consulting(world)
        await scene.begin({"DE": Regime.NONE, "EE": Regime.PROHIBITED}, boss="EE")
        pause = partial(wire.PauseRecording, call_id=scene.call_id)
        assert await world.command(pause(paused=True)) is None
        await scene.private()
        if by_swap:
            assert await scene.step("swap") is None
        assert await scene.step("conference") is None
        assert scene.hear() == CONFERENCE
        assert await world.command(pause(paused=False)) is None
        await world.run(3)
        assert world.engine.recordings == {}
        assert await scene.step("cancel") is None
        await world.run(3)
        cdr = await scene.finish()
        assert len(cdr.recordings) == 1, "what Anna and the caller said before"
