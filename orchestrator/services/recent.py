"""Answers that many people ask for at once, such as the figures of today, kept for a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

KEPT_S = 1.0
MOST = 500
T = TypeVar("T")


@dataclass(slots=True)
class Recent:
    """What is older than ``KEPT_S`` is made anew; of more than ``MOST`` the oldest are forgotten."""

    clock: Callable[[], float] = time.monotonic
    _kept: dict[Hashable, tuple[float, Any]] = field(default_factory=dict)
    _making: dict[Hashable, asyncio.Future[Any]] = field(default_factory=dict)
    """Asked for by several at once, it is made once."""

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        found = self._kept.get(key)
        if found is not None and self.clock() - found[0] < KEPT_S:
            value: T = found[1]
            return value
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.ensure_future(self._make(key, make))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        # Whoever goes away while it is made takes it from nobody else.
        return await asyncio.shield(making)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        began = self.clock()
        value = await make()
        self._kept.pop(key, None)
        self._kept[key] = began, value
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]
        return value
