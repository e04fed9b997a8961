"""Messages between POPs, version 1: what the router of queues that span POPs is told, and what it proposes. No numbers,
names or words of callers: every POP may be the router, and so every POP may hear them."""

from __future__ import annotations

from typing import Any

import msgspec

from pbx.wire.base import Wire


class CallTold(Wire, frozen=True):
    """``pbx.domain.spanning.messages.CallIs``, and what a match needs while the call is open."""

    call_id: str
    number: int
    open: bool
    queue_id: str = ""
    entered_at: float = 0.0
    priority: int = 0
    """The call's own, with what steps have added."""
    needs: list[Any] = msgspec.field(default_factory=list)
    """Of each: skill, least proficiency, fallbacks (seconds, skill, least)."""
    value: float = 0.0


class AgentTold(Wire, frozen=True):
    """``pbx.domain.spanning.messages.AgentIs``, and what a match needs while the agent is free."""

    agent_id: str
    epoch: int
    free: bool
    skills: dict[str, int] = msgspec.field(default_factory=dict)
    country: str | None = None
    site: str | None = None
    cost: float = 0.0
    weight: float = 1.0
    idle_since: float = 0.0
    on_shift: bool = True


class Told(Wire, frozen=True, tag="told"):
    """POP -> router. ``all``: what is not named the POP does not have."""

    calls: list[CallTold]
    agents: list[AgentTold]
    all: bool = False


class Router(Wire, frozen=True, tag="router"):
    """The router is here, to everybody, every half second."""

    term: int
    """Of its lease: of two routers the one with the higher term counts."""


class Proposed(Wire, frozen=True, tag="proposed"):
    """Router -> the caller's POP; ``pbx.domain.spanning.messages.Propose``."""

    term: int
    call_id: str
    number: int
    agent_id: str
    owner: str
    epoch: int
    agent_country: str | None = None


class Positions(Wire, frozen=True, tag="positions"):
    """Router -> the caller's POP: how many callers of other POPs are before each of its own."""

    before: dict[str, int]
    first: dict[str, tuple[float, str]] = msgspec.field(default_factory=dict)
    """Queue -> place (``pbx.domain.waiting_line.place_of``) of the first call there that is of another POP."""


class AgentHeld(Wire, frozen=True):
    """How an agent stands at the POP that has it. Times are spans: the clocks of two POPs differ."""

    agent_id: str
    number: int
    """Of the claim by which the POP has the agent, and whose that was; 0: its home, from the beginning."""
    claimant: str
    here: bool
    """The phone is registered there."""
    busy: bool
    """In a call, or rung for one."""
    status: str
    reason: str | None
    since_s: float
    """Idle, or in wrap-up, for so long."""
    wrap_up_left_s: float
    claimed_s: float = 0.0
    """The claim was made so long ago."""


class Held(Wire, frozen=True, tag="held"):
    """POP -> another that has some of the same agents: it is there, and how those stand that are its own."""

    agents: list[AgentHeld]
    all: bool = False
    """The sender has no others of these."""


class Claimed(Wire, frozen=True, tag="claimed"):
    """``pbx.domain.spanning.messages.Claim``."""

    agent_id: str
    number: int


class LetGo(Wire, frozen=True, tag="let_go"):
    """``pbx.domain.spanning.messages.Yielded``; how the agent stood, if it was the sender's."""

    agent_id: str
    number: int
    held: AgentHeld | None = None


class Serving(Wire, frozen=True, tag="serving"):
    """POP -> all others, every two seconds while its media server is there: the offers by which its agents are with
    callers of other POPs. A conversation by another offer of this POP's is over, whether its end was heard or not."""

    offers: list[str]


MeshMessage = Told | Router | Proposed | Positions | Held | Claimed | LetGo | Serving
