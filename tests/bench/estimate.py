"""``make bench-wait-estimate``: the estimated wait against the wait that really followed.

Simulated days of a centre with several queues, agents with shared skills, log-normal handling times, patience and an
arrival rate that changes over the day (``pbx.simulation``), hired so short that callers wait. Every caller who waits is
given an estimate on entry and every 30 s after. Those who gave up never had the wait that was estimated, and leaving
them out alone would favour short waits; so every tenth caller has endless patience, and the figures are theirs. The
line ``answered`` has everybody who was answered.

Beside it two estimates as other systems make them: the last wait seen in the queue (less what was waited already), and
place times mean handling time over agents. Error is relative: the sum of the absolute errors over that of the waits.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pbx.domain.agent import Condition
from pbx.domain.ids import CallId
from pbx.simulation.centre import Centre, centre
from pbx.simulation.day import LOOK, Day
from pbx.simulation.svg import COLOURS, Panel, Series, picture
from tests.bench.machine import describe, summary_line

EVERY_S = 30.0
PATIENT = 10
"""One caller of so many never gives up."""
OCCUPANCIES = (0.95, 1.05, 1.2)
"""One day each: load over agents hired for it; the last is a day on which too few came."""


@dataclass(frozen=True, slots=True)
class Sample:
    queue: str
    entry: bool
    """Taken when the caller joined."""
    patient: bool
    truth_s: float
    mean_s: float
    median_s: float
    p80_s: float
    last_s: float | None
    naive_s: float


@dataclass(frozen=True, slots=True)
class Look:
    at: float
    entry: bool
    mean_s: float
    median_s: float
    p80_s: float
    last_s: float | None
    naive_s: float


class Watched(Day):
    """A day in which everybody who waits is told how long it will take."""

    def __init__(self, made: Centre, seed: int) -> None:
        super().__init__(made, seed)
        self.samples: list[Sample] = []
        self.silent = 0
        """Times when there was no estimate."""
        self.took_s = 0.0
        self.asked = 0
        self._looks: dict[CallId, list[Look]] = {}
        self._last: dict[int, float] = {}

    def patience_s(self, number: int, mean_s: float) -> float:
        drawn = super().patience_s(number, mean_s)
        return math.inf if number % PATIENT == 0 else drawn

    def joined(self, call_id: CallId) -> None:
        self._ask(call_id, True)

    def look(self, call_id: CallId) -> None:
        if call_id in self.waiting:
            self._ask(call_id, False)
        else:
            self._looks.pop(call_id, None)

    def _ask(self, call_id: CallId, entry: bool) -> None:
        since, queue = self.waiting[call_id]
        began = time.thread_time()
        told = self.acd.estimate(call_id, self.now)
        self.took_s += time.thread_time() - began
        self.asked += 1
        self.later(EVERY_S, LOOK, call_id)
        if told is None:
            self.silent += 1
            return
        tally, last = self.report.queues[self.centre.services[queue].queue_id], self._last.get(queue)
        handled_s = tally.handling_s / max(1, tally.answered)
        able = self.acd._pools.count({(self.centre.services[queue].skill, 1)})
        agents = sum(able) - able[Condition.NOT_LOGGED_IN] - able[Condition.NOT_READY]
        last_s = None if last is None else max(0.0, last - (self.now - since))
        naive_s = told.position * handled_s / max(1, agents)
        one = Look(self.now, entry, told.mean_s, told.median_s, told.p80_s, last_s, naive_s)
        self._looks.setdefault(call_id, []).append(one)

    def answered(self, call_id: CallId, queue: int, waited_s: float) -> None:
        if waited_s > 0:
            self._last[queue] = waited_s
        for one in self._looks.pop(call_id, ()):
            self.samples.append(
                Sample(
                    queue=self.centre.services[queue].queue_id,
                    entry=one.entry,
                    patient=int(call_id) % PATIENT == 0,
                    truth_s=self.now - one.at,
                    mean_s=one.mean_s,
                    median_s=one.median_s,
                    p80_s=one.p80_s,
                    last_s=one.last_s,
                    naive_s=one.naive_s,
                )
            )


@dataclass(frozen=True, slots=True)
class Errors:
    samples: int
    wait_s: float
    bias_s: float
    mae_s: float
    close: float
    """Share within 20 % or 30 s."""

    @property
    def relative(self) -> float:
        return self.mae_s / self.wait_s if self.wait_s else 0.0


def errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """Of pairs of estimate and truth."""
    both = list(pairs)
    if not both:
        return Errors(0, 0.0, 0.0, 0.0, 0.0)
    off = [told - truth for told, truth in both]
    close = sum(abs(told - truth) <= max(30.0, 0.2 * truth) for told, truth in both)
    return Errors(
        samples=len(both),
        wait_s=statistics.fmean(truth for _, truth in both),
        bias_s=statistics.fmean(off),
        mae_s=statistics.fmean(map(abs, off)),
        close=close / len(both),
    )


def ours(samples: Sequence[Sample]) -> Errors:
    """By the median, which is the best guess under absolute error; the bias is that of the mean."""
    by_median = errors((one.median_s, one.truth_s) for one in samples)
    by_mean = errors((one.mean_s, one.truth_s) for one in samples)
    return Errors(by_median.samples, by_median.wait_s, by_mean.bias_s, by_median.mae_s, by_median.close)


def below_p80(samples: Sequence[Sample]) -> float:
    return sum(one.truth_s <= one.p80_s for one in samples) / len(samples) if samples else 0.0


def last(samples: Sequence[Sample]) -> Errors:
    return errors((one.last_s, one.truth_s) for one in samples if one.last_s is not None)


def naive(samples: Sequence[Sample]) -> Errors:
    return errors((one.naive_s, one.truth_s) for one in samples)


def show(console: Console, rows: Sequence[tuple[str, Sequence[Sample]]]) -> None:
    made = Table(title="error of the estimated wait; bias and MAE in seconds, close: within 20 % or 30 s")
    for column in ("who", "samples", "wait s", "bias", "MAE", "error", "close", "below p80"):
        made.add_column(column, justify="right", no_wrap=True)
    for column in ("last MAE", "last close", "place MAE", "place close"):
        made.add_column(column, justify="right", no_wrap=True)
    for name, samples in rows:
        mine, seen, place = ours(samples), last(samples), naive(samples)
        made.add_row(
            name,
            f"{mine.samples:,}",
            f"{mine.wait_s:.1f}",
            f"{mine.bias_s:+.1f}",
            f"{mine.mae_s:.1f}",
            f"{100 * mine.relative:.0f} %",
            f"{100 * mine.close:.1f} %",
            f"{100 * below_p80(samples):.1f} %",
            f"{seen.mae_s:.1f}",
            f"{100 * seen.close:.1f} %",
            f"{place.mae_s:.1f}",
            f"{100 * place.close:.1f} %",
        )
    console.print(made)


def drawn(samples: Sequence[Sample]) -> str:
    """Estimates on entry against the truth, ours and the two others."""
    some = [one for one in samples if one.entry]
    some = some[:: max(1, len(some) // 800)]
    high = max((one.truth_s for one in some), default=1.0)
    step = max(30.0, 60.0 * round(high / 8 / 60))
    ticks = [(n * step, f"{n * step:g}") for n in range(int(high / step) + 1)]
    exact = Series("exact", [(0.0, 0.0), (high, high)], "#000", dashed=True)
    kinds = (
        ("median of the estimate", [(one.truth_s, one.median_s) for one in some], COLOURS[0]),
        ("last wait seen", [(one.truth_s, one.last_s) for one in some if one.last_s is not None], COLOURS[1]),
        ("place x handling / agents", [(one.truth_s, one.naive_s) for one in some], COLOURS[2]),
    )
    panels = [
        Panel(f"{name}: told on entry, by the wait that followed, s", [exact, Series("", points, colour, dots=True)],
              ticks, height=260, top=high)
        for name, points, colour in kinds
    ]  # fmt: skip
    return picture("Estimated wait and the wait that followed", panels)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30_000, help="of each day")
    parser.add_argument("--queues", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path, default=Path(__file__).with_name("estimate.svg"))
    options = parser.parse_args()
    console = Console(width=max(130, Console().width))
    console.print(f"machine: {describe()}")
    samples: list[Sample] = []
    silent, asked, took_s, agents = 0, 0, 0.0, []
    for number, occupancy in enumerate(track(OCCUPANCIES, "days", console=console)):
        made = centre(options.calls, options.queues, options.seed + number, occupancy)
        day = Watched(made, options.seed + number)
        day.run()
        samples += day.samples
        silent, asked, took_s = silent + day.silent, asked + day.asked, took_s + day.took_s
        agents.append(len(made.workers))
    patient = [one for one in samples if one.patient]
    queues = sorted({one.queue for one in samples})
    rows = [(queue, [one for one in patient if one.queue == queue]) for queue in queues]
    rows += [("on entry", [one for one in patient if one.entry]), ("later", [one for one in patient if not one.entry])]
    rows += [("all patient", patient), ("answered", samples)]
    show(console, rows)
    console.print(f"{asked:,} asked, {silent:,} without an answer (too little measured, or nobody there)")
    console.print(f"{1e6 * took_s / max(1, asked):.0f} us for one estimate; agents of the days: {agents}")
    options.svg.write_text(drawn(patient))
    console.print(f"picture: {options.svg}")
    console.print(f"machine: {describe()}")
    mine, seen, place = ours(patient), last(patient), naive(patient)
    line = summary_line(
        "wait-estimate",
        error_pct=100 * mine.relative,
        bias_s=mine.bias_s,
        mae_s=mine.mae_s,
        close_pct=100 * mine.close,
        below_p80_pct=100 * below_p80(patient),
        last_error_pct=100 * seen.relative,
        naive_error_pct=100 * place.relative,
        samples=len(patient),
    )
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
