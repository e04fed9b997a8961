"""The usual figures of a queue, each defined here and nowhere else.

*Offered* are the calls that entered the queue and whose wait is over; a refused call never entered. A *short abandon*
gave up so soon that no agent could have been in time: it counts neither for nor against. *Service level* is the share
of the others answered within the threshold, so that whoever gave up later counts against it. *ASA*, the average speed
of answer, is the mean wait of the answered. *AHT*, the average handling time, is the mean time that a conversation
keeps an agent: talk, hold included, and wrap-up. *FCR*, first contact resolution, is the share of first contacts
after which the same number did not call again within ``REPEAT_S``; a first contact was answered, and no call of that
number had been in the time before. *CSAT* is the share of answers that are satisfied: 4 or 5 of 5. *Occupancy* is the
share of agents' time ready or busy in which they were busy: ringing, talking, wrapping up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

THRESHOLD_S = 20.0
SHORT_ABANDON_S = 5.0
REPEAT_S = 7 * 86400.0
SATISFIED = frozenset("45")
"""Digits of a ``CSAT_QUESTION`` that count as satisfied."""
CSAT_QUESTION, CSAT_DIGITS = "csat", frozenset("12345")
BUSY = frozenset(("RESERVED", "RINGING", "ON_CALL", "WRAP_UP", "ENGAGED"))
"""An agent's states, by their values, that count as busy."""


class End(Enum):
    """How a wait ended."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    GIVEN_UP = "given_up"
    """By the queue (its longest wait, a step, its removal), or for a callback or a message."""
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


@dataclass(slots=True)
class Tally:
    """What figures are made of: counts and sums, which may be added up in any order and portions."""

    offered: int = 0
    answered: int = 0
    in_time: int = 0
    abandoned: int = 0
    short_abandons: int = 0
    refused: int = 0
    answered_wait_s: float = 0.0
    longest_wait_s: float | None = None

    def add(self, one: Contact, threshold_s: float = THRESHOLD_S, short_abandon_s: float = SHORT_ABANDON_S) -> None:
        if one.end is End.REFUSED:
            self.refused += 1
            return
        self.offered += 1
        if self.longest_wait_s is None or one.waited_s > self.longest_wait_s:
            self.longest_wait_s = one.waited_s
        if one.end is End.ANSWERED:
            self.answered += 1
            self.answered_wait_s += one.waited_s
            self.in_time += one.waited_s <= threshold_s
        elif one.end is End.ABANDONED:
            self.abandoned += 1
            self.short_abandons += one.waited_s < short_abandon_s

    def figures(self) -> Figures:
        counted = self.offered - self.short_abandons
        return Figures(
            offered=self.offered,
            answered=self.answered,
            abandoned=self.abandoned,
            short_abandons=self.short_abandons,
            refused=self.refused,
            service_level=share(self.in_time, counted),
            asa_s=share(self.answered_wait_s, self.answered),
            abandon_share=share(self.abandoned - self.short_abandons, counted),
            longest_wait_s=self.longest_wait_s,
        )


def figures(
    contacts: Iterable[Contact], threshold_s: float = THRESHOLD_S, short_abandon_s: float = SHORT_ABANDON_S
) -> Figures:
    tally = Tally()
    for one in contacts:
        tally.add(one, threshold_s, short_abandon_s)
    return tally.figures()


def share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def aht_s(handling_s: float, conversations: int) -> float | None:
    """``handling_s``: talk and wrap-up of all ``conversations``; each agent's part of a call is one."""
    return share(handling_s, conversations)


def fcr(resolved: int, first_contacts: int) -> float | None:
    return share(resolved, first_contacts)


def csat(satisfied: int, answers: int) -> float | None:
    return share(satisfied, answers)


def occupancy(busy_s: float, staffed_s: float) -> float | None:
    """``staffed_s``: ready or busy."""
    return share(busy_s, staffed_s)
