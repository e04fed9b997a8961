"""Conversations: bridge, take apart, transfer, hold, mute."""

from __future__ import annotations

import contextlib

import pytest

from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.events import DigitPressed, LegEnded, LegsBridged, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId
from tests.contract.backend import Backend, Controller, to_trunk
from tests.contract.far_end import PROMPT_HZ, SECOND_HZ, all_hear

MUSIC_HZ = PROMPT_HZ["music"]


class Bridges:
    async def test_two_legs_talk(self, backend: Backend, controller: Controller) -> None:
        """Music and plays on them end; the snapshot shows the conversation."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            await controller.engine.start_music(first, "default")
            await caller.hears(MUSIC_HZ)
            second = await controller.reached(anna, first)
            play = await controller.play(second, "long")
            await anna.hears(PROMPT_HZ["long"])
            bridge_id = await controller.bridged(first, second)
            bridged = await controller.listener.wait_for(LegsBridged)
            assert bridged.bridge_id == bridge_id
            assert set(bridged.leg_ids) == {first, second}
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
            ended = await controller.listener.wait_for(PlayEnded)
            assert (ended.play_id, ended.completed) == (play, False)
            snapshot = await controller.engine.snapshot()
            assert {leg.leg_id: leg.bridge_id for leg in snapshot.legs} == {first: bridge_id, second: bridge_id}
            assert snapshot.bridges == (bridge_id,)
        assert len(controller.listener.of(LegsBridged)) == 1

    async def test_both_stay_in_control_when_it_is_taken_apart(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, bridge_id = await controller.talk(caller, anna)
            await controller.engine.destroy_bridge(bridge_id)
            await all_hear([(caller, []), (anna, [])])
            with pytest.raises(LegGone):
                await controller.engine.destroy_bridge(bridge_id)
            await controller.play(first, "long")
            await controller.engine.start_music(second, "default")
            await all_hear([(caller, [PROMPT_HZ["long"]]), (anna, [MUSIC_HZ])])
            await controller.bridged(first, second)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
        assert not controller.listener.of(LegEnded)[2:]

    async def test_the_other_side_stays_when_one_hangs_up(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, bridge_id = await controller.talk(caller, anna)
            await anna.hang_up()
            assert await controller.outcome(second) is HangupCause.NORMAL_CLEARING
            with contextlib.suppress(LegGone):
                await controller.engine.destroy_bridge(bridge_id)
            await caller.hears()
            await controller.play(first, "short")
            assert (await controller.listener.wait_for(PlayEnded)).completed
            assert not [event for event in controller.listener.of(LegEnded) if event.leg_id == first]
            leg = await controller.leg(first)
            assert leg is not None
            assert (leg.bridge_id, leg.in_control) == (None, True)

    async def test_bridging_with_a_leg_that_is_over(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            second = await controller.reached(anna, first)
            await anna.hang_up()
            await controller.outcome(second)
            with pytest.raises(LegGone):
                await controller.bridged(first, second)
            assert (await controller.engine.snapshot()).bridges == ()

    # --- transfers ----------------------------------------------------------------------------------------------------

    async def test_blind_transfer(self, backend: Backend, controller: Controller) -> None:
        """The agent leaves, the caller waits with music, the callee answers, they talk."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna, backend.callee() as callee:
            first, second, bridge_id = await controller.talk(caller, anna)
            await controller.engine.destroy_bridge(bridge_id)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await controller.engine.start_music(first, "default")
            third = await controller.originate(to_trunk(), first)
            await callee.rings()
            await caller.hears(MUSIC_HZ)
            await callee.answer()
            await controller.listener.wait_for(LegEnded, lambda e: e.leg_id == second)
            await controller.answered(third)
            await controller.bridged(first, third)
            await all_hear([(caller, [callee.hz]), (callee, [caller.hz])])

    async def test_attended_transfer(self, backend: Backend, controller: Controller) -> None:
        """A bridge takes a leg out of the one it is in: the caller is held, the agent talks to the callee, the caller
        and the callee are bridged, and the agent is left behind in silence."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna, backend.callee() as callee:
            first, second, _ = await controller.talk(caller, anna)
            await controller.engine.hold(first, "default")
            third = await controller.originate(to_trunk(), second)
            await callee.rings()
            await callee.answer()
            await controller.answered(third)
            await controller.bridged(second, third)
            await all_hear([(caller, [MUSIC_HZ]), (anna, [callee.hz]), (callee, [anna.hz])])
            last = await controller.bridged(first, third)
            await all_hear([(caller, [callee.hz]), (callee, [caller.hz]), (anna, [])])
            leg = await controller.leg(second)
            assert leg is not None
            assert (leg.bridge_id, leg.in_control) == (None, True)
            assert (await controller.engine.snapshot()).bridges == (last,)
            await controller.play(second, "short")
            assert (await controller.listener.wait_for(PlayEnded)).completed
        assert len(controller.listener.of(LegsBridged)) == 3

    async def test_leg_moves_to_another_agent(self, backend: Backend, controller: Controller) -> None:
        async with (
            backend.caller() as caller,
            backend.phone(controller, "anna") as anna,
            backend.phone(controller, "bert", SECOND_HZ) as bert,
        ):
            first, second, old = await controller.talk(caller, anna)
            third = await controller.reached(bert, first)
            await controller.bridged(first, third)
            await all_hear([(caller, [bert.hz]), (bert, [caller.hz]), (anna, [])])
            with pytest.raises(LegGone):
                await controller.engine.destroy_bridge(old)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await anna.is_over()
            await all_hear([(caller, [bert.hz]), (bert, [caller.hz])])

    # --- hold ---------------------------------------------------------------------------------------------------------

    async def test_hold_and_back(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            for _ in range(2):
                await controller.engine.hold(first, "default")
                await all_hear([(caller, [MUSIC_HZ]), (anna, [])])
                await controller.engine.unhold(first)
                await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
            await controller.engine.hold(second, "default")
            await all_hear([(caller, []), (anna, [MUSIC_HZ])])
            await controller.engine.unhold(second)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
        assert len(controller.listener.of(LegsBridged)) == 1

    async def test_hold_that_makes_no_sense(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            with pytest.raises(EngineRefused):
                await controller.engine.hold(first, "default")
            second = await controller.reached(anna, first)
            bridge_id = await controller.bridged(first, second)
            await caller.hears(anna.hz)
            with pytest.raises(EngineRefused):
                await controller.engine.unhold(first)
            await controller.engine.hold(first, "default")
            with pytest.raises(EngineRefused):
                await controller.engine.hold(first, "default")
            await caller.hears(MUSIC_HZ)
            await controller.engine.destroy_bridge(bridge_id)
            with pytest.raises(LegGone):
                await controller.engine.unhold(first)
            await controller.engine.stop_music(first)
            await caller.hears()

    async def test_held_leg_whose_other_side_hangs_up(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, bridge_id = await controller.talk(caller, anna)
            await controller.engine.hold(first, "default")
            await caller.hears(MUSIC_HZ)
            await anna.hang_up()
            await controller.outcome(second)
            await caller.hears(MUSIC_HZ)
            with contextlib.suppress(LegGone):
                await controller.engine.destroy_bridge(bridge_id)
            with pytest.raises(LegGone):
                await controller.engine.unhold(first)
            await controller.engine.stop_music(first)
            await caller.hears()
            await controller.engine.hang_up(first, HangupCause.NORMAL_CLEARING)
            await caller.is_over()

    async def test_held_leg_hangs_up(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            await controller.engine.hold(first, "default")
            await caller.hears(MUSIC_HZ)
            await caller.hang_up()
            assert await controller.outcome(first) is HangupCause.NORMAL_CLEARING
            with pytest.raises(LegGone):
                await controller.engine.unhold(first)
            await controller.play(second, "short")
            assert (await controller.listener.wait_for(PlayEnded)).completed

    # --- mute ---------------------------------------------------------------------------------------------------------

    async def test_mute(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            await controller.engine.mute(second, True)
            await all_hear([(caller, []), (anna, [caller.hz])])
            await anna.press("5")
            digit = await controller.listener.wait_for(DigitPressed)
            assert (digit.leg_id, digit.digit) == (second, "5")
            await controller.engine.mute(second, True)
            await controller.engine.mute(second, False)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
            await controller.engine.mute(second, False)
            await controller.engine.mute(first, True)
            await all_hear([(caller, [anna.hz]), (anna, [])])
            await controller.engine.mute(first, False)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])

    async def test_unknown_bridge(self, backend: Backend, controller: Controller) -> None:
        with pytest.raises(LegGone):
            await controller.engine.destroy_bridge(BridgeId("never"))
