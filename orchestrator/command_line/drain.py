"""``callplane drain`` and ``undrain``: take a POP out of service without cutting a call."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.command_line.client import Client, path_of
from orchestrator.command_line.failures import OK, About, Failure
from orchestrator.command_line.output import Output
from orchestrator.command_line.program import common, guarded, run, seconds, with_client

WAIT_S = 1800.0
EVERY_S = 1.0


def drain(argv: Sequence[str]) -> int:
    return run(execute("drain", argv))


def undrain(argv: Sequence[str]) -> int:
    return run(execute("undrain", argv))


async def execute(name: str, argv: Sequence[str]) -> int:
    about = {
        "drain": "A POP takes no new calls; wait until the live ones are over. 1: some are still live at the limit.",
        "undrain": "A POP takes calls again.",
    }
    parser = argparse.ArgumentParser(prog=f"callplane {name}", description=about[name], parents=[common()])
    parser.add_argument("pop_id", metavar="POP")
    if name == "drain":
        parser.add_argument("--wait", type=seconds, default=WAIT_S, metavar="S", help="at most; default: %(default)g")
        parser.add_argument("--no-wait", action="store_true", help="only begin")
    options = parser.parse_args(argv)

    async def work(client: Client, out: Output) -> int:
        path = path_of("/pops/{pop_id}", {"pop_id": options.pop_id})
        answer = await client.ask("POST", f"{path}/{name}")
        if name == "drain" and not options.no_wait:
            answer = await _until_empty(client, out, path, options.wait)
        if out.as_json:
            out.raw(answer.content)
        else:
            out.say(_state(answer.json))
        if name == "drain" and not options.no_wait and answer.json["drain"] != "drained":
            advice = f"'callplane drain {options.pop_id}' waits on, 'callplane undrain {options.pop_id}' ends it"
            raise Failure(f"{options.pop_id} is not empty after {options.wait:g} s and goes on draining", advice)
        return OK

    return await guarded(name, with_client(options, work, About("pops")))


def _state(pop: dict[str, Any]) -> str:
    live = pop["live_calls"]
    calls = "unknown how many live calls" if live is None else f"{live} live call{'' if live == 1 else 's'}"
    words = {None: "takes calls", "asked": "has not been heard yet", "draining": "is draining", "drained": "is drained"}
    away = "" if pop["connected"] else ", not connected"
    return f"{pop['pop_id']} {words[pop['drain']]}: {calls}{away}"


async def _until_empty(client: Client, out: Output, path: str, limit_s: float) -> Any:
    """The POP as it is when nothing is left, somebody ended the drain, or the time is over."""
    ends = time.monotonic() + limit_s
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls over"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    said = None
    with bar:
        task = bar.add_task("draining", total=None)
        most = 0
        while True:
            answer = await client.ask("GET", path)
            pop = answer.json
            most = max(most, pop["live_calls"] or 0)
            over = most - (pop["live_calls"] or 0)
            bar.update(task, description=_state(pop), total=most or None, completed=over)
            if bar.disable and not out.as_json and said != _state(pop):
                said = _state(pop)
                out.note(said)
            if pop["drain"] in (None, "drained") or time.monotonic() >= ends:
                return answer
            await asyncio.sleep(min(EVERY_S, max(0.0, ends - time.monotonic())))
