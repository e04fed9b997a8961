"""Queued, rung, bridged and ended calls on Callplane and on the media server's own queue, in turn.

Same run, same release, same modules, same agents, same callers: ours, theirs, ours, theirs. Callers and agents are
sipp; a call waits with music, an agent's phone rings and answers, talks, hangs up, and the agent is free again at once.
Ours is the whole product: journal, link, and a centre that ingests every event (its CPU is shown apart; it runs
elsewhere in production). CPU is user plus system time of the processes over the calls, by the kernel's accounting.

Nobody says anything unless ``--sound`` is given: then agents send a tone as long as they talk, and callers echo it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from dialplans.schema import Engine, Pop
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount
from tests.bench.machine import describe, summary_line
from tests.lab.errors import LabError
from tests.lab.flows import QUEUE_FLOW
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.media_server import MediaServer
from tests.lab.process import Process
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack, pop_settings

WRAP_UP_S, RING_TIMEOUT_S = 0, 15


@dataclass(frozen=True, slots=True)
class Plan:
    rate: float
    calls: int
    ring_ms: int
    talk_ms: int


@dataclass(frozen=True, slots=True)
class Rival:
    """The media server's own queue. ``start`` starts it with these agents; ``plans``: agents -> what they can take;
    ``sessions``: how many channels a server has had so far, where it can say so; ``bare``: starts a server that bridges
    without any queue, the least that a call can cost there."""

    name: str
    title: str
    engine: Engine
    plans: Mapping[int, Plan]
    start: Callable[[Host, Lab, Pop, Iterable[PhoneAccount]], MediaServer]
    sessions: Callable[[MediaServer], int] | None = None
    bare: Callable[[Host, Lab, Pop, Iterable[PhoneAccount]], MediaServer] | None = None


@dataclass(slots=True)
class Turn:
    """One turn's figures; CPU in milliseconds per call."""

    calls_s: float
    server_ms: float
    controller_ms: float
    centre_ms: float
    answer_p99_ms: float
    legs: float
    """Agents' legs per caller, 0 where the server does not say."""

    @property
    def total_ms(self) -> float:
        return self.server_ms + self.controller_ms


@dataclass(slots=True)
class Contest:
    """One number of agents, on both."""

    rival: Rival
    stack: Stack
    plan: Plan
    sound: bool = False

    async def turn(self, server: MediaServer, target: str, others: list[Process]) -> Turn:
        """Place the plan's calls at ``target`` and wait for their end. Raises LabError when one of them failed."""
        plan, sessions = self.plan, self.rival.sessions or (lambda _: 0)
        processes = [server.process, *others]
        legs = sessions(server)
        before = [process.cpu_seconds() for process in processes]
        numbers = [(f"+4917{number:08}", DID) for number in range(plan.calls)]
        callers = Sipp.callers(
            self.stack.carrier, target, numbers, rate=plan.rate, at_once=2000, hold_ms=None, echo=self.sound
        )
        try:
            result = (await asyncio.to_thread(callers.finish, plan.calls / plan.rate + 60)).require_success(plan.calls)
        except LabError as error:
            raise LabError(
                f"{plan.rate:g} calls/s failed; where both processors were busy it was an overload, no measurement: "
                f"try again when the machine is faster, or idle ({error})"
            ) from error
        await asyncio.to_thread(server.wait_idle)
        spent = [1000 * (p.cpu_seconds() - was) / plan.calls for p, was in zip(processes, before, strict=True)]
        server_ms, controller_ms, centre_ms = [*spent, 0.0, 0.0][:3]
        return Turn(
            calls_s=plan.calls / result.elapsed_s,
            server_ms=server_ms,
            controller_ms=controller_ms,
            centre_ms=centre_ms,
            answer_p99_ms=result.answer_quantile_ms(0.99),
            legs=max(0, sessions(server) - legs - plan.calls) / plan.calls,
        )


