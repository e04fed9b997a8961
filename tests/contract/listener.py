"""What the engine says, kept in its order, and waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pbx.domain.events import Event
from pbx.ports.media_engine import EngineSnapshot

SomeEvent = TypeVar("SomeEvent", bound=Event)


class Listener:
    """An ``EngineListener`` that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ups: list[EngineSnapshot] = []
        self.downs: list[str] = []
        self._news = asyncio.Event()

    def engine_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def engine_up(self, snapshot: EngineSnapshot) -> None:
        self.ups.append(snapshot)
        self._news.set()

    def engine_down(self, reason: str) -> None:
        self.downs.append(reason)
        self._news.set()

    def of(self, kind: type[SomeEvent]) -> list[SomeEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], what: str, deadline_s: float = 10) -> None:
        """Wait until the condition holds; it is looked at after every event. AssertionError after the deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {deadline_s} s; came: {self.events}") from None

    async def wait_for(
        self,
        kind: type[SomeEvent],
        where: Callable[[SomeEvent], bool] = lambda _: True,
        deadline_s: float = 10,
        count: int = 1,
    ) -> SomeEvent:
        """The ``count``-th event of a kind."""
        await self.until(lambda: sum(where(e) for e in self.of(kind)) >= count, kind.__name__, deadline_s)
        return [e for e in self.of(kind) if where(e)][count - 1]
