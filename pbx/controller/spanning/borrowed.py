"""Conversations of this POP's callers with agents of other POPs, held against what those POPs say of them.

A POP that loses its power, or its media server, says no BYE: without this the caller would hear silence until no sound
has come for ``rtp_timeout`` (60 s), while the agent is back at work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from pbx.controller.call_actor import CallActor
from pbx.domain.ids import AgentId, CallId, LegId, OfferId, PopId
from pbx.domain.queue_step import QueueStep
from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

GONE_S = 1.5
"""For so long a POP must not have known of the conversation: what it said may be older than that."""


class Borrowed:
    """``hang_up`` ends a leg of this POP's."""

    def __init__(self, calls: Mapping[CallId, CallActor], hang_up: Callable[[LegId], None], clock: Clock) -> None:
        self._calls, self._hang_up, self._clock = calls, hang_up, clock
        self._missing: dict[tuple[PopId, OfferId], float] = {}
        """Since when the POP has not named the offer."""

    def told(self, owner: PopId, offers: Collection[str]) -> None:
        """``owner`` has just these conversations of its agents with callers of other POPs."""
        now, missing = self._clock(), dict[tuple[PopId, OfferId], float]()
        for call_id, actor in self._calls.items():
            seat = None if actor.call.talk is None else actor.call.talk.seat
            if seat is None or seat.lent is None or seat.lent[0] != owner or seat.lent[1] in offers:
                continue
            missing[seat.lent] = since = self._missing.get(seat.lent, now)
            if now - since >= GONE_S:
                log.warning("call %s: POP %s knows nothing of the conversation any more; it is ended", call_id, owner)
                self._hang_up(seat.leg)
        self._missing = {one: since for one, since in self._missing.items() if one[0] != owner} | missing

    def free(self, owner: PopId, agent_id: AgentId) -> None:
        """``owner`` has the agent, and says that the agent is free: whoever talks to the agent here, or waits for the
        agent's answer, has been left, and is told so."""
        for actor in self._calls.values():
            talk, step = actor.call.talk, actor.call.step
            if talk is not None and talk.seat.agent_id == agent_id and talk.seat.lent is not None:
                self._hang_up(talk.seat.leg)
            offer, leg = (step.offer, step.agent_leg) if isinstance(step, QueueStep) else (None, None)
            if offer is not None and leg is not None and (offer.agent_id, offer.pop_id) == (agent_id, owner):
                self._hang_up(leg)
