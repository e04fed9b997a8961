"""Queues and DIDs as the POP's core sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pbx.domain.consent import NO_FLOOR, Floor
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import FlowId, QueueId
from pbx.domain.queue_rules import (
    MAX_SITES,
    MAX_STEPS,
    Closing,
    NoAgent,
    Requirement,
    ShiftRule,
    Strategy,
    WaitStep,
    WidenSites,
)
from pbx.domain.timetable import Hours

__all__ = ["Did", "Queue", "Requirement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    queue_id: QueueId
    requirement: Requirement
    ring_timeout_s: float = 20.0
    wrap_up_s: float = 10.0
    wrap_up_max_s: float = 600.0
    """A wrap-up that the agent extends is not longer than this."""
    music_class: str = "default"
    announce_every_s: float = 30.0
    recorded: bool = True
    consent_floor: Floor = NO_FLOOR
    max_waiting: int = 1000
    max_wait_s: float | None = None
    strategy: Strategy = Strategy.LONGEST_IDLE
    priority: int = 0
    """Added to that of each call; see ``waiting_line.place_of``."""
    steps: tuple[WaitStep, ...] = ()
    no_agent: NoAgent = NoAgent.WAIT
    callback_attempts: int = 3
    """How often a number that does not answer is called back."""
    callback_retry_s: float = 900.0

    shift: ShiftRule = ShiftRule.ANY
    sites: tuple[str, ...] = ()
    """Only agents of these sites, those of the first chosen first; none: of all sites."""
    hours: Hours | None = None
    """None: always open. While it is closed no call enters."""
    closing: Closing = Closing.SERVE
    closing_prompt: str | None = None
    """What those hear whose wait closing ends."""
    last_agent_s: float = 0.0
    """A caller waits so long for the agent who served the last time, if that is known; 0: for nobody."""
    last_agent_days: float = 30.0
    """How long that is remembered."""
    value_weight: float = 1.0
    """A customer's value, 0 to 10, times this is added to the call's priority."""
    extension: str | None = None
    """By which agents name it at their phones."""

    def __post_init__(self) -> None:
        if len(self.steps) > MAX_STEPS:
            raise BadValue("steps", f"more than {MAX_STEPS}")
        widened = [step.action.sites for step in self.steps if isinstance(step.action, WidenSites)]
        if len({*self.sites, *(site for sites in widened for site in sites)}) > MAX_SITES:
            raise BadValue("sites", f"more than {MAX_SITES}, those of the steps included")

    def accepts(self, skills: Mapping[str, int]) -> bool:
        return all(skills.get(skill, 0) >= least for skill, least in self.requirement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    number: E164
    flow_id: FlowId
    country: str
    language: str
    region: str
    """Where recordings of this DID's calls may rest."""
