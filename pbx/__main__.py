"""``callplane pop run``: the controller of one POP. All settings come from the environment (CALLPLANE_POP_*).

``callplane pop send-again --journal FILE --since TIME``, while it is stopped: the controller sends the events of its
journal from then on again. For a centre whose database came back from a backup of that time; it passes over what it
has.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import uvloop
from pydantic import ValidationError

from pbx import bootstrap, huge_pages, standing_by
from pbx.adapters.journal.again import send_again
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.pair_address and not await standing_by.until_active(settings, stop, log_counts):
        return
    log.info("POP %s starts", settings.id)
    gc.disable()  # all that is built now stays: looking at it again and again is a quarter of taking up live calls
    site = bootstrap.build(settings, log_counts, traces)
    pop = site.pop
    fence = standing_by.fence(settings) if settings.pair_address else None
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
    standby = None if site.standby is None else loop.create_task(site.standby.run(), name="to-standby")
    await stop.wait()
    if standby is not None:
        standby.cancel()
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
    if fence is not None:
        fence.cancel()
    if traces is not None:
        traces.close()


def _time(text: str) -> float:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError("needs its time zone, such as Z at its end")
    return at.timestamp()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane pop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("run", help="run the controller")
    again = actions.add_parser("send-again", help="let a stopped controller send events again when it starts")
    again.add_argument("--journal", type=Path, required=True, help="the controller's journal.sqlite")
    again.add_argument("--since", type=_time, required=True, help="ISO 8601 with time zone: 2026-03-01T12:00:00Z")
    options = parser.parse_args(argv)
    try:
        if options.action == "send-again":
            count = send_again(options.journal, options.since)
            print(f"{count} events are sent again when the controller starts")  # noqa: T201
            return 0
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
