"""``callplane pop run``: the controller of one POP. All settings come from the environment (CALLPLANE_POP_*)."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Sequence

import uvloop
from pydantic import ValidationError

from pbx import bootstrap, huge_pages
from pbx.config import PopSettings
from pbx.domain.errors import CallplaneError
from pbx.recording import keeper
from pbx.wire.telemetry import call_place, logs

log = logging.getLogger("pbx")


async def _run(settings: PopSettings) -> None:
    traces = bootstrap.build_traces(settings)
    log_counts = logs.set_up(
        settings.log_level, settings.log_format, {"pop_id": settings.id}, call_place.ids_of(traces)
    )
    logging.getLogger("panoramisk").setLevel(logging.INFO)  # its DEBUG quotes every message, phones' addresses included
    log.info("POP %s starts", settings.id)
    gc.disable()  # all that is built now stays: looking at it again and again is a quarter of taking up live calls
    site = bootstrap.build(settings, log_counts, traces)
    pop = site.pop
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    site.lag.start()
    if site.watch is not None:
        await site.watch.start()
    await pop.start(site.link)
    # What was built until now lives as long as the process: the collector need not look at it at every turn.
    gc.collect()
    gc.freeze()
    gc.enable()
    log.info("POP %s waits for its media server on %s:%d", settings.id, settings.ari_host, settings.ari_port)
    huge = loop.create_task(huge_pages.keep(), name="huge-pages")
    keeping = loop.create_task(keeper.keep(pop.vault, site.link), name="vault-keeper")
    room = loop.create_task(pop.disk_room.watch(), name="disk-room")
    hears = loop.create_task(pop.self_calls.run(lambda: pop.engine_is_up), name="self-calls")
    alone = loop.create_task(pop.served_alone.watch(), name="served-alone")
    await stop.wait()
    alone.cancel()
    hears.cancel()
    room.cancel()
    huge.cancel()
    keeping.cancel()
    log.info("POP %s stops; bridged calls go on", settings.id)
    if site.watch is not None:
        await site.watch.stop()
    site.lag.stop()
    await pop.stop()
    if traces is not None:
        traces.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="callplane pop", description=__doc__)
    parser.add_argument("action", choices=["run"])
    parser.parse_args(argv)
    try:
        settings = PopSettings()  # type: ignore[call-arg]  # from the environment
        uvloop.run(_run(settings))
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"callplane pop: CALLPLANE_POP_{name}: {problem['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    except (CallplaneError, OSError, ValueError) as error:
        print(f"callplane pop: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
