"""Which POP is the router: the one that holds the lease on the bus. Every POP whose queues span POPs stands by."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from pbx.controller.spanning.counts import SpanningCounts
from pbx.controller.spanning.global_router import GlobalRouter
from pbx.domain.ids import PopId, QueueId
from pbx.domain.queue import Queue
from pbx.ports.media_engine import Clock
from pbx.ports.mesh import LEASE_S, Mesh
from pbx.wire import mesh as wire

log = logging.getLogger(__name__)

RENEW_S = 0.5
POSITIONS_S = 1.0


class Election:
    """``to_desk`` takes what the router says to its own POP."""

    def __init__(
        self,
        pop_id: PopId,
        mesh: Mesh,
        clock: Clock,
        to_desk: Callable[[PopId, wire.MeshMessage], None],
        counts: SpanningCounts,
    ) -> None:
        self._counts = counts
        self._pop_id, self._mesh, self._clock, self._to_desk = pop_id, mesh, clock, to_desk
        self.router: GlobalRouter | None = None
        self._queues: Mapping[QueueId, Queue] = {}
        self._revision: int | None = None
        self._renewed_at = 0.0
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._positions_at = 0.0

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._end()

    def set_queues(self, queues: Mapping[QueueId, Queue]) -> None:
        self._queues = queues
        if self.router is not None:
            self.router.put_queues(queues)

    def look(self, wanted: bool, there_is_one: bool) -> None:
        """Called a few times a second. A router whose lease may be over is one no more, whatever the bus says later."""
        now = self._clock()
        if self.router is not None and now - self._renewed_at > LEASE_S * 0.75:
            log.warning("POP %s could not renew its lease and is the router no more", self._pop_id)
            self._end()
        if self.router is not None:
            self.router.look_around()
            if now - self._positions_at > POSITIONS_S:
                self._positions_at = now
                self._tell_positions(self.router)
        mine = self.router is not None
        stands = wanted and self._mesh.connected and (mine or not there_is_one)
        if stands and self._asking is None and now - self._asked_at >= RENEW_S:
            self._asked_at = now
            self._asking = asyncio.get_running_loop().create_task(self._ask(now), name="router lease")

    async def _ask(self, asked_at: float) -> None:
        try:
            revision = await self._mesh.lease(self._revision)
        finally:
            self._asking = None
        if revision is None:
            if self._revision is not None:
                self._end()
            return
        self._revision, self._renewed_at = revision, asked_at
        if self.router is None:
            self.router = GlobalRouter(revision, self._clock, self._propose, self._counts)
            self.router.put_queues(self._queues)
            log.info("POP %s is the router of the queues that span POPs", self._pop_id)
        self._say(wire.Router(self.router.term))

    def yields_to(self, term: int) -> None:
        if self.router is not None and term > self.router.term:
            self._end()

    def _end(self) -> None:
        if self.router is not None:
            self.router.stop()
        self.router = self._revision = None

    def told(self, sender: PopId, told: wire.Told) -> None:
        if self.router is not None:
            self.router.told(sender, told)

    def _say(self, message: wire.MeshMessage) -> None:
        self._mesh.send(None, message)
        self._to_desk(self._pop_id, message)

    def _propose(self, pop_id: PopId, proposed: wire.Proposed) -> None:
        if pop_id == self._pop_id:  # not while the router is at it
            asyncio.get_running_loop().call_soon(self._to_desk, self._pop_id, proposed)
        else:
            self._mesh.send(pop_id, proposed)

    def _tell_positions(self, router: GlobalRouter) -> None:
        """How many callers of other POPs are before each one."""
        before: dict[PopId, dict[str, int]] = defaultdict(dict)
        for queue_id in self._queues:
            counts: dict[PopId, int] = defaultdict(int)
            for place, call_id in enumerate(router.line(queue_id)):
                pop_id = router.home_of(call_id)
                before[pop_id][call_id] = place - counts[pop_id]
                counts[pop_id] += 1
        for pop_id in router.pops() | before.keys():
            message = wire.Positions(before[pop_id], router.first_of_others(pop_id, self._queues))
            if pop_id == self._pop_id:
                self._to_desk(pop_id, message)
            else:
                self._mesh.send(pop_id, message)
