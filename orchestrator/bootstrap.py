"""The centre's composition root: the only place where its parts are made and joined."""

from __future__ import annotations

import logging
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.adapters.bus.accounts import Listen, Login
from orchestrator.adapters.bus.client import Address, Bus
from orchestrator.adapters.bus.server import EmbeddedServer
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from orchestrator.adapters.db.models import PopRow
from orchestrator.adapters.webhook_target import Targets
from orchestrator.api import watching
from orchestrator.api.app import make_app
from orchestrator.api.watching import HttpCounts
from orchestrator.api.webhook_payloads import payload
from orchestrator.config import CentreSettings
from orchestrator.control_loop import ControlLoop
from orchestrator.services import erasures, idempotency, prompts, secret_box, tokens, webhook_sender, webhooks
from orchestrator.services.context import Services
from orchestrator.services.erased_numbers import ErasedNumbers
from orchestrator.services.erasing import Eraser
from orchestrator.services.feed import EventFeed
from orchestrator.services.flows import PromptCatalogue
from orchestrator.services.ingest import Ingest
from orchestrator.services.known_callers import KnownCallers
from orchestrator.services.minors import MinorsKeeper
from orchestrator.services.pop_names import PopNames
from orchestrator.services.presence import PresenceBoard
from orchestrator.services.retention import Retention
from orchestrator.services.rights_keys import RightsKeys
from orchestrator.services.sync import ConfigPublisher
from orchestrator.services.throttle import Gate
from orchestrator.services.unit_of_work import UnitsOfWork
from orchestrator.services.webhook_queue import WebhookQueue
from orchestrator.services.webhook_sender import WebhookSender
from orchestrator.services.write_watch import WriteWatch
from orchestrator.watch import INGEST, CentreWatch, Watched
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from pbx.wire.telemetry.server import WatchServer

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

if TYPE_CHECKING:
    from orchestrator.adapters.oidc import Provider

log = logging.getLogger(__name__)

LONGEST_LINE = 16 * 1024
"""Bytes of a request's first line: every query that the API allows, percent-encoded, has room."""


def packaged_prompts() -> Mapping[str, frozenset[str]]:
    """The catalogue of ``dialplans``; read when a flow is checked, so that new prompts count without a restart."""
    from dialplans.prompts import catalogue

    return catalogue()


