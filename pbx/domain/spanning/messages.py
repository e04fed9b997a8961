"""What homes, owners and the router tell each other. ``number`` of a call and ``epoch`` of an agent count what its POP
changed about it: of two reports the higher one is the newer, whatever the network does to their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pbx.domain.ids import AgentId, CallId, PopId


class Attempt(NamedTuple):
    """One attempt to give one call to one agent: the call as it was numbered when it began."""

    call_id: CallId
    number: int


# --- POP -> router ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallIs:
    pop_id: PopId
    call_id: CallId
    number: int
    open: bool
    """It waits, and nobody is rung for it."""


@dataclass(frozen=True, slots=True)
class AgentIs:
    pop_id: PopId
    agent_id: AgentId
    epoch: int
    free: bool
    """Can be offered a call."""


# --- router -> home ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Propose:
    term: int
    """Of the router's lease: a former router's proposals are dropped."""
    attempt: Attempt
    agent_id: AgentId
    owner: PopId
    epoch: int


# --- home <-> owner: what the SIP leg between them says ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Invite:
    attempt: Attempt
    home: PopId
    agent_id: AgentId
    epoch: int


@dataclass(frozen=True, slots=True)
class Answered:
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Over:
    """Owner -> home: the agent does not take the call, or does not talk to the caller any more."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class HangUp:
    """Home -> owner: the caller does not need the agent, or not any more."""

    attempt: Attempt


# --- between POPs: a phone that moves ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """The agent's phone has registered at ``pop_id``. ``number`` is higher than that of any claim ``pop_id`` knows."""

    pop_id: PopId
    agent_id: AgentId
    number: int


@dataclass(frozen=True, slots=True)
class Yielded:
    """A POP has let go; ``number``: of the claim it answers."""

    pop_id: PopId
    agent_id: AgentId
    number: int


Message = CallIs | AgentIs | Propose | Invite | Answered | Over | HangUp | Claim | Yielded
