"""The two indexes of the ACD: a queue's waiting calls in order, and idle agents by requirement."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

from pbx.domain.ids import AgentId, CallId, OfferId, QueueId
from pbx.domain.queue import Queue, Requirement

Place = tuple[int, float, CallId]
"""Order among waiting calls: higher priority first (it is negated), then who came first."""


@dataclass(slots=True)
class Waiting:
    call_id: CallId
    queue_id: QueueId
    place: Place
    offer_id: OfferId | None = None


@dataclass(slots=True)
class Line:
    """One queue's waiting calls: ``all`` of them, and ``open``: those that nobody is being offered."""

    queue: Queue
    all: list[Place] = field(default_factory=list)
    open: list[Place] = field(default_factory=list)

    def enter(self, place: Place) -> None:
        insort(self.all, place)
        insort(self.open, place)

    def reopen(self, place: Place) -> None:
        """The offer of this call came to nothing; it has its place again."""
        insort(self.open, place)

    def leave(self, place: Place) -> None:
        _remove(self.all, place)
        _remove(self.open, place)

    def position(self, place: Place) -> int:
        return bisect_left(self.all, place) + 1


def _remove(places: list[Place], place: Place) -> None:
    at = bisect_left(places, place)
    if at < len(places) and places[at] == place:
        del places[at]


Entry = tuple[float, AgentId, int]
"""Idle since, agent, and the agent's epoch when entered: an entry with another epoch is stale."""


class IdleAgents:
    """Longest idle first, one heap per requirement. Entries go stale where they stand; a heap is swept when more
    than half of it may be stale, so that its size stays within a constant of the agents'."""

    def __init__(self) -> None:
        self._heaps: dict[Requirement, list[Entry]] = {}
        self._swept: dict[Requirement, int] = {}

    def enter(self, requirement: Requirement, entry: Entry, current: Callable[[Entry], bool]) -> None:
        heap = self._heaps.setdefault(requirement, [])
        heapq.heappush(heap, entry)
        if len(heap) > 2 * self._swept.get(requirement, 0) + 64:
            heap[:] = {kept for kept in heap if current(kept)}
            heapq.heapify(heap)
            self._swept[requirement] = len(heap)

    def pop(self, requirement: Requirement, current: Callable[[Entry], bool]) -> AgentId | None:
        heap = self._heaps.get(requirement, [])
        while heap:
            entry = heapq.heappop(heap)
            if current(entry):
                return entry[1]
        return None

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))
