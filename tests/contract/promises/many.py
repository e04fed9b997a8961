"""Many legs at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from pbx.domain.events import LegAnswered, LegEnded, LegOffered, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from tests.contract.backend import Backend, Controller

COUNT = 100


class Many:
    async def test_a_hundred_legs_at_once(self, backend: Backend, controller: Controller) -> None:
        listener = controller.listener

        async def serve(leg_id: LegId) -> None:
            await controller.engine.answer(leg_id)
            await listener.wait_for(LegAnswered, lambda e: e.leg_id == leg_id, 30)
            await controller.play(leg_id, "short")

        async with backend.crowd(COUNT) as crowd:
            await listener.until(lambda: len(listener.of(LegOffered)) == COUNT, "legs", 30)
            legs = [event.leg_id for event in listener.of(LegOffered)]
            await asyncio.gather(*map(serve, legs))
            await listener.until(lambda: len(listener.of(PlayEnded)) == COUNT, "ends of plays", 30)
            assert {leg.leg_id for leg in (await controller.engine.snapshot()).legs} == set(legs)
            await asyncio.gather(*(controller.engine.hang_up(leg, HangupCause.NORMAL_CLEARING) for leg in legs))
            await listener.until(lambda: len(listener.of(LegEnded)) == COUNT, "ends", 30)
            await crowd.finished()
        assert all(event.completed for event in listener.of(PlayEnded))
        assert {event.cause for event in listener.of(LegEnded)} == {HangupCause.NORMAL_CLEARING}
        of_each = Counter(getattr(event, "leg_id", None) for event in listener.events)
        assert {of_each[leg] for leg in legs} == {4}
        for leg in legs:
            own = [type(event) for event in listener.events if getattr(event, "leg_id", None) == leg]
            assert own == [LegOffered, LegAnswered, PlayEnded, LegEnded]
