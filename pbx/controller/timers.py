"""Timers of calls and agents on the event loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timers:
    """Named timers of one owner. Setting a name again replaces it; each fires once."""

    def __init__(self, fire: Callable[[str], None]) -> None:
        self._fire = fire
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def set(self, name: str, delay_s: float) -> None:
        self.cancel(name)
        self._handles[name] = asyncio.get_running_loop().call_later(delay_s, self._fired, name)

    def _fired(self, name: str) -> None:
        del self._handles[name]
        self._fire(name)

    def cancel(self, name: str) -> None:
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)
