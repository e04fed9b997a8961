"""What became of the callers of a queue and of its agents' time: as it was recorded, and under other rules."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pbx.domain.ids import QueueId
from pbx.domain.service_level import Contact, End, Figures, figures, occupancy
from pbx.simulation.replay import Replay
from pbx.simulation.replay_observed import Wait


@dataclass(slots=True)
class Outcome:
    """By the queue that was joined."""

    contacts: dict[QueueId, list[Contact]] = field(default_factory=lambda: defaultdict(list))
    busy_s: dict[QueueId, float] = field(default_factory=lambda: defaultdict(float))
    staffed_s: dict[QueueId, float] = field(default_factory=lambda: defaultdict(float))
    """Of agents with the skills of the queue."""
    promised: dict[QueueId, int] = field(default_factory=lambda: defaultdict(int))
    """Callers who left the queue for a callback."""
    attempts: dict[QueueId, int] = field(default_factory=lambda: defaultdict(int))
    """Callbacks for which an agent was reserved."""
    called: dict[QueueId, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of those who were reached: how long it took from the place that was kept."""

    def figures(self, queue_id: QueueId, threshold_s: float) -> Figures:
        return figures(self.contacts.get(queue_id, ()), threshold_s)

    def add(self, other: Outcome) -> None:
        for queue_id, contacts in other.contacts.items():
            self.contacts[queue_id] += contacts
        for mine, theirs in ((self.busy_s, other.busy_s), (self.staffed_s, other.staffed_s)):
            for queue_id, seconds in theirs.items():
                mine[queue_id] += seconds
        for mine_n, theirs_n in ((self.promised, other.promised), (self.attempts, other.attempts)):
            for queue_id, number in theirs_n.items():
                mine_n[queue_id] += number
        for queue_id, waits in other.called.items():
            self.called[queue_id] += waits

    def callbacks(self, queue_id: QueueId) -> Callbacks:
        called = self.called.get(queue_id, [])
        mean_s = statistics.fmean(called) if called else None
        return Callbacks(self.promised.get(queue_id, 0), self.attempts.get(queue_id, 0), len(called), mean_s)

    def took(self, wait: Wait, at: float, end: End) -> None:
        """A wait is over."""
        queue_id, waited_s = wait.join.queue_id, at - wait.join.entered_at
        if not wait.join.callback:
            self.contacts[queue_id].append(Contact(waited_s, end))
            return
        if end is End.ANSWERED:
            self.called[queue_id].append(waited_s)

    def occupancy(self, queue_id: QueueId) -> float | None:
        return occupancy(self.busy_s[queue_id], self.staffed_s[queue_id])


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Of a queue."""

    promised: int
    """By callers who waited in it."""
    attempts: int
    """Including those of promises made elsewhere."""
    reached: int
    mean_wait_s: float | None
    """From the place that was kept to the conversation."""


def recorded(runs: Iterable[Replay]) -> Outcome:
    outcome = Outcome()
    for run in runs:
        for wait in run.seen.waits:
            if wait.promised:
                outcome.promised[wait.join.queue_id] += 1
            elif wait.over_at is not None and wait.end is not None:
                # Until the agent answered, as a caller feels it.
                outcome.took(wait, wait.over_at, wait.end)
            if wait.join.callback and (wait.vain_s is not None or wait.end is End.ANSWERED):
                outcome.attempts[wait.join.queue_id] += 1
    return outcome
