"""``make bench-sync``: how long a change of configuration takes from the API to a hundred POPs.

The centre is a process of its own on PostgreSQL with its own nats-server; a second process holds the links of 100
POPs, each with its login, its subscription and its journal on disk, as on the POPs. Queues are changed one after the
other, every change goes to all POPs, and a time is from sending the request to the moment at which one POP has the
new value in its journal and its controller is told.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pbx.wire.messages import ConfigEntry
from tests.bench.api import centre_process, quantile
from tests.bench.machine import describe, summary_line
from tests.integration.centre.conftest import Postgres
from tests.integration.centre.support import QUEUE, Api, pop, until

BUDGET_MS = 1000.0
QUEUES = 10


async def main_async(pops: int, changes: int, console: Console) -> float:
    postgres = Postgres(options="")
    try:
        with tempfile.TemporaryDirectory(prefix="callplane-bench-") as name:
            return await _measure(await postgres.new_database(), Path(name), pops, changes, console)
    finally:
        postgres.stop()
        postgres.remove()


async def _measure(url: str, directory: Path, pops: int, changes: int, console: Console) -> float:
    async with centre_process(directory / "state", url) as (session, bus_port), contextlib.AsyncExitStack() as stack:
        api = Api(session)
        for number in range(QUEUES):
            await api.made("/queues", {**QUEUE, "queue_id": f"q{number}"})
        console.print(f"making {pops} POPs")
        names = [f"pop-{number}" for number in range(pops)]
        keys = {name: await api.new_pop(name) for name in names}
        sites = [
            await stack.enter_async_context(pop(directory / name / "j.db", bus_port, keys[name], name))
            for name in names
        ]
        heard: dict[str, list[float]] = {}

        def listen(key: str, entry: ConfigEntry | None) -> None:
            if entry is not None and (name := getattr(entry.entity, "name", "")) in heard:
                heard[name].append(time.monotonic())

        await until(lambda: all(len(site.journal.config()) == QUEUES for site in sites), 120)
        for site in sites:
            site.handler.config_changed = listen  # type: ignore[method-assign]
        took: list[float] = []
        answered: list[float] = []
        for number in range(changes):
            name, began = f"change {number}", time.monotonic()
            heard[name] = []
            answer = await api.put(f"/queues/q{number % QUEUES}", {"name": name})
            answered.append(1000 * (time.monotonic() - began))
            if answer.status != 200:
                raise AssertionError(answer.body)
            await until(lambda name=name: len(heard[name]) == pops, 30)
            took += [1000 * (at - began) for at in heard[name]]
        table = Table(title=f"{changes} changes to {pops} POPs")
        for column in ("ms", "median", "p95", "p99", "slowest"):
            table.add_column(column, justify="right" if column != "ms" else "left")
        for title, values in (("answered by the API", answered), ("applied by a POP", took)):
            table.add_row(title, *(f"{quantile(values, share):.0f}" for share in (0.5, 0.95, 0.99, 1.0)))
        console.print(table)
        return quantile(took, 0.99)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pops", type=int, default=100)
    parser.add_argument("--changes", type=int, default=100)
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    p99_ms = asyncio.run(main_async(options.pops, options.changes, console))
    console.print(f"budget: p99 {BUDGET_MS:g} ms")
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("sync", pops=options.pops, p99_ms=p99_ms) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
