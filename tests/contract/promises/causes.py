"""Hang-up causes: Q.850 inside, SIP outside."""

from __future__ import annotations

import pytest

from pbx.domain.events import LegEnded
from pbx.domain.hangup_cause import HangupCause, cause_of_sip, sip_status
from tests.contract.backend import Backend, Controller, to_trunk

REFUSALS = (403, 404, 408, 410, 480, 484, 486, 488, 500, 502, 503, 504, 600, 603)
NO_STATUS_OF_ITS_OWN = frozenset({HangupCause.RECOVERY_ON_TIMER_EXPIRY})
"""Comes from a far end only: a controller has no reason to refuse with it."""


class Causes:
    @pytest.mark.parametrize(
        "cause", [cause for cause in HangupCause if cause not in NO_STATUS_OF_ITS_OWN], ids=lambda cause: cause.name
    )
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

    @pytest.mark.parametrize("status", REFUSALS)
    async def test_refused_by_the_far_end(self, backend: Backend, controller: Controller, status: int) -> None:
        async with backend.caller() as caller, backend.refusing_callee(status):
            first = await controller.called_by(caller)
            second = await controller.originate(to_trunk(), first)
            assert await controller.outcome(second) is cause_of_sip(status)
        assert len([event for event in controller.listener.of(LegEnded) if event.leg_id == second]) == 1
