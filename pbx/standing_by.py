"""The two phases of a controller that is one of a pair: it follows the other host until this one has the floating
address; then it works, and is gone at once when the address is."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from pbx import bootstrap
from pbx.adapters.pair.address import Watch, held
from pbx.config import PopSettings
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from pbx.wire.telemetry.page import Page
from pbx.wire.telemetry.server import Readiness, WatchServer

log = logging.getLogger(__name__)

FENCED = 75
"""Exit status of a controller that has lost the address: started again it follows (EX_TEMPFAIL of sysexits.h)."""


async def until_active(settings: PopSettings, stop: asyncio.Event, log_counts: LogCounts) -> bool:
    """Follow the other host while this one has not the address. False: it is to stop. Raises BadValue, OSError."""
    if held(settings.pair_address):
        return True
    standby, lag = bootstrap.build_standby(settings), LoopLag()

    async def page() -> Page:
        shown = Page(pop=settings.id)
        shown.process("callplane_pop", lag, log_counts)
        shown.gauge("callplane_standby_active", "1: this host of the pair works.", 0)
        about = "1: the standby has all that this POP has written."
        shown.gauge("callplane_standby_in_step", about, standby.why is None)
        return shown

    async def ready() -> Readiness:
        return {"standby": standby.why}

    watch = None
    if settings.metrics_port is not None:
        watch = WatchServer(settings.metrics_host, settings.metrics_port, page, ready)
        await watch.start()
    lag.start()
    await standby.start()
    async with Watch(settings.pair_address) as address:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(address.until(is_held=True))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    await standby.stop()
    lag.stop()
    if watch is not None:
        await watch.stop()
    if stop.is_set():
        return False
    log.warning("this host has the floating address, and takes over: %s", standby.why or "it has all that was written")
    return True


def fence(settings: PopSettings) -> asyncio.Task[None]:
    """End this process in the moment in which the address is lost: nothing more is written, sent or asked of the media
    server, for the other host does that now. The journal is left as a kill leaves it, which it survives."""

    async def guard() -> None:
        async with Watch(settings.pair_address) as address:
            await address.until(is_held=False)
        log.error("ALARM this host has lost the floating address: the other one works now, and this one follows it")
        sys.stderr.flush()
        os._exit(FENCED)

    return asyncio.get_running_loop().create_task(guard(), name="fence")
