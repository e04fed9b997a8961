"""Hang-up causes: Q.850 inside, SIP outside."""

from __future__ import annotations

import pytest

from pbx.domain.events import LegEnded
from pbx.domain.hangup_cause import HangupCause, sip_status
from tests.contract.backend import Backend, Controller, to_trunk

FROM_SIP = {
    403: HangupCause.CALL_REJECTED,
    404: HangupCause.UNALLOCATED_NUMBER,
    408: HangupCause.NO_USER_RESPONSE,
    410: HangupCause.NUMBER_CHANGED,
    480: HangupCause.NO_USER_RESPONSE,
    484: HangupCause.INVALID_NUMBER_FORMAT,
    486: HangupCause.USER_BUSY,
    488: HangupCause.INCOMPATIBLE_DESTINATION,
    500: HangupCause.TEMPORARY_FAILURE,
    502: HangupCause.DESTINATION_OUT_OF_ORDER,
    503: HangupCause.TEMPORARY_FAILURE,
    504: HangupCause.RECOVERY_ON_TIMER_EXPIRY,
    600: HangupCause.USER_BUSY,
    603: HangupCause.CALL_REJECTED,
}


class Causes:
    @pytest.mark.parametrize("cause", HangupCause, ids=lambda cause: cause.name)
    async def test_refused_with_a_cause(self, backend: Backend, controller: Controller, cause: HangupCause) -> None:
        """Before the answer the caller gets the SIP status that belongs to the cause."""
        async with backend.caller() as caller:
            await caller.dial()
            leg = await controller.offered()
            await controller.engine.hang_up(leg, cause)
            assert await caller.is_over() == sip_status(cause)
            assert await controller.outcome(leg) is cause

    @pytest.mark.parametrize("cause", [HangupCause.USER_BUSY, HangupCause.CONGESTION, HangupCause.NORMAL_UNSPECIFIED])
    async def test_ended_with_a_cause(self, backend: Backend, controller: Controller, cause: HangupCause) -> None:
        """After the answer it is a BYE, and the cause the controller gave is that of the event."""
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.engine.hang_up(leg, cause)
            assert await caller.is_over() == 0
            assert await controller.outcome(leg) is cause

    @pytest.mark.parametrize("status", FROM_SIP)
    async def test_refused_by_the_far_end(self, backend: Backend, controller: Controller, status: int) -> None:
        async with backend.caller() as caller, backend.refusing_callee(status):
            first = await controller.called_by(caller)
            second = await controller.originate(to_trunk(), first)
            assert await controller.outcome(second) is FROM_SIP[status]
        assert len([event for event in controller.listener.of(LegEnded) if event.leg_id == second]) == 1
