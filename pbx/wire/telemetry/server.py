"""``/metrics``, ``/health`` and ``/ready`` on a port of their own, which nobody but the monitoring should reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from pbx.wire.telemetry.page import Page

log = logging.getLogger(__name__)

Readiness = Mapping[str, str | None]
"""Part -> what keeps it from being ready; None: nothing."""


def ready_answer(parts: Readiness) -> tuple[int, dict[str, object]]:
    """HTTP status and document."""
    missing = {part: reason for part, reason in parts.items() if reason is not None}
    told = {part: reason or "ok" for part, reason in parts.items()}
    return (503 if missing else 200), {"status": "not ready" if missing else "ready", "parts": told}


class WatchServer:
    """``page`` and ``ready`` are asked at each request. A program works without it: an address that cannot be had is
    an error in its log."""

    def __init__(
        self, host: str, port: int, page: Callable[[], Awaitable[Page]], ready: Callable[[], Awaitable[Readiness]]
    ) -> None:
        self._host, self._port = host, port
        self._page, self._ready = page, ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._readiness)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            log.error("no metrics: metrics_host and metrics_port cannot be had: %s", error.strerror)
            await runner.cleanup()
            return
        self._runner = runner
        log.info("metrics at http://%s:%d/metrics", self._host, self._port)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        page = await self._page()
        # Some ten milliseconds for a hundred queues: on a thread, others go on meanwhile.
        body, content_type = await asyncio.to_thread(page.encoded, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _request: web.Request) -> web.Response:
        """The process answers, and so its event loop turns."""
        return web.json_response({"status": "ok"})

    async def _readiness(self, _request: web.Request) -> web.Response:
        status, document = ready_answer(await self._ready())
        return web.json_response(document, status=status)
