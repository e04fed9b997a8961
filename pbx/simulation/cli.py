"""``callplane simulate``: the ACD in virtual time."""

from __future__ import annotations

import argparse
import time

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pbx.simulation.check import (
    A_CALLS,
    ERLANG_A_POINTS,
    ERLANG_C_POINTS,
    HANDLING_S,
    Comparison,
    compare,
)


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
    """0: every figure is within its tolerance; 1: not."""
    parser = argparse.ArgumentParser(prog="callplane simulate", description=__doc__)
    parser.add_argument("what", choices=["check"], help="check: the simulator beside Erlang C and Erlang A")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="times the calls of each point")
    options = parser.parse_args(argv)
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
