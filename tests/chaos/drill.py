"""``callplane drill``: the main faults, one after the other, in a lab of this machine under calls (as root);
and a table of what came of each, for those who decide whether to trust a phone system, not for those who build it.

``--running`` strikes in a lab that is running, as ``make demo`` or ``callplane drill --hold`` leaves it; without it a
lab is started for the drill: centre with PostgreSQL, bus, POP, carrier, agents. A site that is no lab is never
touched. The exit code is 1 when a record is missing or doubled, an agent or a place was lost, or the like, and 2 when
there is no such lab.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench.machine import describe
from tests.chaos.door import door_of, drill_at, opened
from tests.chaos.drill_run import PLAN, Found, own
from tests.chaos.load import WHOLE
from tests.chaos.report import Row, page
from tests.chaos.runner import Outcome
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.stack import Stack

NO_LAB = 2


def table(rows: Sequence[Row]) -> Table:
    shown = Table(title="What fails, and what happens to calls")
    shown.add_column("what fails")
    for title in ("calls under way", "went on", "cut off", "next call taken after"):
        shown.add_column(title, justify="right")
    for row in rows:
        shown.add_row(row.said, str(row.live), str(row.live - row.cut_off), str(row.cut_off), f"{row.back_s:.1f} s")
    return shown


def struck(options: argparse.Namespace, console: Console) -> Found:
    """In a running lab, or in one of its own. Raises LabError."""
    faults = options.fault or list(PLAN)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("a site is started", total=len(faults) + 3)

        def told(what: str) -> None:
            progress.update(task, description=what, advance=1)

        if options.running is not None:
            return asyncio.run(drill_at(door_of(options.running), faults, told))
        with Lab.start() as lab:
            return asyncio.run(own(lab, Outcome(1, options.engine), faults, told))


async def hold(lab: Lab, engine: str, say: Callable[[str], None]) -> None:
    """A site for drills, until it is cancelled."""
    more = {"flow": WHOLE.flow, "postgres": True, "small_disk": "64m", "engine": engine}
    async with Stack.start(lab, **more) as stack, opened(stack) as number:  # type: ignore[arg-type]
        say(f"Lab {number} is running. Strike it with: callplane drill --running {number}. Ctrl-C ends it.")
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is the way to end it
            await asyncio.Event().wait()


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="callplane drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=["asterisk", "freeswitch"], default="asterisk", help="of a lab of its own")
    parser.add_argument(
        "--running", nargs="?", const="any", metavar="N", help="in the running lab of that number; alone: in the only"
    )
    parser.add_argument("--hold", action="store_true", help="start a lab and leave it running for drills")
    parser.add_argument("--fault", action="append", choices=list(PLAN), help="only this one; more than once: these")
    parser.add_argument("--json", action="store_true", help="for programs; may go with --html")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the table there, as a page to be kept")
    options = parser.parse_args(argv)
    if options.html is not None and not options.html.parent.is_dir():
        parser.error(f"--html: {options.html.parent} is no directory")
    if options.hold and options.running is not None:
        parser.error("--hold starts a lab, --running strikes in one: one of them")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parsed(argv)
    console = Console(stderr=options.json, width=max(100, Console().width))
    try:
        if options.hold:
            with Lab.start() as lab, contextlib.suppress(KeyboardInterrupt):
                asyncio.run(hold(lab, options.engine, lambda what: console.print(what, soft_wrap=True)))
            return 0
        found = struck(options, console)
    except LabError as error:
        sys.stderr.write(f"callplane drill: {error}\n")
        return NO_LAB
    if options.html is not None:
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        options.html.write_text(page(found.rows, found.calls, found.wrong, when, describe(), found.left_out))
    if options.json:
        rows = [asdict(row) for row in found.rows]
        document = {"calls": found.calls, "faults": rows, "wrong": found.wrong, "left_out": found.left_out}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 1 if found.wrong else 0
    show(console, found)
    return 1 if found.wrong else 0


def show(console: Console, found: Found) -> None:
    console.print(table(found.rows))
    for fault, why in found.left_out.items():
        console.print(f"Left out here: {PLAN[fault][0].lower()}; {why}.", soft_wrap=True)
    if found.wrong:
        console.print(f"[red]An independent check of all {found.calls} calls found:[/red]")
        for line in found.wrong:
            console.print(f"  {escape(line)}", soft_wrap=True)
        return
    console.print(
        f"An independent check of all {found.calls} calls, on the wire, in the journal and in the centre's tables: "
        "each has one record, no agent was offered two calls, nobody lost a place, nobody was recorded without consent."
    )


if __name__ == "__main__":
    sys.exit(main())