def say(text: str) -> None:
    """To the operator's terminal: things that are shown once and never logged."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def build_traces(settings: CentreSettings) -> Traces | None:
    """Nothing of it is even imported where nobody wants traces."""
    if not settings.traces_url:
        return None
    from pbx.wire.telemetry.traces import Traces

    return Traces(settings.traces_url, "callplane-centre", settings.traces_ratio)


class DatabaseUnusable(Exception):
    """It cannot be reached, or its schema not be brought up to date."""


async def open_database(settings: CentreSettings) -> Database:
    """The database with the newest schema; the state directory and its files are readable by us only."""
    _private_dir(settings.state_dir)
    database = Database(settings.sqlalchemy_url())
    try:
        await upgrade(database.engine)
    except (DBAPIError, OSError) as error:
        await database.close()
        raise DatabaseUnusable(f"the database cannot be used: {getattr(error, 'orig', error)}") from error
    _private_files(settings.state_dir)
    database.hooks = WriteWatch()
    return database


def ingest_alone(settings: CentreSettings, database: Database) -> Ingest:
    """As a centre stores events, without one: what it begins (webhooks, erasures) a centre goes on with."""
    box = secret_box.load(settings.secrets_key or settings.state_dir / "secrets.key")
    queue = WebhookQueue(database, payload, lambda: None)
    return Ingest(database, lambda: None, queue, erased=ErasedNumbers(database, RightsKeys(box)))


class Centre:
    """``start`` returns when the API answers; ``stop`` undoes it in reverse order."""

    def __init__(
        self,
        settings: CentreSettings,
        prompts: PromptCatalogue = packaged_prompts,
        tell: Callable[[str], None] = say,
        traces: Traces | None = None,
        log_counts: LogCounts | None = None,
    ) -> None:
        self.settings = settings
        self._traces, self._log_counts = traces, log_counts or LogCounts()
        self._lag = LoopLag()
        self._watch: WatchServer | None = None
        self._prompts = prompts
        self._tell = tell
        self._loop = ControlLoop()
        self._runner: web.AppRunner | None = None
        self._presence: PresenceBoard | None = None
        self.database: Database | None = None
        self.server: EmbeddedServer | None = None
        self.port = 0
        """Of the API, once it is listening."""

    async def start(self) -> None:
        database = self.database = await open_database(self.settings)
        async with database.write() as session:
            token = await tokens.first(session, time.time())
        if token is not None:
            self._tell(f"admin token (shown only this once): {token}")
        address = await self._start_server(database)
        presence = self._presence = PresenceBoard(database)
        bus = Bus(
            address,
            presence.heartbeat,
            lambda asked: prompts.chunk(database, asked),
            lambda pop_id, asked: erasures.page(database, pop_id, asked),
            self._traces,
        )
        units = UnitsOfWork(database, lambda: publisher.wake())
        publisher = ConfigPublisher(units, bus)
        feed = EventFeed(database)
        self._loop.keep("bus", bus.run)
        self._loop.keep("configuration to the POPs", publisher.run)
        box = secret_box.load(self.settings.secrets_key or self.settings.state_dir / "secrets.key")
        networks = tuple(self.settings.webhook_networks)
        sender = WebhookSender(database, box, Targets(networks, webhook_sender.AT_ONCE, webhook_sender.DEADLINE_S))
        queue = WebhookQueue(database, payload, sender.wake)
        self._loop.keep("webhooks", sender.run)
        rights = RightsKeys(box)
        eraser = Eraser(database, bus, rights)
        erased = ErasedNumbers(database, rights)
        names = PopNames(bus, rights)
        minors = MinorsKeeper(database, bus, rights, names)
        retention = Retention(database, bus, rights, names, erases=self.settings.retention == "erase")
        ingest = Ingest(database, feed.wake, queue, self._traces, erased, eraser.wake)
        self._loop.keep(INGEST, lambda: ingest.run(bus))
        self._loop.keep("erasures", eraser.run)
        self._loop.keep("retention", retention.run)
        self._loop.keep("recordings of minors", minors.run)
        self._loop.keep("presence", presence.run)
        self._loop.keep("old idempotency keys", lambda: idempotency.purge(database))
        delivered_s, dead_s = 86_400 * self.settings.webhook_delivered_days, 86_400 * self.settings.webhook_dead_days
        self._loop.keep("old deliveries to webhooks", lambda: webhooks.purge(database, delivered_s, dead_s))
        gate, http = Gate(), HttpCounts()
        watch = CentreWatch(
            Watched(
                database, bus, ingest, presence, self._loop, gate, http, self._lag, self._log_counts, [retention.page]
            )
        )
        services = Services(
            database=database,
            units=units,
            bus=bus,
            feed=feed,
            presence=presence,
            prompts=self._prompts,
            secrets=box,
            rights=rights,
            names=names,
            eraser=eraser,
            retention=retention,
            minors=minors,
            callers=KnownCallers(database),
            webhooks=sender,
            webhook_networks=networks,
            logins_changed=self._set_logins,
            ready=watch.ready,
            gate=gate,
            session_s=self.settings.session_s,
            provider=_provider(self.settings),
            proxies=frozenset(map(str, self.settings.trusted_proxies)),
        )
        self._lag.start()
        if self.settings.metrics_port is not None:
            self._watch = WatchServer(self.settings.metrics_host, self.settings.metrics_port, watch.page, watch.ready)
            await self._watch.start()
        await self._listen(make_app(services, watching.middleware(http, self._traces)))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._watch is not None:
            await self._watch.stop()
        self._lag.stop()
        await self._loop.stop()
        if self._presence is not None:
            try:
                await self._presence.save()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the last heartbeats were not kept: %s", type(error).__name__)
        if self.server is not None:
            await self.server.stop()
        if self.database is not None:
            await self.database.close()

    async def _start_server(self, database: Database) -> Address:
        url = self.settings.bus_url.get_secret_value()
        if url:
            return Address(url, replicas=self.settings.bus_replicas)
        listen = Listen(
            self.settings.bus_host, self.settings.bus_port, self.settings.bus_tls_cert, self.settings.bus_tls_key
        )
        self.server = EmbeddedServer(self.settings.state_dir / "bus", listen)
        await self.server.start(await _logins(database))
        self._loop.keep("nats-server", self.server.supervise)
        return Address(self.server.url, *self.server.credentials())

    async def _set_logins(self) -> None:
        if self.server is not None and self.database is not None:
            await self.server.set_logins(await _logins(self.database))

    async def _listen(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0, max_line_size=LONGEST_LINE)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self.settings.api_host, self.settings.api_port, ssl_context=_tls(self.settings)
        )
        await site.start()
        self.port = self._runner.addresses[0][1]
        (self.settings.state_dir / "centre.port").write_text(f"{self.port}\n")
        scheme = "https" if self.settings.tls_cert is not None else "http"
        if scheme == "http" and self.settings.allow_plain_http:
            log.warning("the API speaks plain HTTP: tokens cross the network in clear text")
        log.info("API at %s://%s:%d/api/v1", scheme, self.settings.api_host, self.port)


def _provider(settings: CentreSettings) -> Provider | None:
    if not settings.oidc_issuer:
        return None
    from orchestrator.adapters.oidc import Provider

    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.provider_secret(),
        settings.oidc_rules,
        settings.oidc_scopes,
        settings.public_url,
    )


async def _logins(database: Database) -> list[Login]:
    async with database.read() as session:
        rows = await session.execute(select(PopRow.pop_id, PopRow.nkey).order_by(PopRow.pop_id))
        return [Login(pop_id, nkey) for pop_id, nkey in rows]


def _tls(settings: CentreSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


def _private_dir(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)


def _private_files(path: Path) -> None:
    for file in path.glob("centre.db*"):
        file.chmod(0o600)
