"""Feature codes: what they mean, and what a phone that dials one gets done."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.controller.feature_calls import LONGEST_S
from pbx.domain.feature_codes import Dialled, Feature, read
from pbx.domain.hangup_cause import HangupCause
from tests.support.world import SHORT_FLOW, World


@pytest.mark.parametrize(
    ("code", "means"),
    [
        ("*11", Dialled(Feature.READY)),
        ("*12", Dialled(Feature.LOG_OUT)),
        ("*13", Dialled(Feature.NOT_READY, "BREAK")),
        ("*132", Dialled(Feature.NOT_READY, "LUNCH")),
        ("*1342", Dialled(Feature.NOT_READY, "REASON_42")),
        ("*14", Dialled(Feature.END_WRAP_UP)),
        ("*15", Dialled(Feature.EXTEND_WRAP_UP)),
        ("*21101", Dialled(Feature.LISTEN, extension="101")),
        ("*24123456", Dialled(Feature.TAKE_OVER, extension="123456")),
        ("*21", None),
        ("*231234567", None),
        ("*7701", Dialled(Feature.RETRIEVE, slot=701)),
        ("*7", None),
        ("*770", None),
        ("*777777", None),
        ("*111", None),
        ("*99", None),
        ("*1", None),
        ("11", None),
        ("**11", None),
        ("*131234", None),
        ("*1\u06611", None),
    ],
)
def test_what_codes_mean(code: str, means: Dialled | None) -> None:
    assert read(code) == means


async def test_an_agent_logs_in_takes_a_break_and_logs_out(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        anna = world.agent("anna", available=False)
        for code, prompt, state in [
            ("*11", "de/agent-available", ("AVAILABLE", None, "IDLE")),
            ("*132", "de/agent-not-ready", ("NOT_READY", "LUNCH", "IDLE")),
            ("*11", "de/agent-available", ("AVAILABLE", None, "IDLE")),
            ("*12", "de/agent-logged-out", ("LOGGED_OUT", None, "IDLE")),
        ]:
            dialled = world.engine.dial_feature(anna, code)
            await world.until(lambda dialled=dialled: dialled.cause is not None, "the end of the feature call")
            assert dialled.heard == [prompt]
            assert dialled.cause is HangupCause.NORMAL_CLEARING
            assert world.state("anna") == state
        assert not world.pop.calls


async def test_who_becomes_ready_is_rung_only_when_the_phone_is_free(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna", available=False)
        caller = await world.call()
        await world.until(lambda: "QueueJoined" in world.kinds(caller))
        dialled = world.engine.dial_feature(anna, "*11")
        await world.until(lambda: bool(dialled.heard))
        assert world.state("anna")[0] == "LOGGED_OUT"
        assert anna.rung == 0
        await world.until(lambda: anna.rung == 1)
        assert dialled.cause is not None
        caller.hang_up()
        await world.ended(caller)


async def test_an_agent_who_hangs_up_before_the_prompt_is_over_is_ready_all_the_same(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        anna = world.agent("anna", available=False)
        dialled = world.engine.dial_feature(anna, "*11")
        await world.until(lambda: bool(dialled.heard))
        dialled.hang_up()
        await world.until(lambda: world.state("anna")[0] == "AVAILABLE")


async def test_wrap_up_by_code(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=30) as world:
        anna = world.agent("anna")
        refused = world.engine.dial_feature(anna, "*14")
        await world.until(lambda: refused.cause is not None)
        assert refused.heard == ["de/agent-code-refused"]
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "ON_CALL")
        caller.hang_up()
        await world.ended(caller)
        extended = world.engine.dial_feature(anna, "*15")
        await world.until(lambda: extended.cause is not None)
        await world.run(60)
        assert world.state("anna")[2] == "WRAP_UP"
        world.engine.dial_feature(anna, "*14")
        await world.until(lambda: world.state("anna")[2] == "IDLE")


@pytest.mark.parametrize(("phone", "code"), [("anna", "*99"), ("stranger", "*11")])
async def test_what_means_nothing_is_refused(tmp_path: Path, phone: str, code: str) -> None:
    async with World(tmp_path) as world:
        world.agent("anna", available=False)
        dialled = world.engine.dial_feature(world.engine.phone(phone), code)
        await world.until(lambda: dialled.cause is not None)
        assert dialled.cause is HangupCause.UNALLOCATED_NUMBER
        assert dialled.heard == []
        assert world.state("anna") == ("LOGGED_OUT", None, "IDLE")


async def test_a_code_during_an_offer_of_the_same_phone_withdraws_it(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        world.engine.dial_feature(anna, "*13")
        await world.until(lambda: world.state("anna") == ("NOT_READY", "BREAK", "IDLE"))
        caller.hang_up()
        await world.ended(caller)


async def test_a_feature_call_lost_with_the_media_server_leaves_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        anna = world.agent("anna", available=False)
        dialled = world.engine.dial_feature(anna, "*11")
        await world.until(lambda: bool(dialled.heard))
        world.engine.crash()
        await world.until(lambda: world.state("anna")[0] == "AVAILABLE")
        assert not world.pop.features.owns(dialled.leg_id)
        await world.run(LONGEST_S + 1)
