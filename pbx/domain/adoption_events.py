"""Events of a restarted controller that takes up what it finds, and of the media server as a whole. Part of
``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.e164 import E164
from pbx.domain.event_base import Event
from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.queue_rules import Asked

__all__ = ["AgentAdopted", "CallReadopted", "MediaChecked", "WaitAdopted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReadopted(Event):
    """A fact: another controller has the call now. What was being played to the caller is asked or said again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaChecked(Event):
    """A fact, of no call: the media server, called by itself, carries audio both ways from now on, or does not."""

    carries_audio: bool
    reason: str = ""
    """Why it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAdopted(Event):
    """As what the router takes up an agent of the last run; written by the router, like ``WaitAdopted``."""

    agent_id: AgentId
    status: str
    reason: str | None
    state: str
    was: str
    """The state in the journal; where it is another one, an ``AgentChanged`` follows."""
    since: float
    """Idle, in wrap-up, or busy with the call since then."""
    until: float | None = None
    """End of wrap-up."""
    call_id: CallId | None = None
    queue_id: QueueId | None = None
    offer_id: OfferId | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitAdopted(Event):
    """With what place the router takes up a waiting call."""

    call_id: CallId
    queue_id: QueueId
    """Where it waits now."""
    asked: Asked
    since: float
    """When it entered that queue."""
    hops: int = 0
    """Queues it has overflowed from."""
    tried: tuple[E164, ...] = ()
    offer_id: OfferId | None = None
    preferred_until: float | None = None
    """So long it waits for ``asked.preferred`` alone; None: for nobody."""
    callback_told: bool = False
    """The caller knows that there may be a callback instead."""


FACTS: tuple[type[Event], ...] = (CallReadopted, MediaChecked)
FINDINGS: tuple[type[Event], ...] = (AgentAdopted, WaitAdopted)
