"""``make bench``: runs every benchmark and writes ``RESULTS.md`` beside this file.

Each benchmark prints as it goes; its lines that begin with ``bench-`` are kept, with where and when they were taken.
The exit status is that of the first benchmark that failed; then nothing is written. Without FreeSWITCH on the machine
its benchmarks are left out, with a line that says so.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

from tests.bench.machine import describe
from tests.lab.freeswitch import ABSENT, find_freeswitch

BENCHMARKS = {
    "call": "tests.bench.call",
    "call-freeswitch": "tests.bench.call_freeswitch",
    "ari": "tests.bench.ari",
    "readopt": "tests.bench.readopt",
    "ring": "tests.bench.ring",
    "failover": "tests.bench.failover",
    "start": "tests.bench.start",
    "match": "tests.bench.match",
    "wait-estimate": "tests.bench.estimate",
    "sync": "tests.bench.sync",
    "ingest": "tests.bench.ingest",
    "api": "tests.bench.api",
    "vault": "tests.bench.vault",
    "consent": "tests.bench.consent",
    "provision": "tests.bench.provision",
}
"""``make bench-NAME`` -> module."""
NEED_FREESWITCH = {"call-freeswitch"}
RESULTS = Path(__file__).with_name("RESULTS.md")


def run(module: str) -> list[str]:
    """Run one benchmark, passing its output on; returns its ``bench-`` lines. Raises CalledProcessError."""
    command = [sys.executable, "-m", module]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if line.startswith("bench-"):
                lines.append(line.rstrip())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def page(machine: str, date: datetime.date, figures: dict[str, list[str]]) -> str:
    """The text of RESULTS.md."""
    parts = ["# Benchmarks", f"{machine}; {date.isoformat()}. Ratios are taken within one run."]
    for name, lines in figures.items():
        rows = [dict(pair.split("=", 1) for pair in line.split()[1:]) for line in lines]
        head = list(rows[0])
        table = [head, ["---:"] * len(head), *(list(row.values()) for row in rows)]
        parts += [f"## `make bench-{name}`", "\n".join(f"| {' | '.join(cells)} |" for cells in table)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    machine = describe()
    names = list(BENCHMARKS)
    if find_freeswitch() is None:
        names = [name for name in names if name not in NEED_FREESWITCH]
        print(f"left out: {', '.join(sorted(NEED_FREESWITCH))}: {ABSENT}")
    try:
        figures = {name: run(BENCHMARKS[name]) for name in names}
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[-1]} ended with {error.returncode}; nothing is written", file=sys.stderr)
        return int(error.returncode)
    RESULTS.write_text(page(machine, datetime.datetime.now(datetime.UTC).date(), figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
