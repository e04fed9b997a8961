"""``make bench-call``: CPU per queued, rung, bridged and ended call, ours against Asterisk's own Queue().

Same run, same release, same modules, same agents, same callers, in turn: ours, Queue(), ours, Queue(). Callers and
agents are sipp; a call waits with music, an agent's phone rings and answers, talks, hangs up, and the agent is free
again at once. 1000 agents talk for 3 s; 10 agents talk for 0.3 s, or they could not take more than 3 calls a second
and the figures would be those of two idle programs. Ours is the whole product: journal, link, and a centre that
ingests every event (its CPU is shown apart; it runs elsewhere in production). CPU is user plus system time of the
processes over the calls, by the kernel's accounting.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import app_queue
from tests.bench.machine import describe, summary_line
from tests.lab.lab import Lab
from tests.lab.media_server import MediaServer
from tests.lab.process import Process
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, QUEUE_FLOW, Stack, pop_settings

WRAP_UP_S, RING_TIMEOUT_S = 0, 15


@dataclass(frozen=True, slots=True)
class Plan:
    rate: float
    calls: int
    ring_ms: int
    talk_ms: int


PLANS = {10: Plan(15.0, 450, 100, 300), 1000: Plan(80.0, 1600, 200, 3000)}
"""Agents -> what that many agents can take."""


@dataclass(slots=True)
class Turn:
    """One turn's figures; CPU in milliseconds per call."""

    calls_s: float
    server_ms: float
    controller_ms: float = 0.0
    centre_ms: float = 0.0
    answer_p99_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        return self.server_ms + self.controller_ms


async def turn(stack: Stack, server: MediaServer, target: str, plan: Plan, others: list[Process]) -> Turn:
    """Place the plan's calls at ``target`` and wait for their end. Raises LabError when one of them failed."""
    processes = [server.process, *others]
    before = [process.cpu_seconds() for process in processes]
    numbers = [(f"+4917{number:08}", DID) for number in range(plan.calls)]
    callers = Sipp.callers(stack.carrier, target, numbers, rate=plan.rate, at_once=2000, hold_ms=None)
    result = (await asyncio.to_thread(callers.finish, plan.calls / plan.rate + 60)).require_success(plan.calls)
    await asyncio.to_thread(server.wait_idle)
    spent = [1000 * (process.cpu_seconds() - was) / plan.calls for process, was in zip(processes, before, strict=True)]
    server_ms, controller_ms, centre_ms = [*spent, 0.0, 0.0][:3]
    return Turn(plan.calls / result.elapsed_s, server_ms, controller_ms, centre_ms, result.answer_quantile_ms(0.99))


async def compare(lab: Lab, agents: int, plan: Plan, rounds: int, console: Console) -> tuple[list[Turn], list[Turn]]:
    """``rounds`` turns of each, alternating."""
    queue = {"wrap_up_s": WRAP_UP_S, "recorded": False, "ring_timeout_s": RING_TIMEOUT_S}
    prefix = f"{agents}-"
    async with Stack.start(lab, prefix=prefix, flow=QUEUE_FLOW, queue=queue) as stack:
        console.print(f"{agents} agents: creating, registering, logging in")
        async with stack.sipp_agents(agents, ring_ms=plan.ring_ms, talk_ms=plan.talk_ms) as answering:
            rival = lab.host(f"{prefix}queue")
            rival.bind(_prompts(stack))
            phones = [(a.phone_id, _ha1(a.phone_id, a.password)) for a in stack.agents.values()]
            settings = pop_settings(rival, stack.carrier)
            server = app_queue.start(rival, lab, settings, phones, RING_TIMEOUT_S, WRAP_UP_S)
            users = {agent.phone_id: agent.password for agent in stack.agents.values()}
            register = Sipp.register(stack.phones, rival.address, users, contact_port=answering.port)
            (await asyncio.to_thread(register.finish, 60)).require_success(agents)
            ours: list[Turn] = []
            theirs: list[Turn] = []
            for number in range(rounds):
                console.print(
                    f"{agents} agents, {plan.rate:g} calls/s, {plan.calls} calls, turn {number + 1} of {rounds}"
                )
                both = [stack.controller, stack.orchestrator]
                ours.append(await turn(stack, stack.server, stack.pop.address, plan, both))
                theirs.append(await turn(stack, server, rival.address, plan, []))
            server.stop()
            return ours, theirs


def _prompts(stack: Stack) -> Path:
    return Path(stack.settings.prompt_dir)


def _ha1(user: str, password: str) -> str:
    return hashlib.md5(f"{user}:callplane:{password}".encode(), usedforsecurity=False).hexdigest()


def show(console: Console, agents: int, ours: list[Turn], theirs: list[Turn]) -> str:
    """Print the table; returns the summary line, of medians."""
    table = Table(title=f"CPU per call, {agents} agents (medians of {len(ours)} turns)")
    for column in ("", "calls/s", "server ms", "controller ms", "together ms", "answer p99 ms", "centre ms"):
        table.add_column(column, justify="right", no_wrap=True)

    def median(turns: list[Turn], name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in turns))

    names = ("calls_s", "server_ms", "controller_ms", "total_ms", "answer_p99_ms", "centre_ms")
    for title, turns in (("Callplane", ours), ("Queue()", theirs)):
        table.add_row(title, *(f"{median(turns, name):.2f}" for name in names))
    console.print(table)
    ratio = statistics.median(a.total_ms / b.total_ms for a, b in zip(ours, theirs, strict=True))
    return summary_line(
        "call",
        agents=agents,
        calls_s=median(ours, "calls_s"),
        ours_ms=median(ours, "total_ms"),
        controller_ms=median(ours, "controller_ms"),
        queue_ms=median(theirs, "total_ms"),
        ratio=ratio,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=list(PLANS), choices=list(PLANS))
    parser.add_argument("--rounds", type=int, default=2, choices=range(1, 10), metavar="N")
    parser.add_argument("--rate", type=float, help="calls per second instead of the plan's")
    parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk, 22.5 or newer")
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    lines = []
    with Lab.start(asterisk=options.asterisk) as lab:
        for agents in options.agents:
            plan = replace(PLANS[agents], rate=options.rate) if options.rate else PLANS[agents]
            ours, theirs = asyncio.run(compare(lab, agents, plan, options.rounds, console))
            lines.append(show(console, agents, ours, theirs))
    console.print(f"machine: {describe()}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
