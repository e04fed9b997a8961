"""What a queue may be told to do: whom to choose, what to change while a call waits, when to give up. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import AgentId, PopId, QueueId

Requirement = frozenset[tuple[str, int]]
"""Skill and least proficiency 1-5; queues with the same requirement share one index of calls and of idle agents."""

MAX_PROFICIENCY = 5
MAX_STEPS = 32
MAX_VALUE = 10
"""The highest value of a customer."""
MAX_SITES = 8
"""Sites that a queue may name, its steps included."""


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
    SAME_POP_FIRST = "same_pop_first"
    """Agents whose home POP is where the call is, the longest idle of them; then the longest idle of all."""


class ShiftRule(Enum):
    """What an agent's shift means to a queue. Who has no shifts is always on shift."""

    ANY = "any"
    FIRST = "first"
    """Agents on shift are chosen first."""
    ONLY = "only"
    """Agents off shift are offered no call; they count as logged out."""


class Closing(Enum):
    """What becomes of those who wait when the queue closes."""

    SERVE = "serve"
    END = "end"


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
class Asked:
    """What a call asked of its queue, as the journal and the centre may know it: ``JoinQueue`` without the caller's and
    any other number. So a replay needs neither the caller's digits nor what a lookup answered."""

    queue_id: QueueId
    entered_at: float
    priority: int = 0
    needs: tuple[Need, ...] = ()
    preferred: AgentId | None = None
    """As it came out: the last agent the caller talked to, where the queue asks for that one."""
    preferred_s: float = 0.0
    value: float = 0.0
    pop_id: PopId | None = None
    while_closed: bool = False
    callback: bool = False
    tried: int = 0
    """How many outside numbers were rung in vain."""
    again: bool = False


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
    """An outside number is rung for ``ring_s``; when nobody answers, the call waits on at its place. Once a wait."""

    number: E164
    ring_s: float = 30.0
    show_caller: bool = False
    """Show the caller's own number instead of the DID."""


@dataclass(frozen=True, slots=True)
class EndWithPrompt:
    prompt_id: str


@dataclass(frozen=True, slots=True)
class WidenSites:
    """Agents of these sites may take the call too; the former are still chosen first. None named: of all sites."""

    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferCallback:
    """The caller hears ``prompt_id``, and may press ``digit`` to hang up and be called back with the place kept."""

    digit: str = "1"
    prompt_id: str = "callback-offer"


@dataclass(frozen=True, slots=True)
class ToVoicemail:
    """The call leaves for a mailbox; after the message it ends."""

    mailbox: str
    prompt_id: str | None = None
    """The greeting; None: the usual one."""


Action = (
    RelaxSkill
    | RaisePriority
    | OverflowToQueue
    | OverflowToNumber
    | EndWithPrompt
    | WidenSites
    | OfferCallback
    | ToVoicemail
)


@dataclass(frozen=True, slots=True)
class WaitStep:
    after_s: float
    """Since the call entered this queue."""
    action: Action

    def __post_init__(self) -> None:
        if not self.after_s >= 0:
            raise BadValue("steps.after_s", "must not be negative")


def overdue_numbers(steps: tuple[WaitStep, ...], waited_s: float) -> tuple[E164, ...]:
    """Numbers to which a call of this age should have overflowed. One that comes back from a conversation waits for an
    agent, and is not sent off at once."""
    due = (step.action for step in steps if step.after_s <= waited_s)
    return tuple(action.number for action in due if isinstance(action, OverflowToNumber))


def _check_least(skill: str, least: int, lowest: int) -> None:
    if not skill:
        raise BadValue("skill", "must not be empty")
    if not lowest <= least <= MAX_PROFICIENCY:
        raise BadValue("least", f"must be {lowest} to {MAX_PROFICIENCY}")
