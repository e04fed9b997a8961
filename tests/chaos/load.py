"""Callers and agents for chaos: each caller has a number of its own, so that everything that is left of the call can be
told to be of it. They come all the time and are at every state at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from dialplans import prompts
from tests.lab.flows import FLOW
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack

QUEUE = {"skills": {"support": 1}, "ring_timeout_s": 5, "wrap_up_s": 1, "announce_every_s": 30, "redial_s": 60}


NOTICE = -1
"""Stands for how long the notice takes that asks for consent."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Callers who do the same."""

    prefix: str
    share: float
    """Of all callers."""
    digits: tuple[tuple[int, str], ...]
    """Milliseconds since the one before, and digit."""
    hold_ms: int | None = None
    """After the last of them; None: until the agent hangs up."""


@dataclass(frozen=True, slots=True)
class Course:
    """A flow, and who goes through it in which way."""

    flow: dict[str, Any]
    kinds: tuple[Kind, ...]


_MENUS = ((800, "1"), (900, "1"))
WHOLE = Course(
    FLOW,
    (
        Kind("+49170100", 0.5, (*_MENUS, (NOTICE, "1"))),
        Kind("+49170200", 0.2, (*_MENUS, (NOTICE, "2"))),
        Kind("+49170300", 0.15, _MENUS, 2500),  # hangs up in the notice
        Kind("+49170400", 0.15, (*_MENUS, (NOTICE, "1")), 1500),  # gives up in the queue, or early in the talk
    ),
)
PATIENT = Course(
    FLOW,
    (
        Kind("+49170110", 0.6, (*_MENUS, (NOTICE, "1"))),
        Kind("+49170210", 0.2, (*_MENUS, (NOTICE, "2")), 12_000),
        Kind("+49170310", 0.1, _MENUS, 2500),
        Kind("+49170410", 0.1, (*_MENUS, (NOTICE, "1")), 6000),
    ),
)
"""For talks that last: of those who wait some give up."""
SHORT = Course(
    {
        "start": "menu",
        "languages": ["de"],
        "nodes": {
            "menu": FLOW["nodes"]["menu"] | {"choices": {"1": "wait"}},
            **{name: FLOW["nodes"][name] for name in ("wait", "full", "goodbye")},
        },
    },
    (
        Kind("+49170500", 0.7, ((600, "1"),)),
        Kind("+49170600", 0.15, ((600, "1"),), 900),
        Kind("+49170700", 0.15, (), 500),
    ),
)
"""A menu and the queue: nobody is asked, and nothing is recorded. All states but those in seconds."""


BATCH_S = 6.0
"""Of callers, when they come all the while."""
LONGEST_S = 3600
"""No run lasts longer."""


class Callers:
    """They call ``did`` at ``target``, the stack's own POP unless told otherwise. Of two of these, ``first`` keeps the
    callers' numbers apart."""

    def __init__(self, stack: Stack, course: Course, target: str | None = None, did: str = DID, first: int = 0) -> None:
        self._stack, self._kinds = stack, course.kinds
        self._target, self._did = target or stack.pop.address, did
        self._numbers = {kind: itertools.count(first) for kind in course.kinds}
        self._running: list[Sipp] = []

    def come(self, rate: float, seconds: float) -> None:
        """So many a second for so long."""
        made = prompts.load_manifest(prompts.default_dir()).prompts["de"]
        notice_ms = made["consent-ask"].duration_ms + made["consent-keys-opt-in"].duration_ms
        for kind in self._kinds:
            count = max(1, round(rate * seconds * kind.share))
            calls = [(f"{kind.prefix}{next(self._numbers[kind]):05}", self._did) for _ in range(count)]
            callers = Sipp.callers(
                self._stack.carrier,
                self._target,
                calls,
                rate=rate * kind.share,
                digits=[(notice_ms if after == NOTICE else after, digit) for after, digit in kind.digits],
                hold_ms=kind.hold_ms,
                at_once=400,
            )
            self._running.append(callers)

    @contextlib.asynccontextmanager
    async def coming(self, rate: float, enough: Callable[[], bool]) -> AsyncIterator[None]:
        """Until the block ends they come, but for when there are ``enough``."""

        async def come() -> None:
            while True:
                if enough():
                    await asyncio.sleep(0.5)
                else:
                    self.come(rate, BATCH_S)
                    await asyncio.sleep(BATCH_S)

        task = asyncio.create_task(come(), name="callers")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def stop(self) -> None:
        """No more come. Those who are there hang up, or are gone with their program."""
        for running in self._running:
            running.stop()


@contextlib.asynccontextmanager
async def agents(stack: Stack, count: int, talk_ms: int = 2500, ring_ms: int = 300) -> AsyncIterator[None]:
    sound_ms = min(1900, talk_ms)
    async with stack.sipp_agents(count, ring_ms=ring_ms, talk_ms=talk_ms, sound_ms=sound_ms, limit_s=LONGEST_S):
        yield
