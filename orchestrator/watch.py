"""What the centre shows to its monitoring: a page of metrics, and whether it is ready. All is read when it is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import QueuePool, func, select
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.adapters.bus.client import Bus, BusDown
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import is_behind
from orchestrator.adapters.db.models import OutboxRow, PopRow
from orchestrator.api.watching import HttpCounts
from orchestrator.control_loop import ControlLoop
from orchestrator.services.ingest import Ingest
from orchestrator.services.presence import PresenceBoard
from orchestrator.services.throttle import Gate
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from pbx.wire.telemetry.page import Page
from pbx.wire.telemetry.server import Readiness

log = logging.getLogger(__name__)

INGEST = "events from the POPs"
"""Name of the task."""
ASK_S = 2.0
"""How long database and bus may take before they count as away."""
AWAY = (SQLAlchemyError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Watched:
    """The parts of a centre that are looked at. ``more``: whoever has metrics of an own."""

    database: Database
    bus: Bus
    ingest: Ingest
    presence: PresenceBoard
    tasks: ControlLoop
    gate: Gate
    http: HttpCounts
    lag: LoopLag
    log_counts: LogCounts
    more: Iterable[Callable[[Page], None]] = field(default_factory=list)


class CentreWatch:
    def __init__(self, watched: Watched) -> None:
        self._of = watched

    async def ready(self) -> Readiness:
        """Whether this centre does all of its work now."""
        of, database, migrations = self._of, None, None
        try:
            async with asyncio.timeout(ASK_S):
                if await is_behind(of.database.engine):
                    migrations = "are not at the head"
        except AWAY:
            database, migrations = "cannot be reached", "cannot be looked at"
        running = of.tasks.is_running(INGEST) and of.ingest.meter.stuck is None
        return {
            "database": database,
            "migrations": migrations,
            "bus": None if of.bus.connected else "is not connected",
            "ingest": None if running else of.ingest.meter.stuck or "does not run",
        }

    async def page(self) -> Page:
        page, of = Page(), self._of
        page.process("callplane_centre", of.lag, of.log_counts)
        self._http(page)
        for name, state in sorted(of.tasks.states.items()):
            about = "Times that a task of the centre failed and was started again."
            page.counter("callplane_task_restarts", about, state.restarts, task=name)
        page.counters("callplane_login_failures", "Logins and tokens that were refused.", "what", of.gate.failures)
        self._pool(page)
        await self._ingest(page)
        await self._stored(page)
        for add in of.more:
            add(page)
        return page

    def _http(self, page: Page) -> None:
        for (method, route, status), count in sorted(self._of.http.requests.items()):
            about = "Requests to the API, by the template of their path."
            page.counter("callplane_http_requests", about, count, method=method, route=route, status=str(status))
        for (method, route), seen in sorted(self._of.http.seconds.items()):
            about = "Until the answer; streams left out."
            page.histogram("callplane_http_request_seconds", about, seen, method=method, route=route)

    def _pool(self, page: Page) -> None:
        pool = self._of.database.engine.pool
        if isinstance(pool, QueuePool):
            page.gauge("callplane_database_connections_used", "Taken out of the pool.", pool.checkedout())
            page.gauge("callplane_database_connections_idle", "In the pool.", pool.checkedin())

    async def _ingest(self, page: Page) -> None:
        meter = self._of.ingest.meter
        page.gauge("callplane_bus_up", "1: connected to the bus.", self._of.bus.connected)
        page.gauge("callplane_ingest_up", "1: events go into the database.", meter.stuck is None)
        page.counters("callplane_ingest_events", "Events stored, each once.", "pop", meter.events)
        page.counter("callplane_ingest_rejected_batches", "Set aside: they could not be read.", meter.rejected)
        page.histogram("callplane_ingest_transaction_seconds", "A transaction of events.", meter.transactions)
        for pop, lag_s in sorted(meter.lag_s.items()):
            about = "From event to commit, of the newest event that was stored last."
            page.gauge("callplane_ingest_lag_seconds", about, lag_s, pop=pop)
        try:
            async with asyncio.timeout(ASK_S):
                waiting = await self._of.bus.batches_waiting()
        except (BusDown, TimeoutError):
            log.debug("the bus could not be asked for what waits")
        else:
            page.gauge("callplane_ingest_waiting_batches", "On the bus, not in the database.", waiting)

    async def _stored(self, page: Page) -> None:
        """What the database knows."""
        of = self._of
        try:
            async with asyncio.timeout(ASK_S), of.database.read() as session:
                outbox = await session.scalar(select(func.count()).select_from(OutboxRow)) or 0
                rows = list(await session.scalars(select(PopRow).order_by(PopRow.pop_id)))
                behind = await of.presence.seconds_behind(session, rows)
        except AWAY as error:
            log.warning("the metrics lack what the database knows: %s", type(error).__name__)
            page.gauge("callplane_database_up", "1: it answers.", 0)
            return
        page.gauge("callplane_database_up", "1: it answers.", 1)
        page.gauge("callplane_config_outbox_rows", "Changes that are not on the bus yet.", outbox)
        for row in rows:
            seen, pop = of.presence.of(row), row.pop_id
            page.gauge("callplane_pop_connected", "1: its heartbeats come.", seen.connected, pop=pop)
            if pop in behind:
                about = "For how long what it runs has not been the newest."
                page.gauge("callplane_pop_config_lag_seconds", about, behind[pop], pop=pop)
            if (beat := seen.heartbeat) is not None:
                up = seen.connected and beat.engine_up
                page.gauge("callplane_pop_media_server_up", "1: connected, by its last word.", up, pop=pop)
                if beat.carries_audio is not None:
                    about = "1: called by itself it carries audio, by its last word."
                    page.gauge("callplane_pop_carries_audio", about, up and beat.carries_audio, pop=pop)
                if (ahead_s := seen.clock_ahead_s) is not None:
                    about = "Its host's clock, by its last word; negative: behind."
                    page.gauge("callplane_pop_clock_ahead_seconds", about, ahead_s, pop=pop)
                live = beat.live_calls if seen.connected else 0
                page.gauge("callplane_pop_calls_live", "Calls under way, by its last word.", live, pop=pop)
                about = "Events it has not sent, by its last word."
                page.gauge("callplane_pop_outbox_events", about, beat.unsent_events, pop=pop)
                about = "Entries it could not apply, by its last word."
                page.gauge("callplane_pop_config_errors", about, len(beat.config_errors), pop=pop)
                about = "Agents' accounts that its media server does not have yet, by its last word."
                page.gauge("callplane_pop_phones_pending", about, beat.phones_pending, pop=pop)
