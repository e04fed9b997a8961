"""Supervisors: listen, whisper, barge."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.events import LegOffered, LegsBridged, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId
from pbx.ports.media_engine import Supervision
from tests.contract.backend import Backend, Controller
from tests.contract.far_end import PROMPT_HZ, SUPERVISOR_HZ, FarEnd, all_hear


@dataclass(frozen=True)
class Scene:
    """A conversation, and a supervisor who has answered."""

    caller: FarEnd
    anna: FarEnd
    boss: FarEnd
    first: LegId
    second: LegId
    third: LegId
    bridge_id: BridgeId

    async def hear(self, caller: list[int], anna: list[int], boss: list[int]) -> None:
        await all_hear([(self.caller, caller), (self.anna, anna), (self.boss, boss)])


async def scene(stack: AsyncExitStack, backend: Backend, controller: Controller) -> Scene:
    caller = await stack.enter_async_context(backend.caller())
    anna = await stack.enter_async_context(backend.phone(controller, "anna"))
    boss = await stack.enter_async_context(backend.phone(controller, "boss", SUPERVISOR_HZ))
    first, second, bridge_id = await controller.talk(caller, anna)
    third = await controller.reached(boss, first)
    return Scene(caller, anna, boss, first, second, third, bridge_id)


@pytest.mark.needs("supervision")
class Supervisions:
    async def test_listen(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)
            await at.hear([at.anna.hz], [at.caller.hz], [at.caller.hz, at.anna.hz])
            snapshot = await controller.engine.snapshot()
            # What the server needs for it is not the controller's business.
            assert {leg.leg_id: leg.bridge_id for leg in snapshot.legs} == {
                at.first: at.bridge_id,
                at.second: at.bridge_id,
                at.third: None,
            }
            assert snapshot.bridges == (at.bridge_id,)
            await controller.engine.stop_supervising(at.third)
            await at.hear([at.anna.hz], [at.caller.hz], [])
            with pytest.raises(EngineRefused):
                await controller.engine.stop_supervising(at.third)
            await controller.play(at.third, "short")
            assert (await controller.listener.wait_for(PlayEnded)).completed
        assert len(controller.listener.of(LegOffered)) == len(controller.listener.of(LegsBridged)) == 1

    async def test_whisper(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.WHISPER)
            await at.hear([at.anna.hz], [at.caller.hz, at.boss.hz], [at.caller.hz, at.anna.hz])

    async def test_barge(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.BARGE)
            await at.hear([at.anna.hz, at.boss.hz], [at.caller.hz, at.boss.hz], [at.caller.hz, at.anna.hz])

    async def test_mode_changes(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            both = [at.caller.hz, at.anna.hz]
            await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)
            await at.hear([at.anna.hz], [at.caller.hz], both)
            await controller.engine.supervise(at.third, at.second, Supervision.BARGE)
            await at.hear([at.anna.hz, at.boss.hz], [at.caller.hz, at.boss.hz], both)
            await controller.engine.supervise(at.third, at.second, Supervision.WHISPER)
            await at.hear([at.anna.hz], [at.caller.hz, at.boss.hz], both)
            await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)
            await at.hear([at.anna.hz], [at.caller.hz], both)

    async def test_muted_agent_is_not_heard_by_the_supervisor(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)
            await at.boss.hears(at.caller.hz, at.anna.hz)
            await controller.engine.mute(at.second, True)
            await at.hear([], [at.caller.hz], [at.caller.hz])

    async def test_ends_with_the_watched_leg(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.WHISPER)
            await at.boss.hears(at.caller.hz, at.anna.hz)
            await at.anna.hang_up()
            await controller.outcome(at.second)
            await at.boss.hears()
            leg = await controller.leg(at.third)
            assert leg is not None
            assert (leg.bridge_id, leg.in_control) == (None, True)
            await controller.play(at.third, "long")
            await at.boss.hears(PROMPT_HZ["long"])
            with pytest.raises(LegGone):
                await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)

    async def test_ends_with_the_supervisor(self, backend: Backend, controller: Controller) -> None:
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.BARGE)
            await at.caller.hears(at.anna.hz, at.boss.hz)
            await at.boss.hang_up()
            assert await controller.outcome(at.third) is HangupCause.NORMAL_CLEARING
            await all_hear([(at.caller, [at.anna.hz]), (at.anna, [at.caller.hz])])

    async def test_joins_the_conversation(self, backend: Backend, controller: Controller) -> None:
        """A bridge with the supervisor's leg ends the supervision: the supervisor takes the call over."""
        async with AsyncExitStack() as stack:
            at = await scene(stack, backend, controller)
            await controller.engine.supervise(at.third, at.second, Supervision.LISTEN)
            await at.boss.hears(at.caller.hz, at.anna.hz)
            await controller.bridged(at.first, at.third)
            await at.hear([at.boss.hz], [], [at.caller.hz])

    async def test_supervision_that_makes_no_sense(self, backend: Backend, controller: Controller) -> None:
        async with (
            backend.caller() as caller,
            backend.phone(controller, "anna") as anna,
            backend.phone(controller, "boss", SUPERVISOR_HZ) as boss,
        ):
            engine = controller.engine
            first = await controller.called_by(caller)
            third = await controller.reached(boss, first)
            with pytest.raises(EngineRefused):
                await engine.supervise(third, first, Supervision.LISTEN)
            with pytest.raises(EngineRefused):
                await engine.stop_supervising(third)
            with pytest.raises(LegGone):
                await engine.supervise(third, LegId("never"), Supervision.LISTEN)
            second = await controller.reached(anna, first)
            await controller.bridged(first, second)
            with pytest.raises(EngineRefused):
                await engine.supervise(second, first, Supervision.LISTEN)
