"""The port to HTTP services that flows ask about callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pbx.domain.commands import Lookup
from pbx.domain.errors import LookupFailed


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    document: Any
    """What the JSON said."""


class Lookups(Protocol):
    async def ask(self, lookup: Lookup) -> Answer:
        """The answer within ``lookup.deadline_s``, or LookupFailed. A POST is sent once at most."""

    async def close(self) -> None: ...


class NoLookups:
    """A POP that asks nobody."""

    async def ask(self, lookup: Lookup) -> Answer:
        raise LookupFailed("not_allowed")

    async def close(self) -> None:
        return
