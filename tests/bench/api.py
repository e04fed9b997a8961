"""``make bench-api``: reads over the REST API at 300 requests a second, with a million calls in the table.

The centre is a process of its own on PostgreSQL (``--sqlite``: on SQLite), filled by its own functions with 90 days
of calls of 20 queues, 300 agents, 40 numbers. Requests come by chance, whether or not the last one was answered, and
a request's time begins when it was due, so that a centre that falls behind shows it. One half asks for one call or a
page of calls, one half for reports: today's figures by queue, hour and agent, a day or a month of a queue, the heat
map.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from tests.bench.fill import fill
from tests.bench.machine import describe, summary_line
from tests.bench.traffic import AGENTS, DIDS, QUEUES
from tests.integration.centre.conftest import Postgres
from tests.integration.centre.support import until
from tests.support.ports import free_port

BUDGET_MS = 25.0
CONNECTIONS = 64


@dataclass(slots=True)
class Load:
    """Latencies in ms by kind of request."""

    calls: list[str]
    chance: random.Random
    took: dict[str, list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def request(self) -> tuple[str, str]:
        """(kind, path)."""
        chance = self.chance
        queue = f"queue-{chance.randrange(QUEUES):02}"
        day = datetime.now(UTC).date() - timedelta(days=chance.randrange(60))
        month = {"since": str(day - timedelta(days=29)), "until": str(day)}
        one_day = {"since": str(day), "until": str(day)}
        page: dict[str, object] = {"limit": 25}
        kinds: list[tuple[int, str, str, dict[str, object]]] = [
            (30, "one call", f"/calls/{chance.choice(self.calls)}", {}),
            (8, "newest calls", "/calls", page),
            (4, "calls of a queue", "/calls", {**page, "queue_id": queue}),
            (4, "calls of an agent", "/calls", {**page, "agent_id": f"agent-{chance.randrange(AGENTS):03}"}),
            (4, "calls of a number", "/calls", {**page, "did": f"+4930{5550000 + chance.randrange(DIDS)}"}),
            (10, "today by queue", "/reports/figures", {"by": "queue"}),
            (10, "today by hour", "/reports/figures", {"by": "hour"}),
            (5, "a day by agent", "/reports/figures", {"by": "agent", **one_day}),
            (10, "a queue's day by hour", "/reports/figures", {"by": "hour", "queue_id": queue, **one_day}),
            (5, "a queue's month by day", "/reports/figures", {"by": "day", "queue_id": queue, **month}),
            (5, "a month by queue", "/reports/figures", {"by": "queue", **month}),
            (3, "a queue's heat map of a month", "/reports/heat-map", {"queue_id": queue, **month}),
            (2, "a queue's agents on a day", "/reports/figures", {"by": "agent", "queue_id": queue, **one_day}),
        ]
        _, kind, path, query = chance.choices(kinds, [weight for weight, *_ in kinds])[0]
        return kind, f"/api/v1{path}" + (f"?{urlencode(query)}" if query else "")

    async def run(self, session: aiohttp.ClientSession, rate_s: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due, end, asked = loop.time(), loop.time() + seconds, set[asyncio.Task[None]]()
        while due < end:
            due += self.chance.expovariate(rate_s)
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = loop.create_task(self._ask(session, due))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)

    async def _ask(self, session: aiohttp.ClientSession, due: float) -> None:
        kind, path = self.request()
        async with session.get(path) as response:
            await response.read()
            if response.status != 200:
                self.failed.append(f"{path}: {response.status}")
        self.took.setdefault(kind, []).append(1000 * (asyncio.get_running_loop().time() - due))


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def main_async(options: argparse.Namespace, console: Console) -> float:
    with tempfile.TemporaryDirectory(prefix="callplane-bench-") as name:
        if options.sqlite:
            return await _measure(f"sqlite+aiosqlite:///{name}/centre.db", Path(name), options, console)
        postgres = Postgres(options="-c shared_buffers=1GB -c max_wal_size=8GB -c fsync=off")
        try:
            url = (await postgres.new_database()).replace("postgresql://", "postgresql+asyncpg://")
            return await _measure(url, Path(name), options, console)
        finally:
            postgres.stop()
            postgres.remove()


async def _measure(url: str, directory: Path, options: argparse.Namespace, console: Console) -> float:
    database = Database(url)
    await upgrade(database.engine)
    console.print(f"filling in {options.calls:,} calls")
    began = time.monotonic()
    calls = await fill(database, options.calls)
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE" if options.sqlite else "VACUUM ANALYZE"))
    await database.close()
    console.print(
        f"in {time.monotonic() - began:.0f} s; asking {options.rate:g} times a second for {options.seconds:g} s"
    )
    load = Load(calls, random.Random(1))
    async with centre_process(directory / "state", url) as (session, _):
        await Load(calls, random.Random(2)).run(session, options.rate / 3, 3)  # connections, compiled statements
        await load.run(session, options.rate, options.seconds)
    if load.failed:
        raise AssertionError(load.failed[:5])
    table = Table(title=f"{options.rate:g} requests a second, {options.calls:,} calls")
    for column in ("", "requests", "median ms", "p95 ms", "p99 ms", "slowest ms"):
        table.add_column(column, justify="right" if column else "left")
    every = [one for values in load.took.values() for one in values]
    for kind, values in [*sorted(load.took.items()), ("all", every)]:
        cells = (f"{quantile(values, share):.1f}" for share in (0.5, 0.95, 0.99, 1.0))
        table.add_row(kind, f"{len(values):,}", *cells)
    console.print(table)
    return quantile(every, 0.99)


@asynccontextmanager
async def centre_process(state: Path, url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    """A centre on this database, and a session with a token; the port of its bus."""
    bus_port = free_port()
    environment = {
        **os.environ,
        "CALLPLANE_CENTRE_STATE_DIR": str(state),
        "CALLPLANE_CENTRE_DATABASE_URL": url.replace("+asyncpg", "").replace("+aiosqlite", ""),
        "CALLPLANE_CENTRE_API_PORT": "0",
        "CALLPLANE_CENTRE_BUS_PORT": str(bus_port),
        "CALLPLANE_CENTRE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "orchestrator.cli", "centre", "run"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        token = (await process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
        port = await until(lambda: _port(state), 30)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers, connector=connector) as session:
            yield session, bus_port
    finally:
        process.terminate()
        await process.wait()


def _port(state: Path) -> int:
    file = state / "centre.port"
    return int(file.read_text()) if file.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--sqlite", action="store_true")
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    p99_ms = asyncio.run(main_async(options, console))
    console.print(f"budget: p99 {BUDGET_MS:g} ms")
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("api", p99_ms=p99_ms) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
