"""A supervisor's desk that never rests: keeps calls on hold, in consultation, in conference and parked, and customers
being called back, by REST, so that a fault meets every state. What the product refuses is not done, as for a person."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp

from tests.chaos.load import LONGEST_S
from tests.chaos.states import States
from tests.lab.api import ApiProblem
from tests.lab.errors import LabError
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack

KEPT_S = 6.0
"""How long a call is left in its state before it is brought back."""
SPARE = 3
"""Agents who are consulted, and take no calls."""
OUTSIDE = "carrier"
BROUGHT = ("hold", "consulting", "conference", "parked")
REACHED_S = 5.0
"""How long a call may take to come into the state it is brought to."""
AT_ONCE = 2
"""So many calls are brought into the state that a fault waits for: one may end on the way."""
CALLBACK_S = 6.0
"""So long after a callback was asked for, the next is, when one is wanted."""


class Desk:
    """``aim``: the state that a fault waits for, if any; then calls are brought into it first, and stay there until
    the fault has struck. ``refused``: what the product, or the lab, did not do, by its id; ``missed``: calls that did
    not come into the state in time, by state."""

    def __init__(self, stack: Stack, states: States, seed: int) -> None:
        self._stack = stack
        self._chance = random.Random(seed)
        self.states = states
        self.aim: str | None = None
        self.refused: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._touched: dict[str, float] = {}
        self._called_back = 0.0
        self._spare: deque[str] = deque()
        self._loop = asyncio.get_running_loop()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Until the block ends. The last agents are those who are consulted."""
        names = sorted(self._stack.agents)[-SPARE:]
        for name in names:
            await self._stack.status(name, "NOT_READY", "CONSULTED")
        spare = [self._stack.agents[name].agent_id for name in names]
        self._spare.extend(spare)
        with Sipp.agents(self._stack.carrier, ring_ms=2500, talk_ms=2500, port=5060, limit_s=LONGEST_S):
            working = asyncio.create_task(self._work(spare))
            try:
                yield
            finally:
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working

    async def _work(self, spare: list[str]) -> None:
        while True:
            count = self.states.look()
            jobs = [self._ready_again(agent, spare) for agent in list(self.states.not_ready)]
            if (state := self._wanted(count)) is not None:
                jobs += [self._bring(state) for _ in range(1 if self.aim is None else AT_ONCE)]
            jobs += [self._back(call) for call in list(self._touched) if self._over(call)]
            await asyncio.gather(*(self._asked(job) for job in jobs))
            await asyncio.sleep(0.25)

    def report(self) -> str:
        """What was not done, in words; empty: all was."""
        refused = [f"{count} refused ({what})" for what, count in sorted(self.refused.items())]
        missed = [f"{count} came too late into {state}" for state, count in sorted(self.missed.items())]
        return ", ".join(refused + missed)

    def _wanted(self, count: Counter[str]) -> str | None:
        """Which state a call is to be brought into now."""
        if self.aim in (*BROUGHT, "callback"):
            return None if count[self.aim] else self.aim
        lacking = [state for state in BROUGHT if not count[state]]
        return self._chance.choice(lacking) if lacking else None

    def _over(self, call: str) -> bool:
        aimed_at = self.aim is not None and self.states.calls.get(call) == self.aim
        return not aimed_at and self._loop.time() - self._touched[call] > KEPT_S

    async def _asked(self, job: Awaitable[Any]) -> None:
        """What is refused is not done, as for a person; it is counted."""
        try:
            await job
        except ApiProblem as problem:
            found = problem.body.get("error_id") if isinstance(problem.body, dict) else None
            self.refused[str(found or problem.status)] += 1
        except (LabError, aiohttp.ClientError, TimeoutError) as error:
            self.refused[type(error).__name__] += 1

    async def _ready_again(self, agent_id: str, spare: list[str]) -> None:
        of_spare = {"status": "NOT_READY", "reason": "CONSULTED"}
        body = of_spare if agent_id in spare else {"status": "AVAILABLE"}
        await self._stack.api.post(f"agents/{agent_id}/status", body)

    def _who(self) -> str:
        """To be consulted, or to take a parked call: whose turn is longest ago, for the others may still be busy."""
        self._spare.rotate(-1)
        return self._spare[-1]

    async def _bring(self, state: str) -> None:
        if state == "callback":
            if self._loop.time() - self._called_back > CALLBACK_S:
                self._called_back = self._loop.time()
                number = f"+4917099{next(self._numbers):06}"
                body = {"number": number, "did": DID, "queue_id": "support"}
                await self._stack.api.post("callbacks", body)
            return
        talking = [call for call, now in self.states.calls.items() if now == "talking" and call not in self._touched]
        if not talking:
            return
        # Who has just begun to talk does so for longest.
        call = max(talking, key=lambda one: self.states.since[one])
        self._touched[call] = self._loop.time()
        post = self._stack.api.post
        if state == "hold":
            await post(f"calls/{call}/hold", {})
        elif state == "parked":
            await post(f"calls/{call}/park", {})
        else:
            await post(f"calls/{call}/consult", {"agent_id": self._who()})
            if state == "conference":
                if not await self._until(call, "consulting"):
                    return
                await post(f"calls/{call}/consult/conference", {})
        await self._until(call, state)

    async def _until(self, call: str, state: str) -> bool:
        """Whether the call came into the state in time; else that is counted."""
        end = self._loop.time() + REACHED_S
        while self._loop.time() < end:
            self.states.look()
            if self.states.calls.get(call) == state:
                return True
            if call not in self.states.calls:
                break  # it has ended
            await asyncio.sleep(0.05)
        self.missed[state] += 1
        return False

    async def _back(self, call: str) -> None:
        state = self.states.calls.get(call)
        del self._touched[call]
        post = self._stack.api.post
        if state == "hold":
            await post(f"calls/{call}/resume", {})
        elif state == "consulting":
            await post(f"calls/{call}/consult/{self._chance.choice(('cancel', 'complete'))}", {})
        elif state == "conference":
            await post(f"calls/{call}/consult/complete", {})
        elif state == "parked":
            await post(f"calls/{call}/retrieve", {"agent_id": self._who()})
