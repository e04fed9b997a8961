"""``make bench-consent``: how long it takes to find the rule of a call, and to grant or refuse its recording.

Evaluated are calls of one to five parties at random: numbers and places of all country packs, one in ten withheld,
under a queue's floor that differs by place. One evaluation is what a call does when a party joins: the place of each
number, the strictest rule of all and of the floor, the grant. It is timed by the thread's CPU time in blocks, of which
the median counts; the slowest block is shown as well. Beside it, in the same run, the bare maximum of the same rules:
what no way of doing it could go below.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from dialplans.pack import load_pack
from dialplans.regimes import places
from pbx.bootstrap import regimes
from pbx.domain.consent import ConsentEvidence, Floor, Regime, RegimeTable, grant
from pbx.domain.ids import CallId, LegId
from tests.bench.machine import describe, summary_line

BUDGET_US = 50.0
CALLS, BLOCK = 20_000, 200


@dataclass(frozen=True, slots=True)
class Case:
    """A call as it is when somebody joins it."""

    parties: tuple[tuple[str | None, str | None], ...]
    """Number in E.164 and country of each; neither where it is withheld."""
    floor: Floor
    evidence: ConsentEvidence | None


def cases(seed: int) -> list[Case]:
    chance = random.Random(seed)
    codes = {place[:2]: load_pack(place[:2]).numbering.e164_country_code for place in places()}
    floors = [
        Floor(
            Regime.NOTICE, {place: chance.choice(list(Regime)) for place in chance.sample(places(), 8)}, Regime.OPT_IN
        )
        for _ in range(20)
    ]

    def party() -> tuple[str | None, str | None]:
        if chance.random() < 0.1:
            return None, None
        country = chance.choice(list(codes))
        return f"+{codes[country]}{chance.randrange(2_000_000_000, 9_999_999_999)}", country

    def evidence() -> ConsentEvidence | None:
        if chance.random() < 0.2:
            return None
        asked = chance.choice(list(Regime))
        return ConsentEvidence(
            "consent", "0" * 64, "de", 4000, chance.random() < 0.8, chance.choice((None, "1")), 1.0, asked
        )

    return [
        Case(tuple(party() for _ in range(chance.randrange(1, 6))), chance.choice(floors), evidence())
        for _ in range(CALLS)
    ]


def evaluate(rules: RegimeTable, case: Case) -> bool:
    where = [rules.placed(number, country) for number, country in case.parties]
    regime = rules.strictest(where, case.floor.of(where))
    return grant(CallId("call"), LegId("leg"), regime, case.evidence, 2.0) is not None


def bare(rules: RegimeTable, case: Case) -> bool:
    return max(rules.by_place.get(country or "", rules.unknown) for _, country in case.parties) < Regime.OPT_IN


def timed(what: Callable[[RegimeTable, Case], bool], rules: RegimeTable, calls: list[Case]) -> tuple[list[float], int]:
    """Microseconds of an evaluation in each block, and how many were granted."""
    blocks, granted = [], 0
    for first in range(0, len(calls), BLOCK):
        block = calls[first : first + BLOCK]
        began = time.thread_time_ns()
        granted += sum([what(rules, case) for case in block])
        blocks.append((time.thread_time_ns() - began) / len(block) / 1000)
    return blocks, granted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    rules, calls = regimes(), cases(arguments.seed)
    timed(evaluate, rules, calls)  # nothing is measured cold
    took, granted = timed(evaluate, rules, calls)
    least, _ = timed(bare, rules, calls)
    median, floor = statistics.median(took), statistics.median(least)
    table = Table()
    for heading in ("what", "measured", "budget"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row("calls, of them granted", f"{len(calls)}, {granted}", "")
    table.add_row("an evaluation, median", f"{median:.2f} us", f"{BUDGET_US:g} us")
    table.add_row("slowest block", f"{max(took):.2f} us", "")
    table.add_row("bare maximum of the rules", f"{floor:.2f} us", "")
    console.print(table)
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("consent", us=median, worst_us=max(took), ratio=median / floor) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
