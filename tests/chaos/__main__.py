"""``make chaos``: faults at random in a stack under calls, round after round; an independent check of what is left.

Every round has a seed, which is printed; ``--seed N --rounds 1`` runs that one again: the same faults in the same
order, at moments drawn from the same numbers. The exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench.machine import describe, summary_line
from tests.chaos import line, two
from tests.chaos.runner import Outcome, run, run_aimed
from tests.chaos.states import STATES
from tests.lab.lab import Lab

FAULTS = (
    "controller killed",
    "media server killed",
    "bus killed",
    "centre killed",
    "database killed",
    "link to the centre cut",
    "link cut one way",
    "link cut the other way",
    "5 % of packets lost",
    "controller stands still",
    "disk of recordings full",
    "disk of the journal full",
    "disk slow",
    "host powered off",
    "clock set forward",
    "clock set back",
)


def plan_of(seed: int, faults: int, names: list[str]) -> list[tuple[str, float]]:
    """Each fault before any comes again."""
    chance = random.Random(seed)
    plan: list[tuple[str, float]] = []
    while len(plan) < faults:
        plan += [(name, chance.uniform(1.0, 4.0)) for name in chance.sample(names, len(names))]
    return plan[:faults]


def aimed_plan(seed: int, names: list[str], rounds: int) -> list[list[tuple[str, float, str]]]:
    """Each fault at each state once, in a random order, dealt over the rounds."""
    chance = random.Random(seed)
    cells = [(name, chance.uniform(1.0, 3.0), state) for name in names for state in STATES]
    chance.shuffle(cells)
    return [cells[number::rounds] for number in range(rounds)]


def table(outcomes: list[Outcome]) -> Table:
    shown = Table(title="calls in each state when a fault struck")
    shown.add_column("fault")
    shown.add_column("times", justify="right")
    for state in STATES:
        shown.add_column(state, justify="right")
    struck, met = Counter[str](), dict[str, Counter[str]]()
    for outcome in outcomes:
        struck += outcome.struck
        for name, found in outcome.met.items():
            met.setdefault(name, Counter()).update(found)
    for name in sorted(met):
        shown.add_row(name, str(struck[name]), *(str(met[name][state]) for state in STATES))
    return shown


def cells(outcomes: list[Outcome]) -> dict[tuple[str, str], int]:
    """Fault and state -> how often it struck while a call was in the state; 0: it was to, and could not."""
    met = {cell: 0 for outcome in outcomes for cell in outcome.planned}
    for outcome in outcomes:
        for name, found in outcome.aimed.items():
            for state, times in found.items():
                met[name, state] += times
    return met


def cells_table(outcomes: list[Outcome]) -> Table:
    met = cells(outcomes)
    reached = sum(1 for times in met.values() if times)
    shown = Table(title=f"faults aimed at states: {reached} of {len(met)} met")
    shown.add_column("fault")
    for state in STATES:
        shown.add_column(state, justify="right")
    for name in sorted({name for name, _ in met}):
        times = (met.get((name, state)) for state in STATES)
        shown.add_row(name, *("" if one is None else "met" if one else "[red]missed[/red]" for one in times))
    return shown


def summary(outcome: Outcome) -> str:
    faults = sum(outcome.struck.values()) - outcome.struck["seconds"]
    missed = [f"{name}: {state}" for (name, state), times in cells([outcome]).items() if not times]
    crossed = f"{outcome.crossed} offers across POPs, {outcome.moves} moves, " if outcome.crossed else ""
    crossed += (
        f"media server ended by itself {len(outcome.crashes)} times ({outcome.crashes[0]}), " if outcome.crashes else ""
    )
    more = (f", not met: {'; '.join(missed)}" if missed else "") + (f"; desk: {outcome.desk}" if outcome.desk else "")
    load = os.getloadavg()[0]
    return (
        f"seed {outcome.seed}: {faults} faults, {outcome.calls} calls, {outcome.adopted} taken up again, "
        f"{crossed}{len(outcome.wrong)} findings, load {load:.0f}{more}"
    )


def in_line(console: Console, first: Outcome, callers: int, keep: Path | None) -> int:
    """Both ways in which a router fails."""
    found: list[str] = []
    ways: tuple[line.How, ...] = ("killed", "cut")
    figures: dict[str, float | int] = {"callers": callers}
    with Lab.start() as lab:
        for how in ways:
            outcome = Outcome(first.seed, first.engine)
            told = lambda what: console.print(f"{time.strftime('%H:%M:%S')} {what}")  # noqa: E731
            kept = None if keep is None else keep / how
            served = asyncio.run(line.run_line(lab, outcome, callers, how, told, kept))
            console.print(line.summary(served, how), soft_wrap=True)
            figures |= {f"{how}_passed": len(line.longest(served.passed)), f"{how}_wrong": len(served.wrong(how))}
            figures |= {f"{how}_gap_s": round(served.gap_s, 1)}
            found += [f"{how}: {one}" for one in outcome.wrong]
    for one in found:
        console.print(f"[red]{escape(one)}[/red]", soft_wrap=True)
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("chaos-line", **figures, wrong=len(found)) + "\n")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the first round; drawn when not given")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--faults", type=int, default=40, metavar="N", help="in each round; not with --aimed")
    parser.add_argument("--rate", type=float, default=3.0, metavar="N", help="callers a second")
    parser.add_argument("--engine", choices=["asterisk", "freeswitch"], default="asterisk")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the evidence of a bad round is kept")
    parser.add_argument("--fault", action="append", help="only this one; more than once: these")
    parser.add_argument("--pops", type=int, choices=(1, 2), default=1, help="2: with a queue that spans both")
    parser.add_argument(
        "--line", type=int, metavar="N", help="N callers in line at two POPs while the router fails, and nothing else"
    )
    parser.add_argument(
        "--aimed", action="store_true", help="each fault while a call is in each state, dealt over rounds"
    )
    options = parser.parse_args()
    known = FAULTS if options.pops == 1 else two.FAULTS
    names = options.fault or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"--fault: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.pops == 2 and options.aimed:
        parser.error("--pops 2: not with --aimed")
    console = Console(width=max(150, Console().width))
    first = options.seed if options.seed is not None else int(time.time())
    dealt = aimed_plan(first, names, options.rounds)
    console.print(f"machine: {describe()}")
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    if options.line is not None:
        return in_line(console, Outcome(first, options.engine), options.line, options.keep)
    with Lab.start() as lab, Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        for seed in range(first, first + options.rounds):
            plan = plan_of(seed, options.faults, names)
            aimed = dealt[seed - first] if options.aimed else []
            task = progress.add_task(f"seed {seed}", total=len(aimed or plan) + 2)

            def told(what: str, task: int = task, seed: int = seed) -> None:
                progress.update(task, advance=1, description=f"seed {seed}: {what}")  # type: ignore[arg-type]
                if not console.is_terminal:
                    sys.stdout.write(f"{time.strftime('%H:%M:%S')} seed {seed}: {what}\n")
                    sys.stdout.flush()

            keep = None if options.keep is None else options.keep / str(seed)
            began = Outcome(seed, options.engine)
            if options.pops == 2:
                outcome = asyncio.run(two.run_two(lab, began, plan, told, keep))
            elif options.aimed:
                outcome = asyncio.run(run_aimed(lab, began, aimed, options.rate, told, keep))
            else:
                outcome = asyncio.run(run(lab, began, plan, options.rate, told, keep))
            outcomes.append(outcome)
            progress.console.print(summary(outcome))
            for wrong_one in outcome.wrong:
                progress.console.print(f"[red]seed {seed}: {escape(wrong_one)}[/red]", soft_wrap=True)
    console.print(table(outcomes))
    if options.aimed:
        console.print(cells_table(outcomes))
    met = cells(outcomes)
    wrong = sum(len(outcome.wrong) for outcome in outcomes)
    faults = sum(sum(outcome.struck.values()) - outcome.struck["seconds"] for outcome in outcomes)
    calls, adopted = sum(o.calls for o in outcomes), sum(o.adopted for o in outcomes)
    console.print(f"machine: {describe()}")
    sys.stdout.write(
        summary_line(
            "chaos",
            seed=first,
            calls=calls,
            faults=faults,
            readopted=adopted,
            wrong=wrong,
            crossed=sum(o.crossed for o in outcomes),
            moves=sum(o.moves for o in outcomes),
            crashes=sum(len(o.crashes) for o in outcomes),
            cells_met=sum(1 for times in met.values() if times),
            cells=len(met),
        )
        + "\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
