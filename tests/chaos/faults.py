"""Faults of a running stack. Each is put in, lasts as long as it is told, and is taken out again; then the stack is
whole, if the product keeps its promises. Only the lab's own hosts and programs are touched."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from dialplans.schema import Pop
from tests.chaos.syscalls import FULL, SLOW, injected
from tests.lab.errors import LabError, wait_until
from tests.lab.host import Host
from tests.lab.media_server import MediaServer
from tests.lab.process import Process
from tests.lab.stack import Stack
from tests.lab.warden import child_of

STEP_S = 30.0
HEALED_S = 120.0
"""Until what was killed is there again, at most: programs start slowly on a machine that is busy with other tests."""


class Site(Protocol):
    """A POP that faults strike at."""

    @property
    def pop(self) -> Host: ...

    @property
    def server(self) -> MediaServer: ...

    @property
    def controller(self) -> Process: ...

    @property
    def settings(self) -> Pop: ...

    def restart_controller(self) -> None: ...

    def logs(self) -> str: ...


@dataclass(slots=True)
class Faults:
    stack: Stack
    """Centre, bus and database."""
    site: Site
    deaths: list[float] = field(default_factory=list)
    """When the media server was killed."""
    away: list[tuple[float, float]] = field(default_factory=list)
    """When no controller held the lease, at most."""
    unnoted: list[tuple[float, float]] = field(default_factory=list)
    """When the disk was full on which calls are noted that are served without a controller."""
    crashes: list[str] = field(default_factory=list)
    """How the media server ended by itself, each time; it is started again then, as systemd would."""
    _is_down: bool = False
    """The media server has ended, or is about to, for a fault."""

    def all(self) -> dict[str, Callable[[float], Awaitable[None]]]:
        """Name -> what is done for so many seconds."""
        found: dict[str, Callable[[float], Awaitable[None]]] = {
            "controller killed": self.controller,
            "media server killed": self.media_server,
            "bus killed": self.bus,
            "centre killed": self.centre,
            "link to the centre cut": self.link_cut,
            "link cut one way": self.one_way,
            "link cut the other way": self.other_way,
            "5 % of packets lost": self.loss,
            "controller stands still": self.stall,
            "disk of recordings full": self.disk_full,
            "disk of the journal full": self.journal_full,
            "disk slow": self.disk_slow,
            "host powered off": self.power,
        }
        if self.site.pop.clock is not None:
            found["clock set forward"] = self.clock_forward
            found["clock set back"] = self.clock_back
        if self.stack.postgres is not None:
            found["database killed"] = self.database
        return found

    async def watch(self) -> None:
        """Until cancelled: note when nobody holds the lease, for whatever reason: it may be the machine's load. A media
        server that has ended by itself is started again."""
        while True:
            asked = time.time()
            status = self.site.server.process.poll()
            if status is not None and not self._is_down:
                self.crashes.append(f"{self.site.server.process.name} ended with {status}")
                self.deaths.append(asked)
                await asyncio.to_thread(self.site.server.start)
            try:
                held = await asyncio.to_thread(self.site.server.lease) > int(asked + self._ahead)
            except LabError:
                held = False  # it does not answer
            if not held:
                self.away.append((asked - 1.0, time.time() + 1.0))
            await asyncio.sleep(0.5)

    async def controller(self, seconds: float) -> None:
        began = time.time()
        self.site.controller.kill()
        await asyncio.sleep(min(seconds, 1.0))
        await asyncio.to_thread(self.site.restart_controller)
        await self.up(began)

    async def media_server(self, seconds: float) -> None:
        began = time.time()
        self.deaths.append(began)
        self._is_down = True
        self.site.server.kill()
        await asyncio.sleep(min(seconds, 1.0))
        await asyncio.to_thread(self.site.server.restart)
        self._is_down = False
        await self.up(began)

    async def bus(self, seconds: float) -> None:
        """The orchestrator starts it again."""
        killed = child_of(self.stack.orchestrator.pid)
        if killed is None:
            return
        os.kill(killed, signal.SIGKILL)
        again = lambda: child_of(self.stack.orchestrator.pid) not in (None, killed)  # noqa: E731
        await asyncio.to_thread(wait_until, again, HEALED_S, "another nats-server", self.site.logs)

    async def centre(self, seconds: float) -> None:
        self.stack.orchestrator.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.stack.restart_centre)
        await self.stack.api.wait_up(HEALED_S)

    async def database(self, seconds: float) -> None:
        postgres = self.stack.postgres
        if postgres is None:
            raise AssertionError("the stack has no PostgreSQL")
        postgres.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(postgres.start)

    async def stall(self, seconds: float) -> None:
        """The controller's process is stopped, as by a disk that does not come back; its connections stay."""
        began = time.time()
        os.kill(self.site.controller.pid, signal.SIGSTOP)
        await asyncio.sleep(min(seconds, 3.0))
        os.kill(self.site.controller.pid, signal.SIGCONT)
        await self.up(began)

    @property
    def _ahead(self) -> float:
        clock = self.site.pop.clock
        return 0.0 if clock is None else clock.offset_s

    async def clock_forward(self, seconds: float) -> None:
        await self._step(STEP_S)

    async def clock_back(self, seconds: float) -> None:
        await self._step(-STEP_S)

    async def _step(self, by_s: float) -> None:
        """Of the POP's host. Who comes before the lease is renewed may have the fallback."""
        clock, began = self.site.pop.clock, time.time()
        if clock is None:
            raise AssertionError("the POP's host has no clock of its own")
        clock.step(by_s)
        former = int(began + clock.offset_s)  # by the new clock
        held = lambda: former < self.site.server.lease() <= former + 20  # noqa: E731
        await asyncio.to_thread(wait_until, held, HEALED_S, "a lease by the new clock", self.site.logs)
        self.away.append((began - 1.0, time.time() + 1.0))

    async def power(self, seconds: float) -> None:
        """Media server and controller end at the same moment, nobody is told; then the host boots."""
        began = time.time()
        self.deaths.append(began)
        self._is_down = True
        for process in (self.site.server.process, self.site.controller):
            process.signal(signal.SIGKILL)
        self.site.pop.unplug()
        for process in (self.site.server.process, self.site.controller):
            process.wait()
        await asyncio.sleep(min(seconds, 2.0))
        self.site.pop.plug_in()
        await asyncio.gather(asyncio.to_thread(self.site.server.start), asyncio.to_thread(self.site.restart_controller))
        self._is_down = False
        await self.up(began)

    async def journal_full(self, seconds: float) -> None:
        await self._injected(FULL, seconds)

    async def disk_slow(self, seconds: float) -> None:
        await self._injected(SLOW, seconds)

    async def _injected(self, rules: tuple[str, ...], seconds: float) -> None:
        """In what the controller does with its journal's files."""
        journal = self.site.pop.state_dir / "controller" / "journal.sqlite"
        paths = [journal, journal.with_name("journal.sqlite-wal"), journal.with_name("journal.sqlite-shm")]
        async with injected(self.site.controller.pid, rules, paths):
            await asyncio.sleep(seconds)

    async def link_cut(self, seconds: float) -> None:
        with self.site.pop.cut_from(self.stack.centre):
            await asyncio.sleep(seconds)

    async def one_way(self, seconds: float) -> None:
        """The POP hears the centre, the centre does not hear the POP."""
        with self.site.pop.filtered(leaving=[f"ip daddr {self.stack.centre.address} drop"]):
            await asyncio.sleep(seconds)

    async def other_way(self, seconds: float) -> None:
        """The centre hears the POP, the POP does not hear the centre."""
        with self.site.pop.filtered(coming=[f"ip saddr {self.stack.centre.address} drop"]):
            await asyncio.sleep(seconds)

    async def cut_from(self, other: Host, seconds: float) -> None:
        """The two POPs do not reach each other; the centre reaches both."""
        with self.site.pop.cut_from(other):
            await asyncio.sleep(seconds)

    async def loss(self, seconds: float) -> None:
        """Of all that comes to the POP and leaves it, but for what it says to itself."""
        share = ["meta protocol ip numgen random mod 100 < 5 drop"]
        with self.site.pop.filtered(leaving=share, coming=share):
            await asyncio.sleep(seconds)

    async def disk_full(self, seconds: float) -> None:
        """The directory that recordings under way are written to, on a file system of its own, is filled."""
        filler = f"{self.site.settings.recording_dir}/filler"
        fill = f"dd if=/dev/zero of={filler} bs=64k 2>&1 | grep -q 'No space left'"
        began = time.time()
        await asyncio.to_thread(self.site.pop.run, ["sh", "-c", fill], rootfs=False)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(self.site.pop.run, ["rm", filler], rootfs=False)
            self.unnoted.append((began, time.time()))

    async def up(self, since: float) -> None:
        """A controller has renewed its lease after now; it may not have held it ``since``. Raises LabError."""

        def lease() -> int:
            try:
                return self.site.server.lease()
            except LabError:
                return 0  # on a busy machine its console does not answer each time, and it may have to be started again

        former = await asyncio.to_thread(lease)

        def renewed() -> bool:
            return lease() > max(former, int(time.time() + self._ahead))

        await asyncio.to_thread(wait_until, renewed, HEALED_S, "the controller's lease", self.site.logs)
        self.away.append((since, time.time()))
