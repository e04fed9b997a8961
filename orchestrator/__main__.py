"""``callplane centre``: run the centre, make tokens, make projections again."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.config import CentreSettings, load_settings
from orchestrator.domain.access_resources import GrantSpec
from orchestrator.domain.grants import EVERYTHING, Caller, Grant, Role, calling
from orchestrator.domain.problems import Problem
from pbx.wire.telemetry import call_place, logs

if TYPE_CHECKING:
    from pbx.wire.telemetry.logs import LogCounts
    from pbx.wire.telemetry.traces import Traces


def main(argv: list[str] | None = None) -> int:
    """0: done; 1: failed, with one line that says why; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="callplane centre", description="The centre. Settings: CALLPLANE_CENTRE_*.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="run until SIGTERM or SIGINT")
    verbs.add_parser("rebuild", help="make records and reports again from the events; a centre may be running")
    rejected = verbs.add_parser("rejected", help="batches of events that were set aside; a centre may be running")
    rejected.add_argument(
        "--store", action="store_true", help="try each again; those that are stored are gone from here"
    )
    token = verbs.add_parser("token", help="bearer tokens").add_subparsers(dest="token_verb", required=True)
    create = token.add_parser("create", help="make a token and print it, this once")
    create.add_argument("name", help="whose it is")
    create.add_argument("--role", choices=[str(role) for role in Role], default="admin", help="admin if not given")
    create.add_argument("--unit", action="append", metavar="ID", help="only this business unit; may be given again")
    create.add_argument("--region", action="append", metavar="ID", help="only this region; may be given again")
    create.add_argument("--agent", metavar="ID", help="of role agent: whose calls and status it is for")
    create.add_argument("--days", type=float, metavar="N", help="how long it is good for; for ever if not given")
    options = parser.parse_args(argv)
    settings = load_settings()
    if settings is None:
        return 1
    traces = _traces(settings) if options.verb == "run" else None
    log_counts = logs.set_up(settings.log_level, settings.log_format, {}, call_place.ids_of(traces))
    for library in ("alembic", "aiosqlite"):  # the latter's DEBUG quotes every statement with its values
        logging.getLogger(library).setLevel(logging.WARNING)
    if options.verb == "token":
        try:
            grant = GrantSpec(role=options.role, units=options.unit, regions=options.region, agent_id=options.agent)
        except ValidationError as error:
            parser.error("; ".join(str(item["msg"]) for item in error.errors()))
        return _run(_create_token(settings, options.name, grant.grant(), options.days))
    if options.verb == "rebuild":
        return _run(_rebuild(settings))
    if options.verb == "rejected":
        return _run(_rejected(settings, store=options.store))
    return _run(_serve(settings, traces, log_counts))


def _run(work: Coroutine[Any, Any, int]) -> int:
    """What keeps the centre from working is one line, not a trace."""
    from orchestrator.adapters.bus.server import ServerError
    from orchestrator.bootstrap import DatabaseUnusable

    try:
        return _loop()(work)
    except (DatabaseUnusable, ServerError, OSError) as error:
        sys.stderr.write(f"callplane centre: {error}\n")
    return 1


def _loop() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop
    except ImportError:  # not made for Windows; asyncio's own loop does as well
        return asyncio.run
    return uvloop.run


GARBAGE_AFTER = 20_000
"""New objects that make Python look for cycles; a page of calls makes thousands that need no looking for."""


def _traces(settings: CentreSettings) -> Traces | None:
    from orchestrator.bootstrap import build_traces

    return build_traces(settings)


async def _serve(settings: CentreSettings, traces: Traces | None, log_counts: LogCounts) -> int:
    from orchestrator.bootstrap import Centre

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    centre = Centre(settings, traces=traces, log_counts=log_counts)
    try:
        await centre.start()
        # What is there now stays: looking through it again and again would only hold up requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER, 20, 20)
        await stop.wait()
    finally:
        await centre.stop()
        if traces is not None:
            traces.close()
    return 0


async def _create_token(settings: CentreSettings, name: str, grant: Grant, days: float | None) -> int:
    from orchestrator.bootstrap import open_database
    from orchestrator.services import tokens

    database, now = await open_database(settings), time.time()
    caller = Caller("", "command line", EVERYTHING, action="token_create", recorded=True)
    grants = None if grant == EVERYTHING[0] else [grant]
    expires_at = None if days is None else now + days * 86_400
    try:
        with calling(caller):
            async with database.write() as session:
                _, token = await tokens.create(session, name, now, grants, expires_at)
    except Problem as problem:
        sys.stderr.write(f"callplane centre: {problem.detail}\n")
        return 1
    finally:
        await database.close()
    sys.stdout.write(token + "\n")
    return 0


async def _rebuild(settings: CentreSettings) -> int:
    from orchestrator.bootstrap import open_database
    from orchestrator.services.rebuild import rebuild

    database = await open_database(settings)
    try:
        await rebuild(database, _say)
    finally:
        await database.close()
    return 0


async def _rejected(settings: CentreSettings, *, store: bool) -> int:
    """1: with ``store``, some are left."""
    from orchestrator.bootstrap import ingest_alone, open_database
    from orchestrator.services import rejected

    database = await open_database(settings)
    try:
        ingest = ingest_alone(settings, database)
        if not store:
            for one in await rejected.batches(database, ingest):
                held = "unreadable" if one.events is None else f"{one.events} events of {len(one.calls)} calls"
                at = datetime.fromtimestamp(one.received_at, UTC).isoformat(timespec="seconds")
                sys.stdout.write(f"{one.batch_id}\t{at}\t{one.pop_id}\t{held}\t{one.reason}\n")
            return 0
        done = await rejected.store(database, ingest, _say)
    finally:
        await database.close()
    _say(f"{done.batches} batches stored, {done.events} events new; {done.left} left")
    return 1 if done.left else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
