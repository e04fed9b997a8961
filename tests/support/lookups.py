"""An HTTP service for calls in virtual time: answers what the test says, when it says."""

from __future__ import annotations

import asyncio
from typing import Any

from pbx.domain.commands import Lookup
from pbx.domain.errors import LookupFailed
from pbx.ports.lookups import Answer


class ScriptedLookups:
    def __init__(self) -> None:
        self.asked: list[Lookup] = []
        self.document: Any = {}
        self.failure: LookupFailed | None = None
        self.takes_s = 0.1
        self.answered = 0

    async def ask(self, lookup: Lookup) -> Answer:
        self.asked.append(lookup)
        await asyncio.sleep(self.takes_s)
        self.answered += 1
        if self.failure is not None:
            raise self.failure
        return Answer(200, self.document)

    async def close(self) -> None:
        return