async def compare(
    lab: Lab, rival: Rival, agents: int, plan: Plan, rounds: int, console: Console, sound: bool
) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """``rounds`` turns of ours, theirs and, where there is one, the bare bridge, alternating."""
    queue = {"wrap_up_s": WRAP_UP_S, "recorded": False, "ring_timeout_s": RING_TIMEOUT_S}
    async with Stack.start(lab, flow=QUEUE_FLOW, queue=queue, engine=rival.engine) as stack:
        console.print(f"{agents} agents: creating, registering, logging in")
        sound_ms = plan.talk_ms if sound else 0
        async with stack.sipp_agents(
            agents, ring_ms=plan.ring_ms, talk_ms=plan.talk_ms, sound_ms=sound_ms
        ) as answering:
            users = {agent.phone_id: agent.password for agent in stack.agents.values()}
            accounts = [_account(a.phone_id, a.password) for a in stack.agents.values()]
            others: list[tuple[Host, MediaServer, list[Turn]]] = []
            for name, start in (("queue", rival.start), ("bare", rival.bare)):
                if start is not None:
                    host = lab.host(f"{agents}-{name}")
                    settings = pop_settings(host, stack.carrier, engine=rival.engine)
                    others.append((host, start(host, lab, settings, accounts), []))
                    register = Sipp.register(stack.phones, host.address, users, contact_port=answering.port)
                    (await asyncio.to_thread(register.finish, 60)).require_success(agents)
            contest = Contest(rival, stack, plan, sound)
            ours: list[Turn] = []
            for number in range(rounds):
                console.print(
                    f"{agents} agents, {plan.rate:g} calls/s, {plan.calls} calls, turn {number + 1} of {rounds}"
                )
                both = [stack.controller, stack.orchestrator]
                ours.append(await contest.turn(stack.server, stack.pop.address, both))
                for host, server, turns in others:
                    turns.append(await contest.turn(server, host.address, []))
            for _, server, _ in others:
                server.stop()
            return ours, others[0][2], others[1][2] if len(others) > 1 else []


def _account(user: str, password: str) -> PhoneAccount:
    ha1 = hashlib.md5(f"{user}:callplane:{password}".encode(), usedforsecurity=False).hexdigest()
    return PhoneAccount(PhoneId(user), ha1)


def show(console: Console, rival: Rival, agents: int, ours: list[Turn], theirs: list[Turn], bare: list[Turn]) -> str:
    """Print the table; returns the summary line, of medians."""
    columns = {
        "calls_s": "calls/s",
        "server_ms": "server ms",
        "controller_ms": "controller ms",
        "total_ms": "together ms",
        "answer_p99_ms": "answer p99 ms",
        "centre_ms": "centre ms",
    }
    if rival.sessions is not None:
        columns["legs"] = "legs/call"
    table = Table(title=f"CPU per call, {agents} agents (medians of {len(ours)} turns)")
    for column in ("", *columns.values()):
        table.add_column(column, justify="right", no_wrap=True)

    def median(turns: list[Turn], name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in turns))

    for title, turns in (("Callplane", ours), (rival.title, theirs), ("bridge alone", bare)):
        if not turns:
            continue
        table.add_row(title, *(f"{median(turns, name):.{3 if name == 'legs' else 2}f}" for name in columns))
    console.print(table)
    pairs = list(zip(ours, theirs, strict=True))
    ratio = statistics.median(a.total_ms / b.total_ms for a, b in pairs)
    return summary_line(
        rival.name,
        agents=agents,
        calls_s=median(ours, "calls_s"),
        ours_ms=median(ours, "total_ms"),
        controller_ms=median(ours, "controller_ms"),
        queue_ms=median(theirs, "total_ms"),
        ratio=ratio,
        # For comparing machines; it does not replace the budget in milliseconds.
        controller_ratio=statistics.median(a.controller_ms / b.total_ms for a, b in pairs),
        **({"bare_ms": median(bare, "total_ms")} if bare else {}),
    )


def main(rival: Rival, description: str | None) -> int:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=list(rival.plans), choices=list(rival.plans))
    parser.add_argument("--rounds", type=int, default=2, choices=range(1, 10), metavar="N")
    parser.add_argument("--rate", type=float, help="calls per second instead of the plan's")
    parser.add_argument("--sound", action="store_true", help="agents and callers send sound while they talk")
    if rival.engine == "asterisk":
        parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk, 22.5 or newer")
    options = parser.parse_args()
    console = Console(width=max(130, Console().width))
    console.print(f"machine: {describe()}")
    lines = []
    with Lab.start(asterisk=getattr(options, "asterisk", None)) as lab:
        for agents in options.agents:
            plan = replace(rival.plans[agents], rate=options.rate) if options.rate else rival.plans[agents]
            ours, theirs, bare = asyncio.run(compare(lab, rival, agents, plan, options.rounds, console, options.sound))
            lines.append(show(console, rival, agents, ours, theirs, bare))
    console.print(f"machine: {describe()}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
