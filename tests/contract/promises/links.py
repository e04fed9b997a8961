"""The controller away and back: what is on the server stays, and is found again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from pbx.domain.events import DigitPressed, LegEnded, LegOffered, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId
from pbx.ports.media_engine import Supervision
from tests.contract.backend import Backend, Controller, fresh
from tests.contract.far_end import PROMPT_HZ, SUPERVISOR_HZ, FarEnd, all_hear


@contextlib.asynccontextmanager
async def dying(backend: Backend) -> AsyncIterator[Controller]:
    """A controller that the test ends by ``backend.crash``; ended in order if the test fails before."""
    async with contextlib.AsyncExitStack() as stack:
        controller = await stack.enter_async_context(backend.controller())
        crash = stack.pop_all()
        try:
            yield controller
        except BaseException:
            await crash.aclose()
            raise


async def hung_up(controller: Controller, *legs: LegId) -> None:
    """The controller hangs up these legs, and they end."""
    for leg_id in legs:
        await controller.engine.hang_up(leg_id, HangupCause.NORMAL_CLEARING)
    for leg_id in legs:
        await controller.outcome(leg_id)


class Links:
    async def test_snapshot_of_a_new_controller(self, unattended: Backend) -> None:
        """Everything that lives is in it, with its variables; commands work on what another controller began."""
        backend = unattended
        async with contextlib.AsyncExitStack() as stack:
            before = await stack.enter_async_context(dying(backend))
            caller = await stack.enter_async_context(backend.caller())
            other = await stack.enter_async_context(backend.caller("other", SUPERVISOR_HZ))
            anna = await stack.enter_async_context(backend.phone(before, "anna"))
            first, second, bridge_id = await before.talk(caller, anna)
            await before.engine.set_variables(first, {"CALLPLANE_CALL": "C1", "CALLPLANE_ROLE": "caller"})
            await before.engine.set_variables(second, {"CALLPLANE_CALL": "C1", "CALLPLANE_ROLE": "agent"})
            third = await before.called_by(other)
            await before.engine.start_music(third, "default")
            await other.hears(PROMPT_HZ["music"])
            await backend.crash(before)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz]), (other, [PROMPT_HZ["music"]])])
            after = await stack.enter_async_context(backend.controller())
            snapshot = after.listener.ups[0]
            seen = {leg.leg_id: leg for leg in snapshot.legs}
            assert seen.keys() == {first, second, third}
            assert all(leg.answered and leg.in_control for leg in seen.values())
            assert [seen[leg].bridge_id for leg in (first, second, third)] == [bridge_id, bridge_id, None]
            assert seen[first].variables == {"CALLPLANE_CALL": "C1", "CALLPLANE_ROLE": "caller"}
            assert seen[second].variables == {"CALLPLANE_CALL": "C1", "CALLPLANE_ROLE": "agent"}
            assert seen[third].variables == {}
            assert snapshot.bridges == (bridge_id,)
            assert "anna" in snapshot.reachable_phones
            await after.engine.stop_music(third)
            await other.hears()
            await after.play(third, "short")
            assert (await after.listener.wait_for(PlayEnded)).completed
            await caller.press("4")
            await after.listener.wait_for(DigitPressed, lambda e: e.leg_id == first)
            await after.engine.destroy_bridge(bridge_id)
            await all_hear([(caller, []), (anna, [])])
            await hung_up(after, first, second, third)
            assert not after.listener.of(LegOffered)

    async def test_leg_that_ended_meanwhile(self, unattended: Backend) -> None:
        """It is not in the snapshot; an engine that keeps events says its end as well."""
        backend = unattended
        async with contextlib.AsyncExitStack() as stack:
            before = await stack.enter_async_context(dying(backend))
            caller = await stack.enter_async_context(backend.caller())
            other = await stack.enter_async_context(backend.caller("other", SUPERVISOR_HZ))
            first = await before.called_by(caller)
            second = await before.called_by(other)
            keeps_events = before.engine.capabilities.queues_events_while_away
            await backend.crash(before)
            await caller.hang_up()
            await caller.is_over()
            after = await stack.enter_async_context(backend.controller())
            assert {leg.leg_id for leg in after.listener.ups[0].legs} <= {first, second}
            if keeps_events:
                await after.outcome(first)
            assert await after.leg(first) is None
            await hung_up(after, second)

    async def test_conversation_that_ended_meanwhile(self, unattended: Backend) -> None:
        """The next controller removes what is left of it."""
        backend = unattended
        async with contextlib.AsyncExitStack() as stack:
            before = await stack.enter_async_context(dying(backend))
            caller = await stack.enter_async_context(backend.caller())
            anna = await stack.enter_async_context(backend.phone(before, "anna"))
            await before.talk(caller, anna)
            await backend.crash(before)
            await caller.hang_up()
            await anna.hang_up()
            after = await stack.enter_async_context(backend.controller())
            await after.settled()

    async def test_ringing_that_an_earlier_controller_began(self, unattended: Backend) -> None:
        """It keeps nobody out of a conversation."""
        backend = unattended
        async with contextlib.AsyncExitStack() as stack:
            before = await stack.enter_async_context(dying(backend))
            caller = await stack.enter_async_context(backend.caller())
            anna = await stack.enter_async_context(backend.phone(before, "anna"))
            first, second, _ = await before.talk(caller, anna)
            await before.engine.hold(first, "default")
            await before.engine.start_ringing(second)
            await anna.hears_ringing()
            await backend.crash(before)
            after = await stack.enter_async_context(backend.controller())
            await after.engine.bridge(BridgeId(fresh()), (first, second))
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
            await hung_up(after, first, second)

    # --- a controller that dies at each step of a call ----------------------------------------------------------------

    @pytest.mark.parametrize(
        "step",
        ["offered", "early", "playing", "music", "ringing", "bridged", "held", "muted", "recording", "supervised"],
    )
    async def test_controller_dies(self, unattended: Backend, step: str) -> None:
        """The call goes on; the next controller finds it and can finish it, at whichever step."""
        async with contextlib.AsyncExitStack() as stack:
            await Step(unattended, stack).run(step)

    @pytest.mark.parametrize("step", ["offered", "playing", "music", "ringing", "bridged", "held", "recording"])
    async def test_server_dies(self, backend: Backend, controller: Controller, step: str) -> None:
        """Every leg ends, once, and the server is of use again."""
        async with contextlib.AsyncExitStack() as stack:
            steps = Step(backend, stack)
            await steps.begin(controller, step)
            await backend.restart_server(controller)
            listener = controller.listener
            await listener.until(lambda: len(listener.ups) == 2, "engine_up")
            assert listener.ups[1].legs == ()
            assert listener.ups[1].bridges == ()
            for leg_id in steps.legs:
                await controller.outcome(leg_id)
            async with backend.caller("late") as late:
                leg = await controller.called_by(late)
                await controller.play(leg, "short")
                await late.hang_up()
                await controller.outcome(leg)
            assert len(listener.of(LegEnded)) == len(steps.legs) + 1
            for path in backend.recording_dir.glob("step-*.raw"):
                path.unlink()


class Step:
    """A call that is brought to a step by one controller, and found there by the next."""

    def __init__(self, backend: Backend, stack: contextlib.AsyncExitStack) -> None:
        self.backend, self.stack = backend, stack
        self.legs: list[LegId] = []
        self.caller: FarEnd
        self.anna: FarEnd

    async def run(self, step: str) -> None:
        before = await self.stack.enter_async_context(dying(self.backend))
        await self.begin(before, step)
        await self.backend.crash(before)
        after = await self.stack.enter_async_context(self.backend.controller())
        seen = {leg.leg_id: leg for leg in after.listener.ups[0].legs}
        assert seen.keys() == set(self.legs)
        await getattr(self, f"_{step}_after")(after)
        await hung_up(after, *self.legs)
        await self.caller.is_over()
        # An engine may offer a leg again that nobody had answered, never one that was taken.
        assert len(after.listener.of(LegOffered)) <= (step in ("offered", "early"))
        assert len(after.listener.of(LegEnded)) == len(self.legs)

    async def begin(self, controller: Controller, step: str) -> None:
        self.caller = await self.stack.enter_async_context(self.backend.caller())
        await getattr(self, f"_{step}")(controller)

    async def _offered(self, controller: Controller) -> None:
        await self.caller.dial()
        self.legs = [await controller.offered()]

    async def _offered_after(self, controller: Controller) -> None:
        await controller.engine.answer(self.legs[0])
        await self.caller.talks()

    async def _early(self, controller: Controller) -> None:
        if not controller.engine.capabilities.early_media:
            pytest.skip(f"{controller.engine.capabilities.name} has no early_media")
        await self._offered(controller)
        await controller.play(self.legs[0], "long")
        await self.caller.hears(PROMPT_HZ["long"])

    async def _early_after(self, controller: Controller) -> None:
        await self.caller.hears(deadline_s=8)
        await self._offered_after(controller)

    async def _playing(self, controller: Controller) -> None:
        self.legs = [await controller.called_by(self.caller)]
        await controller.play(self.legs[0], "long")
        await self.caller.hears(PROMPT_HZ["long"])

    async def _playing_after(self, controller: Controller) -> None:
        """The prompt runs to its end, and nobody knows its id any more."""
        await self.caller.hears(deadline_s=8)
        await controller.play(self.legs[0], "short")
        assert (await controller.listener.wait_for(PlayEnded)).completed

    async def _music(self, controller: Controller) -> None:
        self.legs = [await controller.called_by(self.caller)]
        await controller.engine.start_music(self.legs[0], "default")
        await self.caller.hears(PROMPT_HZ["music"])

    async def _music_after(self, controller: Controller) -> None:
        await self.caller.hears(PROMPT_HZ["music"])
        await controller.engine.stop_music(self.legs[0])
        await self.caller.hears()

    async def _ringing(self, controller: Controller) -> None:
        self.anna = await self.stack.enter_async_context(self.backend.phone(controller, "anna"))
        first = await controller.called_by(self.caller)
        self.legs = [first, await controller.rung(self.anna, first, timeout_s=30)]

    async def _ringing_after(self, controller: Controller) -> None:
        first, second = self.legs
        await self.anna.answer()
        await controller.answered(second)
        await controller.bridged(first, second)
        await all_hear([(self.caller, [self.anna.hz]), (self.anna, [self.caller.hz])])

    async def _bridged(self, controller: Controller) -> None:
        self.anna = await self.stack.enter_async_context(self.backend.phone(controller, "anna"))
        first, second, self.bridge_id = await controller.talk(self.caller, self.anna)
        self.legs = [first, second]

    async def _bridged_after(self, controller: Controller) -> None:
        assert {leg.bridge_id for leg in controller.listener.ups[0].legs} == {self.bridge_id}
        await all_hear([(self.caller, [self.anna.hz]), (self.anna, [self.caller.hz])])
        await controller.engine.hold(self.legs[0], "default")
        await self._held_after(controller)

    async def _held(self, controller: Controller) -> None:
        await self._bridged(controller)
        await controller.engine.hold(self.legs[0], "default")
        await all_hear([(self.caller, [PROMPT_HZ["music"]]), (self.anna, [])])

    async def _held_after(self, controller: Controller) -> None:
        await all_hear([(self.caller, [PROMPT_HZ["music"]]), (self.anna, [])])
        await controller.engine.unhold(self.legs[0])
        await all_hear([(self.caller, [self.anna.hz]), (self.anna, [self.caller.hz])])

    async def _muted(self, controller: Controller) -> None:
        await self._bridged(controller)
        await controller.engine.mute(self.legs[1], True)
        await self.caller.hears()

    async def _muted_after(self, controller: Controller) -> None:
        await all_hear([(self.caller, []), (self.anna, [self.caller.hz])])
        await controller.engine.mute(self.legs[1], False)
        await self.caller.hears(self.anna.hz)

    async def _recording(self, controller: Controller) -> None:
        await self._bridged(controller)
        self.path = self.backend.recording_dir / "step-recording.raw"
        self.recording_id = await controller.record(self.legs[0], self.path)
        await self.caller.goes_on(0.7)

    async def _recording_after(self, controller: Controller) -> None:
        """The next controller knows from its journal what was recorded where."""
        controller.engine.adopt_recording(self.recording_id, self.legs[0], self.path)
        await controller.engine.pause_recording(self.recording_id, self.legs[0])
        await self.caller.goes_on(0.5)
        await controller.engine.resume_recording(self.recording_id, self.legs[0])
        await controller.engine.stop_recording(self.recording_id, self.legs[0])
        size = self.path.stat().st_size
        assert size > 0
        await self.caller.goes_on(0.5)
        assert self.path.stat().st_size == size
        self.path.unlink()

    async def _supervised(self, controller: Controller) -> None:
        if not controller.engine.capabilities.supervision:
            pytest.skip(f"{controller.engine.capabilities.name} has no supervision")
        await self._bridged(controller)
        phone = self.backend.phone(controller, "boss", SUPERVISOR_HZ)
        self.boss = await self.stack.enter_async_context(phone)
        self.legs.append(await controller.reached(self.boss, self.legs[0]))
        await controller.engine.supervise(self.legs[2], self.legs[1], Supervision.LISTEN)
        await self.boss.hears(self.caller.hz, self.anna.hz)

    async def _supervised_after(self, controller: Controller) -> None:
        assert [leg.supervises for leg in controller.listener.ups[0].legs if leg.leg_id == self.legs[2]] == [
            self.legs[1]
        ]
        await self.boss.hears(self.caller.hz, self.anna.hz)
        await controller.engine.supervise(self.legs[2], self.legs[1], Supervision.WHISPER)
        await self.anna.hears(self.caller.hz, self.boss.hz)
        await controller.engine.stop_supervising(self.legs[2])
        await all_hear([(self.boss, []), (self.anna, [self.caller.hz])])
