"""``make bench-readopt``: 500 live calls on a real Asterisk are taken up by a controller that was killed.

400 callers wait with music, 100 talk to agents. The controller is killed and started again, some rounds. The time runs
from the process being ready (its code is loaded, it looks at its journal) until the journal has the last call as taken
up; what the operating system and Python need to start the process is shown apart, and belongs to no call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from tests.bench.machine import describe, summary_line
from tests.lab.errors import LabError, wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, POP_ID, Stack

RATE = 25
DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds since the process was started, but for ``adopted_s``."""

    ready_s: float
    rebuilt_s: float
    connected_s: float
    adopted_s: float
    """Since it was ready."""


def count(stack: Stack, kind: str) -> int:
    path = stack.pop.state_dir / "controller" / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        number: int = db.execute("SELECT count(*) FROM events WHERE kind = ?", (kind,)).fetchone()[0]
    return number


def said_at(stack: Stack, text: str) -> float:
    """When the controller logged this last, in seconds since the epoch; its log goes on over restarts."""
    line = next(line for line in reversed(stack.controller.log_text().splitlines()) if text in line)
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def one_round(stack: Stack, calls: int) -> Round:
    before = count(stack, "CallReadopted")
    stack.controller.kill()
    began = time.time()
    stack.restart_controller()

    def adopted() -> bool:
        stack.controller.require_running()
        return count(stack, "CallReadopted") >= before + calls

    wait_until(adopted, DEADLINE_S, f"{calls} calls taken up", stack.logs)
    done = time.time()
    if (found := count(stack, "CallReadopted") - before) != calls:
        raise LabError(f"{found} calls were taken up instead of {calls}")
    ready = said_at(stack, f"POP {POP_ID} starts")
    return Round(
        ready - began, said_at(stack, "rebuilt from") - began, said_at(stack, "server is up") - began, done - ready
    )


async def run(lab: Lab, calls: int, talking: int, rounds: int) -> list[Round]:
    queue = {"wrap_up_s": 0, "ring_timeout_s": 30, "announce_every_s": 600, "max_waiting": calls + 10}
    async with Stack.start(lab, flow=QUEUE_FLOW, queue=queue) as stack, contextlib.AsyncExitStack() as people:
        await people.enter_async_context(stack.sipp_agents(talking, ring_ms=100, talk_ms=None))
        numbers = [(f"+4917{number:08}", DID) for number in range(calls)]
        callers = Sipp.callers(stack.carrier, stack.pop.address, numbers, rate=RATE, at_once=calls, hold_ms=3_600_000)
        people.callback(callers.stop)
        deadline = calls / RATE + DEADLINE_S
        await asyncio.to_thread(wait_until, lambda: count(stack, "QueueJoined") == calls, deadline, "all callers")
        await asyncio.to_thread(wait_until, lambda: count(stack, "TalkStarted") == talking, deadline, "the agents")
        measured = []
        for _ in range(rounds):
            await asyncio.sleep(2)
            measured.append(await asyncio.to_thread(one_round, stack, calls))
        if ended := count(stack, "CallEnded"):
            raise LabError(f"{ended} calls ended meanwhile\n{stack.logs()}")
        if count(stack, "OfferMade") != talking or count(stack, "LegOffered") != calls:
            raise LabError("somebody was rung or taken twice")
        return measured


def show(console: Console, calls: int, measured: list[Round]) -> str:
    table = Table(title=f"{calls} live calls, seconds")
    names = {
        "ready_s": "process ready",
        "rebuilt_s": "rebuilt from the journal",
        "connected_s": "media server there",
        "adopted_s": "ready to all taken up",
    }
    table.add_column("round", justify="right")
    for title in names.values():
        table.add_column(title, justify="right")
    for number, one in enumerate(measured, 1):
        table.add_row(str(number), *(f"{getattr(one, name):.3f}" for name in names))
    console.print(table)
    return summary_line("readopt", calls=calls, seconds=statistics.median(one.adopted_s for one in measured))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, choices=range(1, 901), metavar="N")
    parser.add_argument("--talking", type=int, default=100, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 10), metavar="N")
    parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk, 22.5 or newer")
    options = parser.parse_args()
    console = Console(width=max(110, Console().width))
    console.print(f"machine: {describe()}")
    with Lab.start(asterisk=options.asterisk) as lab:
        measured = asyncio.run(run(lab, options.calls, min(options.talking, options.calls), options.rounds))
    line = show(console, options.calls, measured)
    console.print(f"machine: {describe()}")
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
