"""An agent on two axes: *status* is what the agent chose, *state* is what the ACD does with the agent.

Each axis is a table in a file of its own: ``agent_status``, ``agent_state``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from pbx.domain import agent_classes, agent_status
from pbx.domain.agent_state import TRANSITIONS, State, Step, after
from pbx.domain.agent_status import STATUS_TRANSITIONS, Act, Status
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, PopId, QueueId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbx.domain.agent_classes import Class
    from pbx.domain.measured import Handling
    from pbx.domain.pools import Profile
    from pbx.domain.sorted_blocks import SortedBlocks

__all__ = ["STATUS_TRANSITIONS", "TRANSITIONS", "Act", "Agent", "Condition", "State", "Status", "Step"]


class Condition(IntEnum):
    """Both axes and the phone in one word: whether the agent can be offered a call, and if not, the first reason."""

    CAN_BE_OFFERED = 0
    NOT_LOGGED_IN = 1
    ON_CALL = 2
    WRAP_UP = 3
    BEING_OFFERED = 4
    """RESERVED or RINGING for some call."""
    NOT_READY = 5
    UNREACHABLE = 6
    HELD = 7
    ENGAGED = 8
    """In another agent's conversation."""


# In Python 3.11 looking up a member in its enumeration is five times as dear as a name of the module.
_IDLE, _AVAILABLE, _NOT_READY, _LOGGED_OUT = State.IDLE, Status.AVAILABLE, Status.NOT_READY, Status.LOGGED_OUT
_OFFERABLE, _NOT_LOGGED_IN = Condition.CAN_BE_OFFERED, Condition.NOT_LOGGED_IN
_BUSY = {
    State.ON_CALL: Condition.ON_CALL,
    State.WRAP_UP: Condition.WRAP_UP,
    State.RESERVED: Condition.BEING_OFFERED,
    State.RINGING: Condition.BEING_OFFERED,
    State.ENGAGED: Condition.ENGAGED,
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
    removed: bool = False
    """No longer configured; the record goes when the agent is idle."""
    cost: float = 0.0
    """What a minute of this agent costs, in whatever unit all agents share."""
    weight: float = 1.0
    """For the strategy RANDOM: who has twice the weight is chosen twice as often."""
    site: str | None = None
    home_pop: PopId | None = None
    """None: this POP."""
    classes: tuple[Class, ...] = (agent_classes.ON_SHIFT,)
    """See ``agent_classes``."""
    idle_since: float = 0.0
    epoch: int = 0
    """Counts reservations: an answer to an older one is stale."""
    offer_id: OfferId | None = None
    chosen: OfferId | None = None
    """The offer by which the agent got the present call, until the call is over."""
    call_id: CallId | None = None
    queue_id: QueueId | None = None
    wrap_up_s: float = 0.0
    """Wrap-up that follows the present call; fixed when the call was offered."""
    wrap_up_until: float = 0.0
    wrap_up_max_s: float = 0.0
    wrap_up_since: float = 0.0
    busy_since: float = 0.0
    handling: Handling | None = None
    """Of the queue of the present call or the last one: where the time it kept the agent is measured."""
    load: float = float("-inf")
    """Occupancy as a number whose order among idle agents time does not change; see ``strategies``."""
    turn: int = 0
    """The number of the agent's last reservation, over all agents: ROUND_ROBIN takes the lowest."""
    stamp: int = 0
    """An entry among the idle agents with another stamp is stale."""
    in_heaps: bool = False
    """Entered since the last offer. An agent who was given back and is yet to be asked what call comes first is not."""
    noted: Condition = Condition.NOT_LOGGED_IN
    """The condition under which the profile counts this agent."""
    profile: Profile | None = None
    """Kept by the ACD: all agents with these skills, and the pools of calls they can take."""
    wanted: SortedBlocks | None = None
    """Places of the calls that wait for this agent alone."""

    @property
    def can_be_offered(self) -> bool:
        return (
            self.state is _IDLE and self.status is _AVAILABLE and self.reachable and not self.held and not self.removed
        )

    @property
    def abilities(self) -> dict[str, int]:
        """Skills and classes: what requirements are held against."""
        return agent_classes.abilities(self.skills, self.classes)

    @property
    def on_shift(self) -> bool:
        return agent_classes.ON_SHIFT in self.classes

    @property
    def condition(self) -> Condition:
        if self.status is _LOGGED_OUT:
            return _NOT_LOGGED_IN
        if self.state is not _IDLE:
            return _BUSY[self.state]
        if self.status is _NOT_READY:
            return Condition.NOT_READY
        if not self.reachable:
            return Condition.UNREACHABLE
        return Condition.HELD if self.held else _OFFERABLE

    def step(self, step: Step) -> None:
        """Move along the state's table. Raises IllegalTransition, nothing changed, where it has no such move."""
        self.state = after(self.state, step)

    def act(self, act: Act, reason: str | None = None) -> None:
        """Move along the status's table; ``reason`` is kept for NOT_READY. Raises IllegalTransition likewise."""
        self.status = agent_status.after(self.status, act)
        self.reason = reason if self.status is Status.NOT_READY else None
