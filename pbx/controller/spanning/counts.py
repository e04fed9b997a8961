"""What monitoring is told of queues that span POPs: counts since the controller started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SpanningCounts:
    proposed: Counter[str] = field(default_factory=lambda: Counter({"made": 0, "expired": 0}))
    """By the router, while it was at this POP; expired: nothing was heard of it in time."""
    answered: Counter[str] = field(
        default_factory=lambda: Counter({"taken": 0, "former_router": 0, "call_not_open": 0, "agent_not_free": 0})
    )
    """What this POP said to proposals for its calls."""
    offers_refused: int = 0
    """Of other POPs, to agents of this one: the router saw them free, and they were not any more."""
    moves: Counter[str] = field(default_factory=lambda: Counter({"came": 0, "went": 0, "presumed": 0}))
    """Of agents; presumed: they came from a POP of which nothing was heard."""
