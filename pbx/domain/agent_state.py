"""What the ACD does with the agent, as a table. What it does not list raises ``IllegalTransition`` and changes
nothing. From ON_CALL there is one way, and it leads through WRAP_UP: wrap-up is never skipped, only short."""

from __future__ import annotations

from enum import Enum

from pbx.domain.errors import IllegalTransition


class State(Enum):
    __hash__ = object.__hash__  # that of Enum is Python code

    IDLE = "IDLE"
    RESERVED = "RESERVED"
    RINGING = "RINGING"
    ON_CALL = "ON_CALL"
    WRAP_UP = "WRAP_UP"
    ENGAGED = "ENGAGED"
    """Rung for, or taking part in, a call that the ACD did not offer: a supervisor, an agent who is consulted, or one
    who calls a number and does not talk to it yet."""


class Step(Enum):
    __hash__ = object.__hash__  # that of Enum is Python code

    RESERVE = "reserve"
    RING = "ring"
    ANSWER = "answer"
    GIVE_BACK = "give_back"
    """The offer came to nothing: no answer, busy, caller gone."""
    RELEASE = "release"
    """The conversation is over."""
    EXTEND = "extend"
    """The agent asks for more wrap-up."""
    FINISH = "finish"
    """Wrap-up is over: its time is, or the agent ended it."""
    ENGAGE = "engage"
    """Called to another agent's conversation."""
    DISENGAGE = "disengage"
    """It is over, or came to nothing; the agent goes on waiting as if it had not been."""
    TAKE_OVER = "take_over"
    """The conversation is this agent's now."""


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.IDLE, Step.RESERVE): State.RESERVED,
    (State.RESERVED, Step.RING): State.RINGING,
    (State.RESERVED, Step.ANSWER): State.ON_CALL,  # a phone may answer without having rung
    (State.RESERVED, Step.GIVE_BACK): State.IDLE,
    (State.RINGING, Step.ANSWER): State.ON_CALL,
    (State.RINGING, Step.GIVE_BACK): State.IDLE,
    (State.ON_CALL, Step.RELEASE): State.WRAP_UP,
    (State.WRAP_UP, Step.EXTEND): State.WRAP_UP,
    (State.WRAP_UP, Step.FINISH): State.IDLE,
    (State.IDLE, Step.ENGAGE): State.ENGAGED,
    (State.ENGAGED, Step.DISENGAGE): State.IDLE,
    (State.ENGAGED, Step.TAKE_OVER): State.ON_CALL,
}


def after(state: State, step: Step) -> State:
    target = TRANSITIONS.get((state, step))
    if target is None:
        raise IllegalTransition("agent", state.value, step.value)
    return target
