"""``make bench-failover``: a POP is powered off; how long until the next call is answered by its backup.

Two POPs on hosts of their own, the second the backup of the first, which holds its number, flow, queue and agents
beforehand. A carrier has two routes to the number and takes the second when the first says nothing within
``--give-up``: that time is the carrier's, and is part of the figure. Calls come one after the other all the time. The
first POP's cable is pulled, so that nothing answers and nothing refuses either, its programs are killed; then it comes
back, and the calls do too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.machine import describe, summary_line
from tests.lab.errors import LabError, wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import ROOT, Lab
from tests.lab.more_pops import add_pop
from tests.lab.process import Process
from tests.lab.stack import DID, POP_ID, Stack

BACKUP = "de-fra-1"
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    seconds: float
    """From the power being off to the first answer by the backup."""
    seen_s: float
    """Until the centre showed the POP as away."""
    back_s: float
    """From its return to the first call that it answered again."""


def calls(callers: list[Process]) -> list[dict[str, Any]]:
    lines = [line for caller in callers for line in caller.log_text().splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def first(callers: list[Process], route: int, since: float) -> float:
    """When the first call that began since then was answered by that route."""
    found: list[float] = []

    def answered() -> bool:
        for caller in callers:
            caller.require_running()
        found[:] = [one["answered"] for one in calls(callers) if one["route"] == route and one["began"] >= since]
        return bool(found)

    wait_until(answered, DEADLINE_S, f"a call answered by route {route}", callers[0].log_text)
    return min(found)


async def one_round(stack: Stack, callers: list[Process]) -> Round:
    await asyncio.to_thread(first, callers, 0, time.time())
    stack.pop.unplug()
    off = time.time()
    stack.controller.kill()
    stack.server.kill()
    answered = await asyncio.to_thread(first, callers, 1, off)
    await stack.api.until(f"pops/{POP_ID}", lambda pop: pop["state"] == "away", DEADLINE_S)
    seen = time.time()
    stack.pop.plug_in()
    await asyncio.to_thread(stack.server.restart)
    stack.restart_controller()
    back = time.time()
    again = await asyncio.to_thread(first, callers, 0, back)
    await stack.synced(60, news=True)
    return Round(answered - off, seen - off, again - back)


async def run(lab: Lab, rounds: int, give_up_s: float) -> list[Round]:
    async with Stack.start(lab, flow=QUEUE_FLOW, queue={"max_waiting": 100}) as stack:
        backup = await add_pop(stack, BACKUP, backs_up=POP_ID)
        try:
            routes = [stack.pop.address, backup.host.address]
            program = [sys.executable, "-m", "tests.lab.two_routes"]
            command = [*program, stack.carrier.address, DID, str(give_up_s), *routes]
            callers = [stack.carrier.spawn(command, name="two-routes", cwd=ROOT)]
            measured = [await one_round(stack, callers) for _ in range(rounds)]
            entries = await stack.api.items("audit?action=pop_state")
            if len([entry for entry in entries if entry["outcome"] == "away"]) != rounds:
                raise LabError(f"the audit log does not tell of {rounds} failures: {entries}")
            for caller in callers:
                caller.stop()
            # A call that the first POP had just taken is lost with it.
            if len(lost := [one for one in calls(callers) if one["answered"] is None]) > 2 * rounds:
                raise LabError(f"{len(lost)} calls were answered by nobody: {lost[:3]}")
        finally:
            backup.stop()
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 20), metavar="N")
    parser.add_argument("--give-up", type=float, default=1.0, metavar="S", help="the carrier's patience")
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    with Lab.start() as lab:
        measured = asyncio.run(run(lab, options.rounds, options.give_up))
    table = Table(title=f"seconds; the carrier tries its next route after {options.give_up:g}")
    for title in ("round", "next call answered elsewhere", "centre shows it", "back to the first, once it is"):
        table.add_column(title, justify="right")
    for number, one in enumerate(measured, 1):
        table.add_row(str(number), f"{one.seconds:.2f}", f"{one.seen_s:.2f}", f"{one.back_s:.2f}")
    console.print(table)
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("failover", seconds=statistics.median(one.seconds for one in measured)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
