"""What a queue may be told to do: whom to choose, what to change while a call waits, when to give up. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import AgentId, QueueId

Requirement = frozenset[tuple[str, int]]
"""Skill and least proficiency 1-5; queues with the same requirement share one index of calls and of idle agents."""

MAX_PROFICIENCY = 5
MAX_STEPS = 32


class Strategy(Enum):
    __hash__ = object.__hash__  # that of Enum is Python code

    """Which of the agents who can take a call gets it."""

    LONGEST_IDLE = "longest_idle"
    LEAST_OCCUPIED = "least_occupied"
    BEST_SKILL = "best_skill"
    """Highest sum of proficiencies in the required skills."""
    ROUND_ROBIN = "round_robin"
    """Who was rung least recently."""
    LOWEST_COST = "lowest_cost"
    RANDOM = "random"
    """By the agents' weights."""


class NoAgent(Enum):
    """What becomes of a call that nobody logged in could ever take, now or by a later step."""

    WAIT = "wait"
    REFUSE = "refuse"
    """It is not let in; who waits already stays."""
    END = "end"
    """Nor may it stay when the last such agent logs out."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one call asks for beyond its queue: ``lang:de`` of at least 3. After each fallback's seconds of waiting
    agents who have that skill instead may take the call too; the former are still chosen first."""

    skill: str
    least: int
    fallbacks: tuple[tuple[float, str, int], ...] = ()
    """Seconds after entering the queue, skill, least proficiency."""

    def __post_init__(self) -> None:
        for _, skill, least in ((0.0, self.skill, self.least), *self.fallbacks):
            _check_least(skill, least, lowest=1)


@dataclass(frozen=True, slots=True)
class JoinQueue:
    """A command, and in ``QueueJoined`` what the call asked: so the journal says all that the router was told, and a
    replay needs neither the caller's digits nor what a lookup answered."""

    queue_id: QueueId
    entered_at: float
    priority: int = 0
    needs: tuple[Need, ...] = ()
    """What this call asks of an agent beyond the queue's requirement."""
    preferred: AgentId | None = None
    """This agent first (the last one the caller talked to): the call waits ``preferred_s`` for nobody else."""
    preferred_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RelaxSkill:
    """From now on ``least`` is enough; 0: the skill is not asked for at all."""

    skill: str
    least: int = 0

    def __post_init__(self) -> None:
        _check_least(self.skill, self.least, lowest=0)


@dataclass(frozen=True, slots=True)
class RaisePriority:
    by: int


@dataclass(frozen=True, slots=True)
class OverflowToQueue:
    """The call leaves for the other queue and keeps its age. Not done while nobody there could ever take it."""

    queue_id: QueueId


@dataclass(frozen=True, slots=True)
class OverflowToNumber:
    number: E164


@dataclass(frozen=True, slots=True)
class EndWithPrompt:
    prompt_id: str


Action = RelaxSkill | RaisePriority | OverflowToQueue | OverflowToNumber | EndWithPrompt


@dataclass(frozen=True, slots=True)
class WaitStep:
    after_s: float
    """Since the call entered this queue."""
    action: Action

    def __post_init__(self) -> None:
        if not self.after_s >= 0:
            raise BadValue("steps.after_s", "must not be negative")


def _check_least(skill: str, least: int, lowest: int) -> None:
    if not skill:
        raise BadValue("skill", "must not be empty")
    if not lowest <= least <= MAX_PROFICIENCY:
        raise BadValue("least", f"must be {lowest} to {MAX_PROFICIENCY}")
