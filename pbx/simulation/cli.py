"""``callplane simulate``: the ACD in virtual time."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from pbx.simulation.centre import centre
from pbx.simulation.check import (
    A_CALLS,
    ERLANG_A_POINTS,
    ERLANG_C_POINTS,
    HANDLING_S,
    Comparison,
    compare,
)
from pbx.simulation.day import Day
from pbx.simulation.day_report import drawn, table, total


def _show(console: Console, rows: list[Comparison]) -> None:
    table = Table(title=f"simulated / theory, mean handling time {HANDLING_S:g} s, threshold 20 s")
    for column in ("theory", "agents", "load", "patience s", "P(wait)", "mean wait s", "service level", "abandoned"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("worst error", justify="right", no_wrap=True)
    for row in rows:
        ours, theirs = row.simulated, row.theory
        table.add_row(
            row.name,
            str(row.agents),
            f"{row.load:.2f}",
            "-" if row.patience_s is None else f"{row.patience_s:g}",
            f"{ours.wait_probability:.4f} / {theirs.wait_probability:.4f}",
            f"{ours.mean_wait_s:.2f} / {theirs.mean_wait_s:.2f}",
            f"{ours.service_level:.4f} / {theirs.service_level:.4f}",
            "-" if row.patience_s is None else f"{ours.abandoned:.4f} / {theirs.abandoned:.4f}",
            f"{100 * row.worst:.2f} %" + ("" if row.worst <= row.tolerance else " !"),
        )
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="callplane simulate", description=__doc__)
    which = parser.add_subparsers(dest="what", required=True)
    check = which.add_parser("check", help="the simulator beside Erlang C and Erlang A")
    check.add_argument("--seed", type=int, default=1)
    check.add_argument("--scale", type=_positive, default=1.0, help="times the calls of each point")
    day = which.add_parser("day", help="one day of a centre with many queues and agents in shifts")
    day.add_argument("--calls", type=_number(1, 10_000_000), default=1_000_000)
    day.add_argument("--queues", type=_number(1, 100), default=10)
    day.add_argument("--occupancy", type=_share, default=0.97, help="load for which agents are hired, 0.3 to 1.5")
    day.add_argument("--seed", type=int, default=1)
    day.add_argument("--svg", type=_file, help="where to write a picture of the day")
    options = parser.parse_args(argv)
    return _day(options) if options.what == "day" else _check(options)


def _check(options: argparse.Namespace) -> int:
    """0: every figure is within its tolerance; 1: not."""
    console = Console(width=max(140, Console().width))
    points: list[tuple[int, float, float | None, int]] = []
    points += [(agents, load, None, number) for agents, load, number in ERLANG_C_POINTS]
    points += [(agents, load, patience_s, A_CALLS) for agents, load, patience_s in ERLANG_A_POINTS]
    began, rows, calls = time.perf_counter(), [], 0
    for agents, load, patience_s, full in track(points, "load points", console=console):
        number = max(1000, int(full * options.scale))
        calls += number
        rows.append(compare(agents, load, patience_s, number, options.seed))
    took_s = time.perf_counter() - began
    _show(console, rows)
    worst = {name: max(row.worst for row in rows if row.name == name) for name in ("Erlang C", "Erlang A")}
    print(
        f"simulate calls={calls} seconds={took_s:.0f} seed={options.seed} "
        f"erlang_c_error_pct={100 * worst['Erlang C']:.2f} erlang_a_error_pct={100 * worst['Erlang A']:.2f}"
    )
    return 0 if all(row.worst <= row.tolerance for row in rows) else 1


def _day(options: argparse.Namespace) -> int:
    console = Console(width=max(100, Console().width))
    began = time.perf_counter()
    made = centre(options.calls, options.queues, options.seed, options.occupancy)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("calls", total=options.calls)
        report = Day(made, options.seed).run(lambda done: progress.update(task, completed=done))
    console.print(table(report))
    if options.svg is not None:
        options.svg.write_text(drawn(report))
        console.print(f"picture: {options.svg}")
    took_s, every = time.perf_counter() - began, total(report)
    print(
        f"simulate-day calls={report.calls} agents={report.agents} queues={options.queues} seed={options.seed} "
        f"service_level_pct={100 * every.service_level:.2f} asa_s={every.asa_s:.2f} "
        f"abandoned_pct={100 * every.abandon_share:.2f} occupancy_pct={100 * every.occupancy:.2f} seconds={took_s:.1f}"
    )
    return 0


# --- options --------------------------------------------------------------------------------------------------------


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return read


def _real(text: str, least: float, most: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
    return value


def _positive(text: str) -> float:
    return _real(text, 1e-9, 1e9, "a number above 0")


def _share(text: str) -> float:
    return _real(text, 0.3, 1.5, "a number from 0.3 to 1.5")


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file in a folder that exists")
    return path
