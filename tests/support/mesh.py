"""A bus between simulated POPs that a test can cut, and a lease in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pbx.domain.ids import PopId
from pbx.ports.media_engine import Clock
from pbx.ports.mesh import LEASE_S, MeshHandler
from pbx.wire.mesh import MeshMessage


@dataclass
class MemoryBus:
    clock: Clock
    delay_s: float = 0.001
    pops: dict[PopId, MemoryMesh] = field(default_factory=dict)
    sent: list[tuple[PopId, PopId, MeshMessage]] = field(default_factory=list)
    holder: PopId | None = None
    until: float = 0.0
    revision: int = 0
    loses: Callable[[MeshMessage], bool] = lambda _: False
    """Which messages do not arrive."""

    def mesh(self, pop_id: str) -> MemoryMesh:
        return self.pops.setdefault(PopId(pop_id), MemoryMesh(self, PopId(pop_id)))


class MemoryMesh:
    """Implements ``Mesh``. ``cut``: this POP has lost the bus."""

    def __init__(self, bus: MemoryBus, pop_id: PopId) -> None:
        self._bus, self._pop_id = bus, pop_id
        self.cut = False
        self.handler: MeshHandler | None = None

    def listen(self, handler: MeshHandler) -> None:
        self.handler = handler

    @property
    def connected(self) -> bool:
        return not self.cut

    def send(self, to: PopId | None, message: MeshMessage) -> None:
        loop = asyncio.get_running_loop()
        for pop_id, other in self._bus.pops.items():
            if not self.cut and other is not self and to in (None, pop_id) and not self._bus.loses(message):
                self._bus.sent.append((self._pop_id, pop_id, message))
                loop.call_later(self._bus.delay_s, other._arrived, self._pop_id, message)

    def _arrived(self, sender: PopId, message: MeshMessage) -> None:
        if not self.cut and self.handler is not None:
            self.handler.mesh_message(sender, message)

    async def lease(self, held: int | None) -> int | None:
        await asyncio.sleep(self._bus.delay_s)
        bus, now = self._bus, self._bus.clock()
        if self.cut:
            return None
        free = now >= bus.until
        if not free and (bus.holder != self._pop_id or held != bus.revision):
            return None
        bus.revision += 1
        bus.holder, bus.until = self._pop_id, now + LEASE_S
        return bus.revision
