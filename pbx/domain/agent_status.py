"""What the agent chose, as a table: LOGGED_OUT, AVAILABLE, NOT_READY.

What the table does not list raises ``IllegalTransition`` and changes nothing. Status may change in any *state*:
whoever logs out while talking finishes the call and the wrap-up first. MISS is the one act that is not the agent's
own: RONA, busy, rejected. It meets AVAILABLE agents only: who logged out, or chose a break, while the phone rang keeps
that choice.
"""

from __future__ import annotations

from enum import Enum

from pbx.domain.errors import IllegalTransition


class Status(Enum):
    __hash__ = object.__hash__  # that of Enum is Python code

    LOGGED_OUT = "LOGGED_OUT"
    AVAILABLE = "AVAILABLE"
    NOT_READY = "NOT_READY"


class Act(Enum):
    __hash__ = object.__hash__  # that of Enum is Python code

    LOG_OUT = "log_out"
    READY = "ready"
    NOT_READY = "not_ready"
    """Also for another reason than before."""
    MISS = "miss"
    """An offer was not taken; the reason says how: RONA, BUSY, REJECTED."""


RONA, BUSY, REJECTED = "RONA", "BUSY", "REJECTED"
"""The reasons that the ACD gives; all others are the agent's own words."""

STATUS_TRANSITIONS: dict[tuple[Status, Act], Status] = {
    (Status.LOGGED_OUT, Act.READY): Status.AVAILABLE,
    (Status.LOGGED_OUT, Act.NOT_READY): Status.NOT_READY,
    (Status.AVAILABLE, Act.NOT_READY): Status.NOT_READY,
    (Status.AVAILABLE, Act.MISS): Status.NOT_READY,
    (Status.AVAILABLE, Act.LOG_OUT): Status.LOGGED_OUT,
    (Status.NOT_READY, Act.READY): Status.AVAILABLE,
    (Status.NOT_READY, Act.NOT_READY): Status.NOT_READY,
    (Status.NOT_READY, Act.LOG_OUT): Status.LOGGED_OUT,
}

CHOOSE: dict[Status, Act] = {
    Status.LOGGED_OUT: Act.LOG_OUT,
    Status.AVAILABLE: Act.READY,
    Status.NOT_READY: Act.NOT_READY,
}
"""The act by which an agent chooses a status."""


def after(status: Status, act: Act) -> Status:
    target = STATUS_TRANSITIONS.get((status, act))
    if target is None:
        raise IllegalTransition("agent's status", status.value, act.value)
    return target
