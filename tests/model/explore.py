"""Breadth first over all worlds. A fault comes with the shortest way to it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status

from pbx.domain.errors import IllegalTransition
from tests.model.world import Budgets, settled, start, steps, wrong

QUICK = {
    "nothing goes wrong": Budgets(),
    "a message is lost": Budgets(lose=1),
    "a message comes twice": Budgets(double=1),
    "the router dies": Budgets(crash=1),
    "partition": Budgets(cut=1, alone=1),
    "a caller hangs up, an agent does not pick up": Budgets(miss=1, impatient=1),
    "a time limit passes too early": Budgets(early=1),
    "the router is confused": Budgets(confused=1),
    "an agent moves": Budgets(move=1),
    "an agent moves in a call": Budgets(roam=1),
}
"""Some seconds in all: what the tests play."""
WHOLE = {
    "two routers": Budgets(usurp=1),
    "a message is lost while an agent moves": Budgets(move=1, lose=1),
    "partition while an agent moves": Budgets(move=1, cut=1),
    "an agent moves and comes back": Budgets(move=1, roam=1),
    "an agent moves in a call, and messages come twice": Budgets(roam=1, double=1),
    "losses in a partition": Budgets(cut=1, lose=1, alone=1),
    "lost and doubled": Budgets(lose=1, double=1),
    "lost and confused": Budgets(lose=1, confused=1),
    "a caller hangs up while the router dies": Budgets(impatient=1, crash=1),
}
"""Minutes, and a gigabyte."""


class Found(Exception):
    """The protocol is broken; the message is the way there."""


@dataclass(slots=True)
class Explored:
    states: int
    steps: int
    deepest: int


def explore(budgets: Budgets, most: int | None = None, watch: Callable[[int, int], None] | None = None) -> Explored:
    """Raises Found. ``most`` states: RuntimeError above that, for a test that must end."""
    first = start(budgets)
    numbers = {hash(first): 0}  # 64 bits: two of a million worlds are taken for one with a chance of 1 to 10^7
    came: list[tuple[int, str]] = [(-1, "")]
    back: list[list[int]] = [[]]
    """By fair steps: from which worlds one comes here."""
    todo = deque([(first, 0, 0)])
    taken, deepest = 0, 0
    good: list[int] = []
    while todo:
        world, number, depth = todo.popleft()
        deepest = depth
        if settled(world):
            good.append(number)
        try:
            ways = list(steps(world))
        except (IllegalTransition, AssertionError) as error:
            raise Found(_way(came, number, f"{type(error).__name__}: {error}")) from error
        taken += len(ways)
        for name, fair, after in ways:
            key = hash(after)
            known = numbers.get(key)
            if known is None:
                known = numbers[key] = len(came)
                came.append((number, name))
                back.append([])
                todo.append((after, known, depth + 1))
                if (why := wrong(after)) is not None:
                    raise Found(_way(came, known, why))
                if most is not None and known >= most:
                    raise RuntimeError(f"more than {most} states")
            if fair:
                back[known].append(number)
        if watch is not None and number % 5000 == 0:
            watch(len(came), len(todo))
    _all_reach(good, back, came)
    return Explored(len(came), taken, deepest)


def _all_reach(good: list[int], back: list[list[int]], came: list[tuple[int, str]]) -> None:
    """From every world one can come to a good one without another misfortune."""
    reached = bytearray(len(back))
    todo = list(good)
    for number in todo:
        reached[number] = 1
    while todo:
        for before in back[todo.pop()]:
            if not reached[before]:
                reached[before] = 1
                todo.append(before)
    stuck = reached.find(0)
    if stuck >= 0:
        raise Found(_way(came, stuck, "somebody waits for ever from here"))


def _way(came: list[tuple[int, str]], number: int, why: str) -> str:
    way = []
    while number > 0:
        number, name = came[number]
        way.append(name)
    return f"{why}, after: {', '.join(reversed(way)) or 'nothing'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make model", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what the tests play")
    parser.add_argument("--only", help="one configuration, by the beginning of its name")
    args = parser.parse_args()
    console = Console()
    for name, budgets in (QUICK if args.quick else {**QUICK, **WHOLE}).items():
        if args.only and not name.startswith(args.only):
            continue
        began = time.monotonic()
        with console.status(name) as status:

            def watch(seen: int, todo: int, status: Status = status, name: str = name) -> None:
                status.update(f"{name}: {seen:,} worlds, {todo:,} to see")

            try:
                found = explore(budgets, watch=watch)
            except Found as fault:
                console.print(f"[red]{name}: {fault}")
                return 1
        seconds = time.monotonic() - began
        console.print(
            f"{name}: {found.states:,} worlds, {found.steps:,} steps, up to {found.deepest} deep, {seconds:.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
