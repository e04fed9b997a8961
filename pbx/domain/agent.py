"""An agent on two axes: *status* is what the agent chose, *state* is what the ACD does with the agent.

The state machine is the table below; what it does not list raises ``IllegalTransition`` and changes nothing.
Status may change in any state: whoever logs out while talking finishes the call and the wrap-up first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pbx.domain.errors import IllegalTransition
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, QueueId


class Status(Enum):
    LOGGED_OUT = "LOGGED_OUT"
    AVAILABLE = "AVAILABLE"
    NOT_READY = "NOT_READY"


class State(Enum):
    IDLE = "IDLE"
    RESERVED = "RESERVED"
    RINGING = "RINGING"
    ON_CALL = "ON_CALL"
    WRAP_UP = "WRAP_UP"


class Step(Enum):
    RESERVE = "reserve"
    RING = "ring"
    ANSWER = "answer"
    GIVE_BACK = "give_back"
    """The offer came to nothing: no answer, busy, caller gone."""
    RELEASE = "release"
    """The conversation is over."""
    FINISH = "finish"
    """Wrap-up is over."""


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.IDLE, Step.RESERVE): State.RESERVED,
    (State.RESERVED, Step.RING): State.RINGING,
    (State.RESERVED, Step.ANSWER): State.ON_CALL,  # a phone may answer without having rung
    (State.RESERVED, Step.GIVE_BACK): State.IDLE,
    (State.RINGING, Step.ANSWER): State.ON_CALL,
    (State.RINGING, Step.GIVE_BACK): State.IDLE,
    (State.ON_CALL, Step.RELEASE): State.WRAP_UP,
    (State.WRAP_UP, Step.FINISH): State.IDLE,
}


@dataclass(slots=True, kw_only=True)
class Agent:
    agent_id: AgentId
    phone_id: PhoneId
    skills: Mapping[str, int]
    country: str | None
    status: Status = Status.LOGGED_OUT
    reason: str | None = None
    """Why NOT_READY: the agent's own word, or RONA, BUSY, REJECTED."""
    state: State = State.IDLE
    reachable: bool = False
    """The phone is registered."""
    held: bool = False
    """Not offered anything until a short pause is over: the media server failed to ring the phone."""
    idle_since: float = 0.0
    epoch: int = 0
    """Counts reservations: an answer to an older one is stale."""
    offer_id: OfferId | None = None
    call_id: CallId | None = None
    queue_id: QueueId | None = None
    queues: tuple[QueueId, ...] = field(default=())
    """The queues whose requirement the skills meet; kept by the ACD."""

    @property
    def can_be_offered(self) -> bool:
        return self.status is Status.AVAILABLE and self.state is State.IDLE and self.reachable and not self.held

    def step(self, step: Step) -> None:
        """Move along the table. Raises IllegalTransition, nothing changed, where the table has no such move."""
        target = TRANSITIONS.get((self.state, step))
        if target is None:
            raise IllegalTransition("agent", self.state.value, step.value)
        self.state = target
