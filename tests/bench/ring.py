"""``make bench-ring``: an agent becomes free, and the phone of the agent rings.

The times are those of the agent's POP's journal: from the moment the agent is IDLE until the phone has said that it
rings (SIP 180), while callers wait all the time. First callers and agents are at one POP; then the queue spans two
POPs, all callers are at one and all agents at the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.machine import describe, summary_line
from tests.lab.errors import LabError, wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.second_pop import QUEUE, SECOND_ID, SecondPop, two_pops
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, POP_ID, Stack

TALK_MS = 1500
DEADLINE_S = 90
SETTINGS = {**QUEUE, "wrap_up_s": 0, "announce_every_s": 600, "max_waiting": 5000}


def ring_times_ms(state_dir: Path, after: int) -> list[float]:
    """From IDLE, after a conversation, to RINGING of each agent, as the journal has it after the event ``after``. One
    whose phone could not be rung is left alone for 5 s on purpose: that is not counted."""
    free: dict[str, float] = {}
    former: dict[str, str] = {}
    found = []
    for event in _changes(state_dir, after):
        agent = event["agent_id"]
        was, former[agent] = former.get(agent), event["state"]
        if event["state"] == "IDLE":
            free.pop(agent, None)
            if event["status"] == "AVAILABLE" and was == "WRAP_UP":
                free[agent] = event["at"]
        elif event["state"] == "RINGING" and agent in free:
            found.append((event["at"] - free.pop(agent)) * 1000)
    return found


def _changes(state_dir: Path, after: int) -> list[dict[str, Any]]:
    path = state_dir / "controller" / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT data FROM events WHERE kind = 'AgentChanged' AND seq > ? ORDER BY seq", (after,))
        return [json.loads(data) for (data,) in rows]


def p99(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, round(len(times) * 0.99))]


@contextlib.asynccontextmanager
async def second_agents(second: SecondPop, count: int) -> AsyncIterator[None]:
    """Agents of the second POP on one sipp, registered and AVAILABLE."""
    api, users = second.stack.api, {}
    agents = []
    for number in range(count):
        name = f"far{number:03}"
        body = {"name": name, "phone_id": name, "skills": {"support": 3}, "country": "DE", "pop_id": SECOND_ID}
        made = await api.post("agents", body)
        users[name] = made["sip"]["password"]
        agents.append(made["agent_id"])
    await second.synced()
    with Sipp.agents(second.phones, ring_ms=100, talk_ms=TALK_MS) as answering:
        register = Sipp.register(second.phones, second.host.address, users, contact_port=answering.port)
        (await asyncio.to_thread(register.finish, 60)).require_success(count)
        for agent_id in agents:
            await api.post(f"agents/{agent_id}/status", {"status": "AVAILABLE"})
        yield
        for agent_id in agents:
            await api.post(f"agents/{agent_id}/status", {"status": "LOGGED_OUT"})


async def measure(stack: Stack, state_dir: Path, offers: int, first: int) -> list[float]:
    """Callers wait all the time until there are enough rings."""
    numbers = [(f"+4917{first + number:08}", DID) for number in range(offers + 40)]
    callers = Sipp.callers(stack.carrier, stack.pop.address, numbers, rate=25, at_once=60, hold_ms=None)
    try:
        enough = lambda: len(ring_times_ms(state_dir, 0)) >= offers  # noqa: E731
        await asyncio.to_thread(wait_until, enough, DEADLINE_S, f"{offers} rings", stack.logs)
    finally:
        callers.stop()
    return ring_times_ms(state_dir, 0)[:offers]


async def run(lab: Lab, agents: int, offers: int) -> tuple[list[float], list[float]]:
    async with two_pops(lab, QUEUE_FLOW) as (stack, second):
        await stack.api.ask("PUT", "queues/support", SETTINGS)
        await stack.synced()
        async with stack.sipp_agents(agents, ring_ms=100, talk_ms=TALK_MS):
            within = await measure(stack, stack.pop.state_dir, offers, 0)
            for name in stack.agents:
                await stack.status(name, "LOGGED_OUT")
        await stack.api.ask("PUT", "queues/support", {**SETTINGS, "pops": [POP_ID, SECOND_ID]})
        await stack.synced()
        await second.synced()
        async with second_agents(second, agents):
            across = await measure(stack, second.host.state_dir, offers, 1_000_000)
        if len(across) < offers:
            raise LabError("too few calls crossed")
        return within, across


def show(console: Console, measured: dict[str, list[float]]) -> None:
    table = Table(title="agent free until the phone rings, ms")
    for title in ("", "rings", "p50", "p99", "max"):
        table.add_column(title, justify="right" if title else "left")
    for name, times in measured.items():
        row = (sorted(times)[len(times) // 2], p99(times), max(times))
        table.add_row(name, str(len(times)), *(f"{value:.1f}" for value in row))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10, choices=range(1, 101), metavar="N")
    parser.add_argument("--offers", type=int, default=200, choices=range(10, 2001), metavar="N")
    args = parser.parse_args()
    console = Console()
    console.print(f"machine: {describe()}")
    with Lab.start() as lab:
        within, across = asyncio.run(run(lab, args.agents, args.offers))
    show(console, {"within a POP": within, "across POPs": across})
    console.print(f"machine: {describe()}")
    sys.stdout.write(summary_line("ring", p99_ms=p99(within), p99_cross_ms=p99(across)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
