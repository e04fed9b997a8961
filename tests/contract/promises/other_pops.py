"""Legs between POPs, by which an agent of one is offered a caller of another."""

from __future__ import annotations

import pytest

from pbx.domain.commands import ToAgent
from pbx.domain.e164 import cli_of
from pbx.domain.events import GuestOffered, LegEnded, LegOffered
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId, OfferId, PopId, QueueId
from pbx.wire.offer_header import offer_text
from tests.contract.backend import HERE, OTHER, Backend, Controller, fresh
from tests.contract.far_end import CALLER, all_hear


def to(pop_id: str) -> ToAgent:
    """An agent there."""
    offer_id, call_id = OfferId(fresh()), CallId(fresh())
    return ToAgent(PopId(pop_id), AgentId("anna.b-1"), 7, offer_id, call_id, QueueId("support"))


async def guest(controller: Controller) -> LegId:
    """The leg by which another POP rings an agent here."""
    return (await controller.listener.wait_for(GuestOffered)).leg_id


class OtherPops:
    async def test_another_pop_rings_an_agent_here(self, backend: Backend, controller: Controller) -> None:
        """Who, for whom and of which POP; the leg is not answered before the agent is."""
        asked = to(HERE)
        async with backend.other_pop() as other, backend.phone(controller, "anna") as anna:
            await other.offer(asked)
            offered = await controller.listener.wait_for(GuestOffered)
            said = (offered.home, offered.agent_id, offered.epoch, offered.offer_id, offered.call_id, offered.queue_id)
            assert said == (OTHER, asked.agent_id, 7, asked.offer_id, asked.call_id, asked.queue_id)
            assert offered.cli == cli_of(CALLER)
            seen = await controller.leg(offered.leg_id)
            assert seen is not None
            assert (seen.answered, seen.in_control) == (False, True)
            phone = await controller.reached(anna, offered.leg_id)
            assert not other.answered
            await controller.engine.answer(offered.leg_id)
            await controller.answered(offered.leg_id)
            await controller.bridged(offered.leg_id, phone)
            await all_hear([(anna, [other.hz]), (other, [anna.hz])])
            await other.hang_up()
            assert await controller.outcome(offered.leg_id) is HangupCause.NORMAL_CLEARING
            await controller.engine.hang_up(phone, HangupCause.NORMAL_CLEARING)
            await controller.outcome(phone)
        assert not controller.listener.of(LegOffered)
        assert len(controller.listener.of(GuestOffered)) == 1

    async def test_an_agent_of_another_pop_is_rung(self, backend: Backend, controller: Controller) -> None:
        asked = to(OTHER)
        async with backend.caller() as caller, backend.other_pop() as other:
            first = await controller.called_by(caller)
            second = await controller.originate(asked, first, cli=cli_of(CALLER))
            assert await other.asked() == (offer_text(asked), CALLER)
            await other.answer()
            await controller.answered(second)
            bridge_id = await controller.bridged(first, second)
            await all_hear([(caller, [other.hz]), (other, [caller.hz])])
            await controller.engine.destroy_bridge(bridge_id)
            await controller.engine.hang_up(second, HangupCause.NORMAL_CLEARING)
            assert await controller.outcome(second) is HangupCause.NORMAL_CLEARING
            await other.is_over()
            assert await controller.leg(first) is not None

    @pytest.mark.parametrize("cli", ["withheld", "unknown"])
    async def test_who_shows_no_number_shows_none_there(
        self, cli: str, backend: Backend, controller: Controller
    ) -> None:
        async with backend.other_pop(cli) as other:
            leg_id = await controller.originate(to(OTHER), None, cli=cli_of(cli))
            assert (await other.asked())[1] == cli
            await other.refuse()
            assert await controller.outcome(leg_id) is HangupCause.USER_BUSY
            await other.is_over()
            await other.offer(to(HERE))
            offered = await controller.listener.wait_for(GuestOffered)
            assert offered.cli == cli_of(cli)
            await other.hang_up()
            await controller.outcome(offered.leg_id)

    async def test_a_caller_who_leaves_is_not_offered_any_more(self, backend: Backend, controller: Controller) -> None:
        async with backend.other_pop() as other:
            await other.offer(to(HERE))
            leg_id = await guest(controller)
            await other.hang_up()
            await controller.outcome(leg_id)
        assert len(controller.listener.of(LegEnded)) == 1

    async def test_an_agent_who_is_not_free_is_refused(self, backend: Backend, controller: Controller) -> None:
        """As temporary: the other POP asks somebody else."""
        async with backend.other_pop() as other:
            await other.offer(to(HERE))
            await controller.engine.hang_up(await guest(controller), HangupCause.TEMPORARY_FAILURE)
            assert await other.is_over() == 503

    async def test_a_pop_that_is_not_there(self, backend: Backend, controller: Controller) -> None:
        leg_id = await controller.originate(to(OTHER), None, timeout_s=2)
        assert await controller.outcome(leg_id, 20) is not HangupCause.NORMAL_CLEARING
