"""``make bench-start``: how long the centre and a POP's controller need from nothing to work.

Of the centre: from the start of its process to the first 200 of ``/api/v1/health``, and to the first read with a token;
on an empty state directory (its schema and its first token are made) and on one that was used before, with SQLite and
with PostgreSQL, its nats-server included. Of the controller: from the start of its process to "connected to its media
server", an Asterisk in the lab. CPU is the process's own, up to that moment. Medians of some starts each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.bench.machine import describe, summary_line
from tests.integration.centre.conftest import Postgres
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import Stack
from tests.support.ports import free_port

BUDGET_S = 3.0
PAUSE_S = 0.005
"""Between two questions: no figure is better than that."""
WAIT_S = 60.0
UP = "server is up"
"""What the controller logs."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since the process was started; ``cpu_s`` is its CPU until then."""

    ready_s: float
    read_s: float | None
    cpu_s: float


async def one_start(state: Path, port: int, bus_port: int, database_url: str, token: str | None) -> tuple[Start, str]:
    """Start the centre, ask, end it; and its token."""
    environment = {
        **os.environ,
        "CALLPLANE_CENTRE_STATE_DIR": str(state),
        "CALLPLANE_CENTRE_DATABASE_URL": database_url,
        "CALLPLANE_CENTRE_API_PORT": str(port),
        "CALLPLANE_CENTRE_BUS_PORT": str(bus_port),
        "CALLPLANE_CENTRE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "orchestrator.cli", "centre", "run"]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _answered(session, "/api/v1/health", {}, process, began + WAIT_S)
            ready_s = time.monotonic() - began
            if token is None:
                assert process.stdout is not None
                token = (await process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
            await _answered(session, "/api/v1/pops", {"Authorization": f"Bearer {token}"}, process, began + WAIT_S)
            read_s = time.monotonic() - began
        return Start(ready_s, read_s, cpu_s(process.pid)), token
    finally:
        process.terminate()
        await process.communicate()


async def _answered(
    session: aiohttp.ClientSession,
    path: str,
    headers: dict[str, str],
    process: asyncio.subprocess.Process,
    deadline: float,
) -> None:
    while process.returncode is None and time.monotonic() < deadline:
        try:
            async with session.get(path, headers=headers) as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass  # it does not listen yet
        await asyncio.sleep(PAUSE_S)
    raise LabError(f"the centre did not answer {path} (it ended with {process.returncode})")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def centre(postgres: Postgres | None, rounds: int) -> tuple[list[Start], list[Start]]:
    """Starts on an empty state directory, and on one that was used before."""
    fresh, used = [], []
    port, bus_port = free_port(), free_port()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="callplane-bench-") as name:
            url = "" if postgres is None else await postgres.new_database()
            state = Path(name) / "centre"
            first, token = await one_start(state, port, bus_port, url, None)
            again, _ = await one_start(state, port, bus_port, url, token)
            fresh.append(first)
            used.append(again)
    return fresh, used


async def controller(lab: Lab, rounds: int) -> list[Start]:
    async with Stack.start(lab) as stack:
        return [await asyncio.to_thread(_connected, stack) for _ in range(rounds)]


def _connected(stack: Stack) -> Start:
    stack.controller.stop()
    before = stack.controller.log_text().count(UP)
    began = time.monotonic()
    stack.restart_controller()

    def connected() -> bool:
        stack.controller.require_running()
        return stack.controller.log_text().count(UP) > before

    wait_until(connected, WAIT_S, "the controller to reach its media server", stack.logs)
    return Start(time.monotonic() - began, None, stack.controller.cpu_seconds())


def show(console: Console, measured: Sequence[tuple[str, Sequence[Start]]]) -> None:
    table = Table(title="median (longest) seconds from the start of the process")
    table.add_column("what")
    for title in ("ready", "first read", "CPU"):
        table.add_column(title, justify="right")
    for name, starts in measured:
        reads = [one.read_s for one in starts if one.read_s is not None]
        ready, cpu = [one.ready_s for one in starts], [one.cpu_s for one in starts]
        table.add_row(name, _of(ready), _of(reads) if reads else "-", _of(cpu))
    console.print(table)


def _of(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({max(values):.2f})"


def median(starts: Sequence[Start]) -> float:
    return statistics.median(one.ready_s if one.read_s is None else one.read_s for one in starts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 21), metavar="N")
    parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk, 22.5 or newer")
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    sqlite = asyncio.run(centre(None, options.rounds))
    server = Postgres(options="")
    try:
        postgres = asyncio.run(centre(server, options.rounds))
    finally:
        server.stop()
        server.remove()
    with Lab.start(asterisk=options.asterisk) as lab:
        pop = asyncio.run(controller(lab, options.rounds))
    rows = [
        ("centre, SQLite, empty", sqlite[0]),
        ("centre, SQLite, used before", sqlite[1]),
        ("centre, PostgreSQL, empty", postgres[0]),
        ("centre, PostgreSQL, used before", postgres[1]),
        ("controller to its Asterisk", pop),
    ]
    show(console, rows)
    console.print(f"budget of the centre: {BUDGET_S:g} s to the first read")
    console.print(f"machine: {describe()}")
    names = ("sqlite_empty_s", "sqlite_s", "postgresql_empty_s", "postgresql_s", "controller_s")
    values = {name: median(starts) for name, (_, starts) in zip(names, rows, strict=True)}
    sys.stdout.write(summary_line("start", **values, cpu_s=statistics.median(one.cpu_s for one in sqlite[1])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
