"""What waiting callers hear of their estimated wait."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.flow import parse
from pbx.domain.ids import FlowId, QueueId
from pbx.domain.wait_announcement import MINUTES, WAIT_PROMPTS, WaitAnnouncement
from tests.support.world import SHORT_FLOW, World


@pytest.mark.parametrize(
    ("wait_s", "prompt"),
    [
        (0.0, "wait-under-1"),
        (60.0, "wait-under-1"),
        (60.1, "wait-2"),
        (120.0, "wait-2"),
        (541.0, "wait-10"),
        (601.0, "wait-15"),
        (1800.0, "wait-30"),
        (1801.0, "wait-more"),
        (90_000.0, "wait-more"),
        (None, None),
    ],
)
def test_minutes_are_rounded_up(wait_s: float | None, prompt: str | None) -> None:
    assert WaitAnnouncement().prompt(wait_s) == prompt


def test_a_rise_of_one_step_is_not_told_and_a_real_one_is() -> None:
    wait = WaitAnnouncement()
    said = [wait.prompt(minutes * 60.0) for minutes in (5, 5, 6, 6, 7, 8, 4, 5, 4)]
    assert said == ["wait-5", "wait-5", None, None, "wait-7", None, "wait-4", None, "wait-4"]


@given(st.lists(st.one_of(st.none(), st.floats(0, 4000)), max_size=30))
def test_what_is_said_is_never_too_little_and_never_creeps_up(estimates: list[float | None]) -> None:
    wait, last = WaitAnnouncement(), None
    for estimate in estimates:
        said = wait.prompt(estimate)
        if said is None:
            continue
        step = WAIT_PROMPTS.index(said)
        assert estimate is not None
        assert step == len(MINUTES) or estimate <= MINUTES[step] * 60
        assert last is None or step != last + 1
        last = step


def _flow(**node: Any) -> dict[str, Any]:
    wait = {**SHORT_FLOW["nodes"]["wait"], "welcome": False, "announce_wait": True, **node}
    return {**SHORT_FLOW, "nodes": {**SHORT_FLOW["nodes"], "wait": wait}}


def _measured(world: World, handling_s: float) -> None:
    handling = world.pop.router.acd._lines[QueueId("support")].handling
    handling.ended.extend([handling_s * (0.5 + n / 200) for n in range(201)])


async def test_the_wait_is_told_after_the_position_and_again_as_it_grows_shorter(tmp_path: Path) -> None:
    async with World(tmp_path, _flow(), announce_every_s=60) as world:
        world.agent("anna")
        _measured(world, 200.0)
        first = await world.call()
        await world.until(lambda: first.hears == "talk")
        caller = await world.call()
        why = world.pop.router.why_waiting(world.call_id(caller))
        assert why.estimate is not None
        p80_s = why.estimate.p80_s
        await world.run(290)
        heard = [prompt for prompt in caller.heard if prompt != "music:default"]
        assert heard[:2] == ["de/position-1", f"de/wait-{math.ceil(p80_s / 60)}"], "what the API tells of the call, too"
        waits = [WAIT_PROMPTS.index(prompt[3:]) for prompt in heard if "wait" in prompt]
        assert waits == sorted(waits, reverse=True)
        assert waits[-1] < waits[0]
        told = [e for e in world.journal.read_call(world.call_id(caller)) if e.kind == "PositionTold"]
        assert told, "the estimate is in the journal"
        assert all(b'"wait_s"' in bytes(e.data) for e in told)
        for one in (first, caller):
            one.hang_up()
            await world.ended(one)


async def test_nothing_is_told_and_the_music_goes_on_while_there_is_no_estimate(tmp_path: Path) -> None:
    async with World(tmp_path, _flow(announce_position=False), announce_every_s=20) as world:
        world.agent("anna")
        first = await world.call()
        await world.until(lambda: first.hears == "talk")
        caller = await world.call()
        await world.run(50)
        assert caller.heard == ["music:default"]
        _measured(world, 30.0)
        await world.run(20)
        assert caller.heard[:2] == ["music:default", "de/wait-under-1"], "as soon as there is one"
        assert caller.heard[2:3] == ["music:default"]
        for one in (first, caller):
            one.hang_up()
            await world.ended(one)


def test_the_prompts_are_needed_only_where_the_wait_is_told() -> None:
    assert set(WAIT_PROMPTS) <= parse(FlowId("f"), 1, _flow()).prompt_ids()
    assert not set(WAIT_PROMPTS) & parse(FlowId("f"), 1, SHORT_FLOW).prompt_ids()
