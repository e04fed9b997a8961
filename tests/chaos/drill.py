"""``callplane drill``: the main faults, one after the other, in a lab of this machine under calls (as root);
and a table of what came of each, for those who decide whether to trust a phone system, not for those who build it.

Its lab is its own: centre with PostgreSQL, bus, POP, carrier, agents. Nothing else is touched. The exit code is 1 when
a record is missing or doubled, an agent or a place was lost, or the like.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench.machine import describe
from tests.chaos import evidence
from tests.chaos.load import SHORT
from tests.chaos.report import Row, page
from tests.chaos.runner import Outcome, Run, started
from tests.lab.lab import Lab

RATE = 3.0
CUT_OFF = (38, 41)
"""Causes (Q.850) of calls that a media server lost."""
PLAN = {
    "controller killed": ("The program that decides about calls is killed", 1.0),
    "media server killed": ("The telephone server itself is killed", 1.0),
    "bus killed": ("The bus to the centre is killed", 1.0),
    "centre killed": ("The centre is killed", 3.0),
    "database killed": ("The database is killed", 3.0),
    "link to the centre cut": ("The line to the centre is cut", 3.0),
    "link cut one way": ("The line to the centre is cut in one direction", 3.0),
    "5 % of packets lost": ("One in twenty packets is lost", 4.0),
    "disk of recordings full": ("The disk of recordings is full", 3.0),
    "disk of the journal full": ("The disk of the calls' log is full", 3.0),
    "disk slow": ("The disk is slow", 3.0),
    "host powered off": ("The site's machine loses power", 1.0),
}


async def one(run: Run, fault: str, seconds: float) -> Row:
    path = run.stack.pop.state_dir / "controller" / "journal.sqlite"
    run.callers.come(RATE, 8.0 + seconds)
    live = sum(run.states.look().values())
    began = time.time()
    await run.strike(fault, seconds)
    struck = run.struck_at
    await run.stack.event("LegAnswered", deadline_s=30, after=evidence.journal(path)[-1]["seq"])
    events = [event for event in evidence.journal(path) if event["at"] >= began]
    ended = [e for e in events if e["kind"] == "CallEnded" and e["cause"] in CUT_OFF]
    answered = [e["at"] for e in events if e["kind"] == "FlowStarted" and e["at"] > struck]
    back_s = min((at - struck for at in answered), default=float("nan"))
    return Row(fault, PLAN[fault][0], live, len(ended), len(answered), round(back_s, 2))


async def drill(lab: Lab, outcome: Outcome, faults: Sequence[str], progress: Progress) -> list[Row]:
    task = progress.add_task("a site is started", total=len(faults) + 2)
    rows: list[Row] = []

    def told(what: str) -> None:
        progress.update(task, description=what)

    async with started(lab, outcome, told, SHORT) as (run, carrier, phones):
        run.callers.come(RATE, 5.0)
        await run.stack.event("TalkStarted", deadline_s=40)
        progress.advance(task)
        for fault in faults:
            rows.append(await one(run, fault, PLAN[fault][1]))
            progress.advance(task)
        await run.settle()
        run.callers.stop()
        await run.settle()
        await run.judge(carrier, phones)
    return rows


def table(rows: Sequence[Row]) -> Table:
    shown = Table(title="What fails, and what happens to calls")
    shown.add_column("what fails")
    for title in ("calls under way", "went on", "cut off", "next call taken after"):
        shown.add_column(title, justify="right")
    for row in rows:
        shown.add_row(row.said, str(row.live), str(row.live - row.cut_off), str(row.cut_off), f"{row.back_s:.1f} s")
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=["asterisk", "freeswitch"], default="asterisk")
    parser.add_argument("--fault", action="append", choices=list(PLAN), help="only this one; more than once: these")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the table there, as a page to be kept")
    options = parser.parse_args(argv)
    if options.html is not None and not options.html.parent.is_dir():
        parser.error(f"--html: {options.html.parent} is no directory")
    console = Console(stderr=options.json, width=max(100, Console().width))
    outcome = Outcome(1, options.engine)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Lab.start() as lab, Progress(*columns, console=console, transient=True) as progress:
        rows = asyncio.run(drill(lab, outcome, options.fault or list(PLAN), progress))
    if options.html is not None:
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        options.html.write_text(page(rows, outcome.calls, outcome.wrong, when, describe()))
    if options.json:
        found = {"calls": outcome.calls, "faults": [asdict(row) for row in rows], "wrong": outcome.wrong}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 1 if outcome.wrong else 0
    console.print(table(rows))
    if outcome.wrong:
        console.print(f"[red]An independent check of all {outcome.calls} calls found:[/red]")
        for line in outcome.wrong:
            console.print(f"  {line}")
        return 1
    console.print(
        f"An independent check of all {outcome.calls} calls, on the wire, in the journal and in the centre's tables: "
        "each has one record, no agent was offered two calls, nobody lost a place, nobody was recorded without consent."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
