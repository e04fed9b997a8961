"""A supervisor's desk that never rests: keeps calls on hold, in consultation, in conference and parked, and customers
being called back, by REST, so that a fault meets every state. What the product refuses is not done, as for a person."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp

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


class Desk:
    def __init__(self, stack: Stack, states: States, seed: int) -> None:
        self._stack = stack
        self._chance = random.Random(seed)
        self.states = states
        self._numbers = itertools.count()
        self._touched: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Until the block ends. The last agents are those who are consulted."""
        names = sorted(self._stack.agents)[-SPARE:]
        for name in names:
            await self._stack.status(name, "NOT_READY", "CONSULTED")
        spare = [self._stack.agents[name].agent_id for name in names]
        with Sipp.agents(self._stack.carrier, ring_ms=2500, talk_ms=2500, port=5060):
            working = asyncio.create_task(self._work(spare))
            try:
                yield
            finally:
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working

    async def _work(self, spare: list[str]) -> None:
        for turn in itertools.count():
            count = self.states.look()
            wanted = [state for state in ("hold", "consulting", "conference", "parked") if not count[state]]
            wanted += ["callback"] if not count["callback"] and turn % 8 == 0 else []
            jobs = [self._ready_again(agent) for agent in list(self.states.not_ready)]
            if wanted:
                jobs.append(self._bring(self._chance.choice(wanted), spare))
            jobs += [self._back(call, spare) for call in list(self._touched) if self._over(call)]
            await asyncio.gather(*(self._asked(job) for job in jobs))
            await asyncio.sleep(0.25)

    def _over(self, call: str) -> bool:
        return self._loop.time() - self._touched[call] > KEPT_S

    async def _asked(self, job: Awaitable[Any]) -> None:
        with contextlib.suppress(ApiProblem, LabError, aiohttp.ClientError, TimeoutError):
            await job

    async def _ready_again(self, agent_id: str) -> None:
        await self._stack.api.post(f"agents/{agent_id}/status", {"status": "AVAILABLE"})

    async def _bring(self, state: str, spare: list[str]) -> None:
        if state == "callback":
            number = f"+4917099{next(self._numbers):06}"
            body = {"number": number, "did": DID, "queue_id": "support"}
            await self._stack.api.post("callbacks", body)
            return
        talking = [call for call, now in self.states.calls.items() if now == "talking" and call not in self._touched]
        if not talking:
            return
        call = self._chance.choice(talking)
        self._touched[call] = self._loop.time()
        post = self._stack.api.post
        if state == "hold":
            await post(f"calls/{call}/hold", {})
        elif state == "parked":
            await post(f"calls/{call}/park", {})
        else:
            await post(f"calls/{call}/consult", {"agent_id": self._chance.choice(spare)})
            if state == "conference":
                await self._until(call, "consulting")
                await post(f"calls/{call}/consult/conference", {})

    async def _until(self, call: str, state: str) -> None:
        for _ in range(40):
            self.states.look()
            if self.states.calls.get(call) == state:
                return
            await asyncio.sleep(0.1)

    async def _back(self, call: str, spare: list[str]) -> None:
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
            await post(f"calls/{call}/retrieve", {"agent_id": self._chance.choice(spare)})
