"""Agents whom both POPs have and whose phones register now at the one, now at the other, while faults strike."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.sipp import Sipp

ANSWER_S = 4.0
"""A registrar that does not answer for so long is not there; the phone tries again later."""
SETTLED_S = 20.0
"""By then it is clear which POP has an agent whose phone registered: a POP that is silent counts as gone after 3 s,
POPs tell each other all every 5 s."""


class Movers:
    """``users``: name -> password; ``pops``: id -> address. They begin at the first of these."""

    def __init__(self, phones: Host, contact_port: int, users: Mapping[str, str], pops: Mapping[str, str], seed: int):
        self._phones, self._port, self._users, self._pops = phones, contact_port, users, pops
        self._chance = random.Random(seed)
        self.at = dict.fromkeys(users, next(iter(pops)))
        """Name -> where the phone registered last."""
        self.moves = 0

    async def move(self) -> None:
        """One of them takes leave of its POP and registers at another one; where that does not answer, it stays."""
        name = self._chance.choice(list(self._users))
        there = self._chance.choice([pop_id for pop_id in self._pops if pop_id != self.at[name]])
        await self._register(name, self.at[name], expires_s=0)
        if await self._register(name, there):
            self.at[name], self.moves = there, self.moves + 1
        else:
            await self._register(name, self.at[name])

    async def refresh(self) -> None:
        """As phones do all the time: a media server that was killed may have forgotten a registration."""
        for name, pop_id in self.at.items():
            await self._register(name, pop_id)

    async def _register(self, name: str, pop_id: str, expires_s: int = 3600) -> bool:
        users = {name: self._users[name]}
        register = Sipp.register(self._phones, self._pops[pop_id], users, contact_port=self._port, expires_s=expires_s)
        with contextlib.suppress(LabError):
            return (await asyncio.to_thread(register.finish, ANSWER_S)).successful == 1
        return False

    async def misplaced(self, journals: Mapping[str, Path], agents: Mapping[str, str]) -> list[str]:
        """Each agent is at one POP, that of the phone; what is not so once there was time. ``agents``: name -> id."""
        end = time.monotonic() + SETTLED_S
        while wrong := list(self._misplaced(journals, agents)):
            if time.monotonic() > end:
                return wrong
            await asyncio.sleep(0.5)
        return []

    def _misplaced(self, journals: Mapping[str, Path], agents: Mapping[str, str]) -> Iterator[str]:
        owners = {pop_id: _owned(path) for pop_id, path in journals.items()}
        home = next(iter(self._pops))
        for name, there in self.at.items():
            found = sorted(p for p, owned in owners.items() if owned.get(agents[name], p == home))
            if found != [there]:
                yield f"the phone of {name} registered last at {there}; its agent is at {' and '.join(found) or 'none'}"


def _owned(path: Path) -> dict[str, bool]:
    """Agent -> whether it is this POP's, of those who have moved."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return {agent_id: bool(ours) for agent_id, ours in db.execute("SELECT agent_id, ours FROM tenures")}
