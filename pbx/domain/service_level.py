"""The usual figures of a queue, each defined here and nowhere else.

*Offered* are the calls that entered the queue and whose wait is over; a refused call never entered. A *short abandon*
gave up so soon that no agent could have been in time: it counts neither for nor against. *Service level* is the share
of the others answered within the threshold, so that whoever gave up later counts against it. *ASA*, the average speed
of answer, is the mean wait of the answered. *Occupancy* is the share of agents' time ready or busy in which they were
busy: ringing, talking, wrapping up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

THRESHOLD_S = 20.0
SHORT_ABANDON_S = 5.0


class End(Enum):
    """How a wait ended."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    GIVEN_UP = "given_up"
    """By the queue: its longest wait, a step, its removal."""
    REFUSED = "refused"
    """There was no wait."""


@dataclass(frozen=True, slots=True)
class Contact:
    waited_s: float
    end: End


@dataclass(frozen=True, slots=True)
class Figures:
    offered: int
    answered: int
    abandoned: int
    """Short ones included."""
    short_abandons: int
    refused: int
    service_level: float | None
    """0 to 1; None, like the others, where there is nothing to take it of."""
    asa_s: float | None
    abandon_share: float | None
    """Of those offered, short abandons apart."""
    longest_wait_s: float | None


def figures(
    contacts: Iterable[Contact], threshold_s: float = THRESHOLD_S, short_abandon_s: float = SHORT_ABANDON_S
) -> Figures:
    every = list(contacts)
    waits = [one for one in every if one.end is not End.REFUSED]
    answered = [one.waited_s for one in waits if one.end is End.ANSWERED]
    abandoned = [one.waited_s for one in waits if one.end is End.ABANDONED]
    short = sum(waited_s < short_abandon_s for waited_s in abandoned)
    counted = len(waits) - short
    return Figures(
        offered=len(waits),
        answered=len(answered),
        abandoned=len(abandoned),
        short_abandons=short,
        refused=len(every) - len(waits),
        service_level=sum(waited_s <= threshold_s for waited_s in answered) / counted if counted else None,
        asa_s=sum(answered) / len(answered) if answered else None,
        abandon_share=(len(abandoned) - short) / counted if counted else None,
        longest_wait_s=max((one.waited_s for one in waits), default=None),
    )


def occupancy(busy_s: float, staffed_s: float) -> float | None:
    """``staffed_s``: ready or busy."""
    return busy_s / staffed_s if staffed_s > 0 else None
