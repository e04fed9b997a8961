"""``make bench-ingest``: events of ten POPs into PostgreSQL, with what is made of them: records, agents' times, sums.

The events wait on a real nats-server, published by the POPs' own logins in batches as their links make of a backlog;
then the centre is started as a process of its own and takes them in. PostgreSQL syncs every commit to disk. Counted
is from the first event in the table to the last one, projections included: both are one transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table

from orchestrator.adapters.bus.accounts import Listen, Login
from orchestrator.adapters.bus.client import Address, Bus
from orchestrator.adapters.bus.server import EmbeddedServer
from pbx.adapters.link.nats import _Client, _fitting
from pbx.wire import pop_key, subjects
from pbx.wire.messages import EventBatch, EventEnvelope, PromptChunk, PromptRequest
from tests.bench.machine import describe, summary_line
from tests.bench.traffic import Traffic, journal
from tests.integration.centre.conftest import Postgres
from tests.support.ports import free_port

POPS = 10
BUDGET_EVENTS_S = 5000
CALLS_S = 22.0
"""Of each POP: together about 5,000 events a second, were it not a backlog."""
WAIT_S = 600.0


async def main_async(calls: int, console: Console) -> float:
    postgres = Postgres(options="-c shared_buffers=256MB -c max_wal_size=4GB")
    try:
        with tempfile.TemporaryDirectory(prefix="callplane-bench-") as name:
            return await _measure(postgres, Path(name), calls, console)
    finally:
        postgres.stop()
        postgres.remove()


async def _measure(postgres: Postgres, directory: Path, calls: int, console: Console) -> float:
    keys = {f"pop-{n}": pop_key.new_key() for n in range(POPS)}
    (directory / "bus").mkdir()
    server = EmbeddedServer(directory / "bus", Listen("127.0.0.1", free_port()))
    await server.start([Login(pop_id, pop_key.public_nkey(key)) for pop_id, key in keys.items()])
    try:
        await _make_stream(server)
        journals = {
            pop_id: journal(Traffic(n), n, calls // POPS, time.time() - 7200, CALLS_S) for n, pop_id in enumerate(keys)
        }
        total = sum(map(len, journals.values()))
        console.print(f"publishing {total:,} events of {calls:,} calls")
        await asyncio.gather(*(_publish(server.url, pop_id, keys[pop_id], journals[pop_id]) for pop_id in keys))
        url = await postgres.new_database()
        async with _centre(directory / "centre", server, url) as process:
            return await _watch(url, total, process.pid, postgres, console)
    finally:
        await server.stop()


async def _no_prompt(_asked: PromptRequest) -> PromptChunk:
    raise LookupError("nobody uploads prompts here")


async def _make_stream(server: EmbeddedServer) -> None:
    bus = Bus(Address(server.url, *server.credentials()), lambda beat: None, _no_prompt)
    running = asyncio.create_task(bus.run())
    await asyncio.wait_for(bus.wait_connected(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _publish(url: str, pop_id: str, key: str, events: list[EventEnvelope]) -> None:
    client: Client = _Client(pop_key.public_nkey(key))
    await client.connect(
        url, signature_cb=lambda nonce: pop_key.sign(key, nonce), inbox_prefix=subjects.inbox_prefix(pop_id)
    )
    at = 0
    while at < len(events):
        batch = _fitting(events[at : at + 500])
        at += len(batch)
        payload = msgspec.json.encode(EventBatch(pop_id=pop_id, journal_id=f"JOURNAL-{pop_id}", events=batch))
        answer = await client.request(subjects.events(pop_id), payload, timeout=30)
        if b"error" in answer.data:
            raise AssertionError(answer.data)
    await client.close()


@asynccontextmanager
async def _centre(state: Path, server: EmbeddedServer, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    user, password = server.credentials()
    environment = {
        **os.environ,
        "CALLPLANE_CENTRE_STATE_DIR": str(state),
        "CALLPLANE_CENTRE_DATABASE_URL": url,
        "CALLPLANE_CENTRE_API_PORT": "0",
        "CALLPLANE_CENTRE_BUS_URL": server.url.replace("nats://", f"nats://{user}:{password}@"),
        "CALLPLANE_CENTRE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "orchestrator.cli", "centre", "run"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _watch(url: str, total: int, pid: int, postgres: Postgres, console: Console) -> float:
    """Events a second."""
    connection = await asyncpg.connect(url)
    began, first, stored, deadline = 0.0, 0, 0, time.monotonic() + WAIT_S
    while stored < total:
        if time.monotonic() > deadline:
            raise AssertionError(f"only {stored} of {total} events in {WAIT_S:g} s")
        await asyncio.sleep(0.1)
        there = await connection.fetchval("SELECT to_regclass('events') IS NOT NULL")
        stored = (await connection.fetchval("SELECT max(id) FROM events") or 0) if there else 0
        if stored and not began:
            began, first, cpu = time.monotonic(), stored, _cpu_s(pid)
    took, used = time.monotonic() - began, _cpu_s(pid) - cpu
    counts = [(name, await connection.fetchval(f"SELECT count(*) FROM {name}")) for name in _TABLES]  # noqa: S608
    events = dict(counts)["events"]
    await connection.close()
    if events != total:
        raise AssertionError(f"{events} events in the table, {total} published")
    table = Table(title=f"{total - first:,} events in {took:.1f} s; the centre used {used:.1f} s of CPU")
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, rows in counts:
        table.add_row(name, f"{rows:,}")
    console.print(table)
    return (total - first) / took


_TABLES = ("events", "calls", "recordings", "agent_states", "report_facts", "report_sums")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=12_000)
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    events_s = asyncio.run(main_async(options.calls, console))
    console.print(f"budget: {BUDGET_EVENTS_S:,} events a second")
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("ingest", events_s=int(events_s)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
