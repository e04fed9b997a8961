"""What POPs of strict regions call numbers. They send keyed hashes, and only they can say whose: each is asked with
digests under a key of its own, so that the number itself does not cross the bus. An answer is remembered, and the next
question is about what the POP's journal has got since."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from orchestrator.adapters.bus.client import Bus
from orchestrator.domain.problems import PopRefused, PopTimeout, PopUnreachable
from orchestrator.services import commands
from orchestrator.services.rights_keys import RightsKeys
from pbx.wire.messages import NameNumbers, NumbersNamed

DEADLINE_S = 15.0
"""For a part of a journal."""
MOST = 100_000
"""Digests of one POP that are remembered."""
MARK = "~"
AWAY = (PopUnreachable, PopTimeout, PopRefused)


@dataclass(slots=True)
class _Known:
    journal_id: str = ""
    names: dict[str, str] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    """Digest -> up to where the journal was looked through for it."""


@dataclass(frozen=True, slots=True)
class Heard:
    names: Mapping[str, Mapping[str, frozenset[str]]]
    """POP -> number -> its pseudonyms there, one for each way in which it is written there."""
    silent: Mapping[str, str]
    """POP that did not say -> why."""

    @property
    def all(self) -> list[str]:
        return sorted({name for of in self.names.values() for names in of.values() for name in names})


class PopNames:
    def __init__(self, bus: Bus, keys: RightsKeys) -> None:
        self._bus, self._keys = bus, keys
        self._known: dict[str, _Known] = {}

    async def of(self, pop_id: str, numbers: Collection[str]) -> dict[str, frozenset[str]]:
        """What the POP calls each of ``numbers``; nothing for one that it has not had, or a POP that hides none. Raises
        PopUnreachable, PopTimeout, PopRefused."""
        digests = {number: self._keys.digests_at(pop_id, number) for number in numbers}
        wanted = {one for each in digests.values() for one in each}
        known = self._known.get(pop_id) or _Known()
        while wanted:
            unnamed = sorted(wanted - known.names.keys())
            after = min((known.seen.get(one, 0) for one in unnamed), default=0)
            said = await self._ask(pop_id, unnamed, known.journal_id, after)
            if said.journal_id != known.journal_id:
                former, known = known, _Known(said.journal_id)
                if former.journal_id:  # the POP lost its disk: what it called anybody is no more
                    continue
            known.names.update(said.names)
            known.seen.update({one: max(said.upto, known.seen.get(one, 0)) for one in unnamed})
            if not said.more:
                break
        if len(known.seen) <= MOST:
            self._known[pop_id] = known
        else:
            self._known.pop(pop_id, None)
        return {
            number: frozenset(known.names[one] for one in each if one in known.names)
            for number, each in digests.items()
        }

    async def hear(self, pops: Collection[str], numbers: Collection[str]) -> Heard:
        """Ask all of them at once."""
        ordered = sorted(pops)
        answers = await asyncio.gather(*(self._try(pop_id, numbers) for pop_id in ordered))
        said = dict(zip(ordered, answers, strict=True))
        return Heard(
            {pop_id: one for pop_id, one in said.items() if not isinstance(one, str)},
            {pop_id: one for pop_id, one in said.items() if isinstance(one, str)},
        )

    async def _try(self, pop_id: str, numbers: Collection[str]) -> dict[str, frozenset[str]] | str:
        try:
            return await self.of(pop_id, numbers)
        except AWAY as problem:
            return problem.error_id

    async def _ask(self, pop_id: str, digests: list[str], journal_id: str, after: int) -> NumbersNamed:
        key = self._keys.numbers_at(pop_id).hex()
        command = NameNumbers(key=key, digests=digests, journal_id=journal_id, after=after)
        try:
            said = (await commands.send(self._bus, pop_id, command, DEADLINE_S)).named
        except PopRefused as refused:
            if refused.error_id != "unknown_command":
                raise
            said = None
        if said is None:
            raise PopRefused("pop_too_old", f"POP {pop_id} cannot say yet what it calls a number: upgrade it")
        return said
