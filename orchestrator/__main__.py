"""``callplane centre``: run the centre, make tokens, make projections again."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import ValidationError

from orchestrator.config import CentreSettings


def main(argv: list[str] | None = None) -> int:
    """0: done; 1: failed, with one line that says why; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="callplane centre", description="The centre. Settings: CALLPLANE_CENTRE_*.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="run until SIGTERM or SIGINT")
    verbs.add_parser("rebuild", help="make records and reports again from the events; a centre may be running")
    token = verbs.add_parser("token", help="bearer tokens").add_subparsers(dest="token_verb", required=True)
    create = token.add_parser("create", help="make a token and print it, this once")
    create.add_argument("name", help="whose it is")
    options = parser.parse_args(argv)
    try:
        settings = CentreSettings()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            name = "_".join(("CALLPLANE_CENTRE", *(str(part).upper() for part in item["loc"])))
            sys.stderr.write(f"{name if item['loc'] else 'settings'}: {item['msg']}\n")
        return 1
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if options.verb == "token":
        return _run(_create_token(settings, options.name))
    if options.verb == "rebuild":
        return _run(_rebuild(settings))
    return _run(_serve(settings))


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


async def _serve(settings: CentreSettings) -> int:
    from orchestrator.bootstrap import Centre

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    centre = Centre(settings)
    try:
        await centre.start()
        await stop.wait()
    finally:
        await centre.stop()
    return 0


async def _create_token(settings: CentreSettings, name: str) -> int:
    from orchestrator.bootstrap import open_database
    from orchestrator.services import tokens

    database = await open_database(settings)
    try:
        async with database.write() as session:
            _, token = await tokens.create(session, name, time.time())
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


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
