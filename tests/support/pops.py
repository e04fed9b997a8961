"""Several POPs on simulated media servers, a bus that a test cuts, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pbx.domain.ids import PopId
from tests.support.mesh import MemoryBus
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.world import SHORT_FLOW, World

NAMES = ("de-1", "de-2", "de-3")


class Site:
    def __init__(self, bus: MemoryBus, worlds: dict[str, World]) -> None:
        self.bus, self.worlds = bus, worlds
        self.one, self.two = worlds["de-1"], worlds["de-2"]

    def router(self) -> str | None:
        """The one that all POPs go by."""
        desks = [world.pop.spanning for world in self.worlds.values() if not world.dead]
        found = {desk.router_pop for desk in desks if desk is not None}
        return found.pop() if len(found) == 1 else None

    def router_first(self) -> tuple[World, World]:
        """Of two POPs the one where the router is, and the other."""
        assert self.router() is not None
        return (self.one, self.two) if self.router() == self.one.pop_id else (self.two, self.one)

    def part(self, name: str, *, media: bool = True) -> None:
        """A POP loses the bus, and the others."""
        self.bus.mesh(name).cut = True
        if media:
            for world in self.worlds.values():
                world.engine.mesh.pop(PopId(name), None)
            self.worlds[name].engine.mesh.clear()

    def heal(self, name: str) -> None:
        self.bus.mesh(name).cut = False
        _connect(self.worlds)


def _connect(worlds: dict[str, World]) -> None:
    for name, world in worlds.items():
        world.engine.mesh |= {other.pop_id: other.engine for key, other in worlds.items() if key != name}


@asynccontextmanager
async def pops(tmp_path: Path, count: int = 2, **queue: Any) -> AsyncIterator[Site]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    bus = MemoryBus(loop.wall)
    worlds = {}
    async with AsyncExitStack() as stack:
        for name in NAMES[:count]:
            (tmp_path / name).mkdir()
            settings: dict[str, Any] = {"wrap_up_s": 0.0, "pops": NAMES[:count], **queue}
            world = World(tmp_path / name, SHORT_FLOW, pop_id=name, mesh=bus.mesh(name), **settings)
            worlds[name] = await stack.enter_async_context(world)
        _connect(worlds)
        site = Site(bus, worlds)
        await site.one.until(lambda: site.router() is not None, "a router")
        yield site
