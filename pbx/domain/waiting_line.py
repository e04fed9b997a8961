"""Waiting calls and the line of each queue."""

from __future__ import annotations

from dataclasses import dataclass, field

from pbx.domain.e164 import E164
from pbx.domain.ids import AgentId, CallId, OfferId, PopId, QueueId
from pbx.domain.measured import Handling, Patience
from pbx.domain.pools import Pool
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Need
from pbx.domain.sorted_blocks import Place, SortedBlocks
from pbx.domain.wait_plan import Plan

PRIORITY_S = 60.0
"""One point of priority is worth this much waiting: effective priority = priority + age / PRIORITY_S."""


def place_of(priority: float, entered_at: float, call_id: CallId) -> Place:
    """The order of calls by effective priority. Since all calls age at one rate, the order of two of them never
    changes, in one queue or in two: ``priority + (now - entered_at)/R`` falls with ``entered_at - R * priority``,
    which is as if the call had entered that much earlier."""
    return (entered_at - PRIORITY_S * priority, call_id)


@dataclass(slots=True)
class Line:
    """One queue's waiting calls, those included whose agent is being rung."""

    queue: Queue
    all: SortedBlocks = field(default_factory=SortedBlocks)
    plans: dict[tuple[tuple[Need, ...], PopId | None], Plan] = field(default_factory=dict)
    removed: bool = False
    """No longer configured; goes with its last call."""
    closed: bool = False
    """Outside its hours."""
    shared: bool = False
    """A router matches its calls with agents of several POPs: here they are only kept. Never while there is none."""
    handling: Handling = field(default_factory=Handling)
    patience: Patience = field(default_factory=Patience)
    callbacks: int = 0
    """How many of ``all`` hold no line: they take no room from those who do."""

    @property
    def full(self) -> bool:
        return self.all.size - self.callbacks >= self.queue.max_waiting


@dataclass(slots=True)
class Waiting:
    call_id: CallId
    line: Line
    place: Place
    priority: int
    """The call's own."""
    since: float
    """When it entered this queue; the queue's steps count from here."""
    entered_at: float
    needs: tuple[Need, ...]
    plan: Plan
    pools: tuple[Pool, ...]
    step: int = 0
    """The next stage of the plan."""
    offer_id: OfferId | None = None
    preferred: AgentId | None = None
    """The call waits for this agent alone; a timer ends that."""
    armed: bool = False
    """The timer of the next stage runs."""
    raised: int = 0
    """What steps added to the priority."""
    hops: int = 0
    """Queues it has overflowed from."""
    value: float = 0.0
    """Of the customer."""
    caller: str | None = field(default=None, repr=False)
    pop_id: PopId | None = None
    callback: bool = False
    """Nobody holds the line: it is never given up."""
    tried: tuple[E164, ...] = ()
    """Numbers it has overflowed to in vain."""

    @property
    def effective_priority(self) -> float:
        """Without the age."""
        queue = self.line.queue
        return self.priority + self.raised + queue.priority + self.value * queue.value_weight

    @property
    def queue_id(self) -> QueueId:
        return self.line.queue.queue_id
