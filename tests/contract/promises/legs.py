"""Legs: offered, answered, refused, hung up; digits; variables."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from pbx.domain.e164 import CliKind
from pbx.domain.errors import BadValue, EngineError, LegGone
from pbx.domain.events import DigitPressed, FeatureDialled, LegAnswered, LegEnded, LegOffered, NumberDialled, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from tests.contract.backend import TRUNK, Backend, Controller, to_trunk
from tests.contract.far_end import CALLEE, CALLER, DID


class Legs:
    async def test_offered_answered_and_hung_up_by_the_caller(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            await caller.dial()
            offered = await controller.listener.wait_for(LegOffered)
            assert (offered.did, offered.cli.kind, offered.cli.number) == (DID, CliKind.NUMBER, CALLER)
            assert (offered.caller_country, offered.trunk) == ("DE", TRUNK)
            before = await controller.leg(offered.leg_id)
            assert before is not None
            assert (before.answered, before.bridge_id, before.in_control) == (False, None, True)
            assert not caller.answered
            await controller.engine.answer(offered.leg_id)
            await controller.listener.wait_for(LegAnswered)
            await caller.talks()
            (leg,) = (await controller.engine.snapshot()).legs
            assert (leg.leg_id, leg.answered, leg.bridge_id, leg.in_control) == (offered.leg_id, True, None, True)
            await caller.hang_up()
            assert await controller.outcome(offered.leg_id) is HangupCause.NORMAL_CLEARING
            with pytest.raises(LegGone):
                await controller.engine.answer(offered.leg_id)
        kinds = [type(event) for event in controller.listener.events]
        assert kinds == [LegOffered, LegAnswered, LegEnded]

    async def test_a_phone_dials_a_number(self, backend: Backend, controller: Controller) -> None:
        """With a lease it is the controller's, which calls the number on another leg and joins the two."""
        async with backend.phone(controller, "anna") as anna, backend.callee() as callee:
            await anna.dial(CALLEE)
            dialled = await controller.listener.wait_for(NumberDialled)
            assert (dialled.phone_id, dialled.number, dialled.trunk) == ("anna", CALLEE, TRUNK)
            own = await controller.leg(dialled.leg_id)
            assert own is not None
            assert (own.answered, own.in_control) == (False, True)
            await controller.engine.answer(dialled.leg_id)
            await controller.answered(dialled.leg_id)
            await controller.engine.start_ringing(dialled.leg_id)
            await anna.hears_ringing()
            second = await controller.originate(to_trunk(), dialled.leg_id)
            await callee.rings()
            await callee.answer()
            await controller.answered(second)
            await controller.bridged(second, dialled.leg_id)
            await anna.hears(callee.hz)
            await callee.hears(anna.hz)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await controller.engine.hang_up(dialled.leg_id, HangupCause.NORMAL_CLEARING)
        assert not controller.listener.of(LegOffered)

    @pytest.mark.parametrize("code", ["*11", "*1342"])
    async def test_a_phone_dials_a_feature_code(self, backend: Backend, controller: Controller, code: str) -> None:
        """It is no caller's leg, and otherwise a leg like any other."""
        async with backend.phone(controller, "anna") as anna:
            await anna.dial(code)
            dialled = await controller.listener.wait_for(FeatureDialled)
            assert (dialled.phone_id, dialled.code) == ("anna", code)
            before = await controller.leg(dialled.leg_id)
            assert before is not None
            assert (before.answered, before.in_control) == (False, True)
            await controller.engine.answer(dialled.leg_id)
            await controller.listener.wait_for(LegAnswered)
            play = await controller.play(dialled.leg_id, "short")
            ended = await controller.listener.wait_for(PlayEnded)
            assert (ended.play_id, ended.completed) == (play, True)
            await controller.engine.hang_up(dialled.leg_id, HangupCause.NORMAL_CLEARING)
            assert await anna.is_over() == 0
            assert await controller.outcome(dialled.leg_id) is HangupCause.NORMAL_CLEARING
        assert not controller.listener.of(LegOffered)

    async def test_hung_up_by_the_controller(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.engine.hang_up(leg, HangupCause.NORMAL_CLEARING)
            assert await caller.is_over() == 0
            assert await controller.outcome(leg) is HangupCause.NORMAL_CLEARING
        assert len(controller.listener.of(LegEnded)) == 1

    async def test_caller_gives_up_before_the_answer(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            await caller.dial()
            leg = await controller.offered()
            await caller.hang_up()
            await controller.outcome(leg)
        assert not controller.listener.of(LegAnswered)

    async def test_times_of_events_do_not_go_back(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            await controller.play(first, "short")
            second = await controller.reached(anna, first)
            await controller.bridged(first, second)
            await caller.hears(anna.hz)
            await caller.hang_up()
            await controller.outcome(first)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await controller.outcome(second)
        times = [event.at for event in controller.listener.events]
        # Two servers' threads, one clock of milliseconds.
        assert all(later >= earlier - 0.05 for earlier, later in itertools.pairwise(times))

    async def test_commands_for_a_leg_that_never_was(self, backend: Backend, controller: Controller) -> None:
        engine, never = controller.engine, LegId("never")
        with pytest.raises(LegGone):
            await engine.answer(never)
        with pytest.raises(LegGone):
            await engine.hang_up(never, HangupCause.NORMAL_CLEARING)
        with pytest.raises(LegGone):
            await engine.start_music(never, "default")
        with pytest.raises(LegGone):
            await controller.play(never, "short")
        with pytest.raises(LegGone):
            await engine.mute(never, True)
        with pytest.raises(LegGone):
            await engine.set_variables(never, {"CALLPLANE_ROLE": "caller"})
        with pytest.raises(LegGone):
            await controller.originate(to_trunk(), never)

    async def test_both_sides_hang_up_at_once(self, backend: Backend, controller: Controller) -> None:
        """Every leg ends once, whoever was first; a command that came too late says so."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            done = await asyncio.gather(
                caller.hang_up(),
                controller.engine.hang_up(first, HangupCause.NORMAL_CLEARING),
                anna.hang_up(),
                controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING),
                return_exceptions=True,
            )
            assert all(isinstance(error, LegGone) for error in done if isinstance(error, EngineError))
            assert await controller.outcome(first) is HangupCause.NORMAL_CLEARING
            assert await controller.outcome(second) is HangupCause.NORMAL_CLEARING
        assert sorted(event.leg_id for event in controller.listener.of(LegEnded)) == sorted((first, second))

    # --- digits -------------------------------------------------------------------------------------------------------

    async def test_digits_come_in_their_order(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await caller.press("0123456789*#")
            await controller.listener.wait_for(DigitPressed, count=12)
        pressed = controller.listener.of(DigitPressed)
        assert "".join(event.digit for event in pressed) == "0123456789*#"
        assert {event.leg_id for event in pressed} == {leg}

    async def test_digits_in_a_conversation_come_too(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            await caller.press("9")
            await controller.listener.wait_for(DigitPressed, lambda e: e.leg_id == first)
            await anna.press("*")
            await controller.listener.wait_for(DigitPressed, lambda e: e.leg_id == second)
        assert [(e.leg_id, e.digit) for e in controller.listener.of(DigitPressed)] == [(first, "9"), (second, "*")]

    # --- variables ----------------------------------------------------------------------------------------------------

    async def test_variables_stay_on_the_leg(self, backend: Backend, controller: Controller) -> None:
        value = "x" * 100 + " a;b=c:d/e%41$(x)|&<>"
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            seen = await controller.leg(leg)
            assert seen is not None
            assert seen.variables == {}
            await controller.engine.set_variables(leg, {"CALLPLANE_CALL": value, "CALLPLANE_ROLE": "caller"})
            seen = await controller.leg(leg)
            assert seen is not None
            assert seen.variables == {"CALLPLANE_CALL": value, "CALLPLANE_ROLE": "caller"}
            await controller.engine.set_variables(leg, {"CALLPLANE_ROLE": "guest"})
            seen = await controller.leg(leg)
            assert seen is not None
            assert seen.variables == {"CALLPLANE_CALL": value, "CALLPLANE_ROLE": "guest"}

    async def test_variables_on_a_leg_that_rings(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            second = await controller.rung(anna, first)
            await controller.engine.set_variables(second, {"CALLPLANE_ROLE": "agent"})
            seen = await controller.leg(second)
            assert seen is not None
            assert (seen.answered, seen.in_control, seen.variables) == (False, True, {"CALLPLANE_ROLE": "agent"})
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await controller.outcome(second)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CHANNEL(language)", "de"),
            ("CALLPLANE_LEASE", "0"),
            ("CALLPLANE_CALL", "a,b"),
            ("CALLPLANE_CALL", "${SHELL(id)}"),
            ("CALLPLANE_CALL", 'a"b'),
            ("CALLPLANE_CALL", "a'b"),
            ("CALLPLANE_CALL", "a\r\nb"),
            ("CALLPLANE_CALL", "ü"),
            ("CALLPLANE_CALL", "x" * 129),
        ],
    )
    async def test_unfit_variables(self, backend: Backend, controller: Controller, name: str, value: str) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            with pytest.raises(BadValue):
                await controller.engine.set_variables(leg, {name: value})
            seen = await controller.leg(leg)
            assert seen is not None
            assert seen.variables == {}
