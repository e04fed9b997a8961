"""Who is at the other end of a leg: a caller, an agent's phone, somebody behind a trunk. Never the engine under test.

Everybody says a tone of its own, so that who hears whom is a set of frequencies.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from pbx.domain.commands import ToAgent
from tests.lab.audio import PRESENT_DB, Samples, tone_level_db

RATE = 8000
CALLER_HZ, AGENT_HZ, SECOND_HZ, SUPERVISOR_HZ = 440, 1000, 1290, 1570
PROMPT_HZ = {"short": 730, "long": 930, "music": 610}
"""No one is near another's harmonics."""
RINGING_HZ = 425
"""What a phone that rings sounds like at a POP in Germany: a second, and four of silence."""
PROMPT_S = {"short": 0.5, "long": 6.0, "music": 4.0}
ALL_HZ = frozenset((CALLER_HZ, AGENT_HZ, SECOND_HZ, SUPERVISOR_HZ, *PROMPT_HZ.values()))

DID = "+49305550100"
CALLER = "+491701234567"
CALLEE = "+4940555123"
"""Who is called over the trunk."""

WINDOW_S = 0.5
"""What counts as heard now. Two blocks of a quarter of a second."""
LOOK_S = 0.05


def tones_in(samples: Samples) -> set[int]:
    """Which of the known tones are in samples of at least a quarter of a second at 8000 Hz."""
    return {hz for hz in ALL_HZ if tone_level_db(samples, RATE, hz) >= PRESENT_DB}


class FarEnd(ABC):
    """One SIP endpoint with one call at a time."""

    def __init__(self, name: str, hz: int) -> None:
        self.name = name
        self.hz = hz
        """What it says."""

    @abstractmethod
    async def dial(self, did: str = DID) -> None:
        """Call a number of the POP, or from a phone a feature code; does not wait for anything."""

    @abstractmethod
    async def rings(self) -> None:
        """Wait until it rings."""

    @abstractmethod
    async def answer(self) -> None: ...

    @abstractmethod
    async def refuse(self) -> None:
        """Refuse the call that rings, as busy (486)."""

    @abstractmethod
    async def hang_up(self) -> None:
        """End the call, or give up dialling."""

    @abstractmethod
    async def talks(self) -> None:
        """Wait until its call is answered."""

    @property
    @abstractmethod
    def answered(self) -> bool:
        """Whether its call has been answered."""

    @abstractmethod
    async def is_over(self, deadline_s: float = 10) -> int:
        """Wait until its call is over. The SIP status with which it was refused, 0 when it ended otherwise."""

    @abstractmethod
    async def press(self, digits: str) -> None:
        """Send digits by RFC 4733, one after the other."""

    @abstractmethod
    def heard(self, last_s: float | None = None) -> Samples:
        """What it heard in its call, or in the last ``last_s`` seconds until now; 8000 Hz. A time in which nothing came
        is silence."""

    async def goes_on(self, seconds: float, deadline_s: float = 6) -> None:
        """Wait until its call has gone on for so long, by the samples that came."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        enough = len(self.heard()) + seconds * RATE
        while len(self.heard()) < enough:
            if loop.time() > end:
                raise AssertionError(f"{self.name} heard nothing for {seconds} s within {deadline_s} s")
            await asyncio.sleep(LOOK_S)

    async def hears_ringing(self, deadline_s: float = 8) -> None:
        """Wait until it hears half a second of the ringing tone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while not self._hears_ringing():
            if loop.time() > end:
                raise AssertionError(f"{self.name} hears no phone ring after {deadline_s} s")
            await asyncio.sleep(LOOK_S)

    async def rings_no_more(self) -> None:
        """Wait for longer than the ringing tone's silence; it may sound to its end, and must not come again."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() < begun + 5.5:
            if loop.time() > begun + 2.0 and self._hears_ringing():
                raise AssertionError(f"{self.name} hears a phone ring after {loop.time() - begun:.1f} s")
            await asyncio.sleep(LOOK_S)

    def _hears_ringing(self) -> bool:
        samples = self.heard(WINDOW_S)
        return len(samples) >= WINDOW_S * RATE and tone_level_db(samples, RATE, RINGING_HZ) >= PRESENT_DB

    async def hears(self, *hertz: int, deadline_s: float = 6) -> None:
        """Wait until it hears these tones and none of the others; without any: until there is silence."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        now: set[int] | None = None
        while loop.time() < end:
            samples = self.heard(WINDOW_S)
            if len(samples) >= WINDOW_S * RATE and (now := tones_in(samples)) == set(hertz):
                return
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"{self.name} hears {now and sorted(now)}, not {sorted(hertz)}, after {deadline_s} s")


class OtherPop(FarEnd):
    """Another POP of the site, as the POP under test meets it: who rings and is rung is a leg of its controller."""

    @abstractmethod
    async def offer(self, to: ToAgent) -> None:
        """Ring an agent of the POP under test; does not wait for anything."""

    @abstractmethod
    async def asked(self) -> tuple[str, str]:
        """Wait until it is rung: what the offer's header says (``pbx.wire.offer_header``), and the caller's number as
        it is shown."""


async def all_hear(expected: Sequence[tuple[FarEnd, Sequence[int]]]) -> None:
    """Each of them hears exactly its tones."""
    for far_end, hertz in expected:
        await far_end.hears(*hertz)
