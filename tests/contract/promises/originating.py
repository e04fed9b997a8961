"""Legs that the controller rings."""

from __future__ import annotations

from pbx.domain.commands import ToPhone
from pbx.domain.e164 import cli_of
from pbx.domain.events import DigitPressed, LegAnswered, LegEnded, LegOffered, LegRinging, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import PhoneId
from tests.contract.backend import Backend, Controller, account, to_trunk
from tests.contract.far_end import CALLER, DID, PROMPT_HZ, all_hear


class Originating:
    async def test_answered(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            second = await controller.rung(anna, first)
            leg = await controller.leg(second)
            assert leg is not None
            assert (leg.answered, leg.in_control) == (False, True)
            await anna.answer()
            await controller.listener.wait_for(LegAnswered, lambda e: e.leg_id == second)
            leg = await controller.leg(second)
            assert leg is not None
            assert (leg.answered, leg.in_control) == (True, True)
            await anna.hang_up()
            assert await controller.outcome(second) is HangupCause.NORMAL_CLEARING
            assert await controller.leg(first) is not None
        own = [type(event) for event in controller.listener.events if getattr(event, "leg_id", None) == second]
        assert own == [LegRinging, LegAnswered, LegEnded]
        assert len(controller.listener.of(LegOffered)) == 1

    async def test_busy(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            second = await controller.rung(anna, await controller.called_by(caller))
            await anna.refuse()
            assert await controller.outcome(second) is HangupCause.USER_BUSY

    async def test_no_answer(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            second = await controller.rung(anna, await controller.called_by(caller), timeout_s=1)
            assert await controller.outcome(second) is HangupCause.NO_ANSWER
            await anna.is_over()
            assert not anna.answered

    async def test_phone_that_is_not_there(self, backend: Backend, controller: Controller) -> None:
        await controller.engine.put_phone(account("nobody"))
        async with backend.caller() as caller:
            first = await controller.called_by(caller)
            for phone_id in ("nobody", "never-put"):
                second = await controller.originate(ToPhone(PhoneId(phone_id)), first)
                assert await controller.outcome(second) is HangupCause.SUBSCRIBER_ABSENT
        await controller.engine.remove_phone(PhoneId("nobody"))
        assert not controller.listener.of(LegRinging)

    async def test_phone_whose_account_is_removed(self, backend: Backend, controller: Controller) -> None:
        """It is not reachable any more, and its conversation goes on."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            await controller.engine.remove_phone(PhoneId("anna"))
            await controller.listener.wait_for(PhoneReachable, lambda e: e.phone_id == "anna" and not e.reachable)
            third = await controller.originate(ToPhone(PhoneId("anna")), first)
            assert await controller.outcome(third) is HangupCause.SUBSCRIBER_ABSENT
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await anna.is_over()

    async def test_to_a_trunk(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.callee() as callee:
            first = await controller.called_by(caller)
            second = await controller.originate(to_trunk(), first, cli=cli_of(CALLER))
            await callee.rings()
            await callee.answer()
            await controller.listener.wait_for(LegAnswered, lambda e: e.leg_id == second)
            await controller.bridged(first, second)
            await caller.hears(callee.hz)
            await callee.hears(caller.hz)
            await callee.hang_up()
            assert await controller.outcome(second) is HangupCause.NORMAL_CLEARING

    async def test_to_a_trunk_with_nobody_to_talk_to_yet(self, backend: Backend, controller: Controller) -> None:
        """Who is called back hears prompts and can press keys before there is an agent."""
        async with backend.callee() as callee, backend.phone(controller, "anna") as anna:
            first = await controller.originate(to_trunk(), None, cli=cli_of(DID))
            await callee.rings()
            await callee.answer()
            await controller.answered(first)
            await controller.play(first, "long")
            await callee.hears(PROMPT_HZ["long"])
            await callee.press("1")
            pressed = await controller.listener.wait_for(DigitPressed)
            assert (pressed.leg_id, pressed.digit) == (first, "1")
            second = await controller.reached(anna, first)
            await controller.bridged(first, second)
            await all_hear([(callee, [anna.hz]), (anna, [callee.hz])])
            await callee.hang_up()
            assert await controller.outcome(first) is HangupCause.NORMAL_CLEARING

    async def test_caller_leaves_while_the_phone_rings(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first = await controller.called_by(caller)
            second = await controller.rung(anna, first)
            await caller.hang_up()
            await controller.outcome(first)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            await anna.is_over()
            await controller.outcome(second)
        assert not [event for event in controller.listener.of(LegAnswered) if event.leg_id == second]
