"""Events of calls that agents place: what was dialled, and the call that came of it. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.e164 import E164, Cli
from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, LegId, PhoneId, QueueId

__all__ = ["CallPlaced", "NumberDialled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberDialled(Event):
    """An agent's phone dialled an outside number; the leg is handed over, not yet answered. What comes of it is a
    call, which begins with ``CallPlaced``."""

    leg_id: LegId
    phone_id: PhoneId
    number: E164
    shown: E164 | None
    """What the dialplan would show to the number; None where the POP names nothing for it."""
    trunk: str
    """Over which the dialplan would dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlaced(Event):
    """A fact, and the first of its call: an agent calls a number, which may be called. The agent is not yet kept for
    it, and nothing is dialled."""

    leg_id: LegId
    """Of the number, once it is dialled."""
    agent_id: AgentId
    agent_country: str | None
    phone_id: PhoneId
    phone_leg: LegId
    did: E164
    """What the number is shown, and whose recording rules hold."""
    cli: Cli
    """The number, as if its owner had called."""
    caller_country: str | None
    trunk: str
    language: str
    """In which the number's owner is spoken to."""
    queue_id: QueueId
    """Whose recording and wrap-up hold; empty: nothing is recorded, and no wrap-up follows."""
    ring_s: float
    by: str
    """``phone``: the agent dialled, on ``phone_leg``; ``api``: the phone is rung first."""
    kind: str
    """Of the number: ``fixed``, ``mobile``, ``premium`` and the like."""
    allowed: str | None = None
    """Of a number that is barred otherwise: the beginning on the POP's list by which it is dialled all the same."""


FACTS: tuple[type[Event], ...] = (NumberDialled, CallPlaced)
