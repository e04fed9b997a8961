"""Controllers that die while a queue or an outside number is consulted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx.domain.ids import LegId
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_consulting_out import KINDS, MUSIC, NONE, RINGING, STAGES, Out

KILL = pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])


@KILL
@KINDS
async def test_its_phone_rings(tmp_path: Path, kill: bool, kind: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, kind)
        await scene.begin(NONE)
        await scene.ringing()
        await world.restart(kill=kill)
        await world.run(1)
        assert scene.all_hear() == (MUSIC, RINGING, set())
        world.engine.pick_up(scene.far_leg or LegId(""))
        await world.until(lambda: scene.all_hear() == (MUSIC, {"far"}, {"anna"}))
        assert await scene.step("complete") is None
        await world.until(scene.handed_over)
        scene.hang_far_up()
        cdr = await world.ended(scene.caller)
        assert [one.ended for one in cdr.consultations] == ["completed"]


@KILL
async def test_the_queue_has_nobody_yet(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, "queue")
        await scene.begin(NONE)
        assert await scene.consult() is None
        await world.run(5)
        before = scene.all_hear()[:2]
        await world.restart(kill=kill)
        await world.run(1)
        assert scene.all_hear()[:2] == before
        scene.bela = scene.billed()
        await world.until(lambda: scene.all_hear() == (MUSIC, {"far"}, {"anna"}))
        assert await scene.step("cancel") is None
        await world.until(scene.together)
        scene.hang_up(scene.anna)
        cdr = await world.ended(scene.caller)
        assert [one.ended for one in cdr.consultations] == ["cancelled"]
        assert cdr.queue_id == "support"


@KILL
@KINDS
@STAGES
async def test_they_talk(tmp_path: Path, kill: bool, kind: str, stage: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Out(world, kind)
        await scene.begin(NONE)
        await scene.at(stage)
        heard = scene.all_hear()
        await world.restart(kill=kill)
        await world.run(1)
        assert scene.all_hear() == heard
        assert await scene.step("complete") is None
        await world.until(scene.handed_over)
        scene.hang_far_up()
        cdr = await world.ended(scene.caller)
        assert [one.ended for one in cdr.consultations] == ["completed"]
