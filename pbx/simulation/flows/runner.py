"""Runs cases: the real core and controller, the simulated media server, and a clock that jumps."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dialplans.pack import PackError, load_pack
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.memory.engine import Callee, Caller, SimulatedEngine
from pbx.bootstrap import PlannedNumbers, dialling_of, fresh_vault, holidays_of, regimes
from pbx.controller.config_store import ConfigStore
from pbx.controller.pop import Pop
from pbx.domain.call import Call
from pbx.domain.dialling import Dialling
from pbx.domain.e164 import cli_of
from pbx.domain.flow import parse
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import FlowId, LegId, PopId
from pbx.domain.queue_step import Phase, QueueStep
from pbx.domain.variables import text_of
from pbx.recording.recorder import Recorder
from pbx.simulation.flows.case_file import (
    FLOW_ID,
    AgentAnswers,
    AgentHangsUp,
    AtNode,
    Case,
    HangsUp,
    HasVariables,
    Hears,
    HungUp,
    InQueue,
    NumberAnswers,
    Presses,
    Step,
    Suite,
    Waits,
)
from pbx.simulation.flows.files import Unusable
from pbx.simulation.flows.surroundings import ScriptedLookups
from pbx.simulation.virtual_time import VirtualTimeLoop
from pbx.wire import messages as wire

PATIENCE_S = 120.0
"""How long a step waits for what it expects; virtual seconds."""
TICK_S = 0.05
AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Failure:
    step: Step
    expected: str
    happened: str
    heard: tuple[str, ...]
    node: str | None
    """Where the call was; None before it is in the flow."""

    def __str__(self) -> str:
        heard = ", ".join(self.heard) or "nothing"
        return (
            f"step {self.step.number} ({self.step.text}): expected {self.expected}; {self.happened}. "
            f"Heard so far: {heard}. At node: {self.node or 'none yet'}."
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    case: Case
    failure: Failure | None
    seconds: float
    """How long the call took; virtual, unless it was a real one."""
    skipped: str | None = None
    """Why it was not run."""


class Unmet(Exception):
    """A step that does not find what it expects."""

    def __init__(self, expected: str, happened: str) -> None:
        super().__init__(expected)
        self.expected, self.happened = expected, happened


def run_suite(suite: Suite) -> list[Outcome]:
    """Every case on a POP of its own."""
    return [run_case(suite, case) for case in suite.cases]


def run_case(suite: Suite, case: Case) -> Outcome:
    """Takes no real time but the computer's own."""
    with (
        tempfile.TemporaryDirectory(prefix="callplane-flow-") as directory,
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
    ):
        return runner.run(_Run(suite, case, Path(directory)).run())


def _dialling(country: str) -> Dialling:
    """Any number that may be called at all may be called from a case, as from a POP of the DID's country."""
    try:
        return dialling_of(load_pack(country), prefixes=("+",))
    except PackError:
        return Dialling()


def _later(clock: Callable[[], float], by_s: float) -> float:
    return clock() + by_s


class _Run:
    def __init__(self, suite: Suite, case: Case, directory: Path) -> None:
        self.suite, self.case, self.directory = suite, case, directory
        self.asserted = 0
        """How many prompts the steps so far have named."""

    async def run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualTimeLoop):
            raise TypeError("a case runs in virtual time")
        self.clock = partial(_later, loop.wall, 0.0 if self.case.at is None else self.case.at - loop.wall())
        async with AsyncExitStack() as stack:
            await self._open(stack)
            began = self.clock()
            self.caller: Caller = self.engine.call(
                self.suite.did.number, cli_of(self.suite.cli), self.suite.country, "simulated"
            )
            (actor,) = self.pop.calls.values()
            self.call: Call = actor.call
            failure = None
            for step in self.case.steps:
                try:
                    await self._do(step)
                except Unmet as unmet:
                    failure = Failure(step, unmet.expected, unmet.happened, tuple(self._prompts()), self.call.node)
                    break
            seconds = self.clock() - began
            if self.caller.cause is None:
                self.caller.hang_up()
            await self._until(lambda: not self.pop.calls)
            return Outcome(self.case, failure, seconds)

    async def _open(self, stack: AsyncExitStack) -> None:
        graphs = {FLOW_ID: dict(self.suite.graph), **self.suite.flows}
        flows = [parse(FlowId(flow_id), 1, graph) for flow_id, graph in graphs.items()]
        spoken = ((prompt, language) for flow in flows for prompt in flow.prompt_ids() for language in flow.languages)
        prompts = dict.fromkeys(spoken, "simulated")
        recordings = self.directory / "recording"
        recordings.mkdir()
        self.engine = SimulatedEngine(self.clock)
        vault = fresh_vault(self.directory, {self.suite.did.region})
        recorder = Recorder(self.engine, vault, recordings, self.clock)
        for number, refusal in self.suite.numbers.items():
            self.engine.callees[number] = Callee(number, refusal)
        config = ConfigStore(regimes(), prompts, holidays_of, dialling=_dialling(self.suite.did.country))
        journal = SqliteJournal(self.directory / "journal.sqlite")
        lookups = ScriptedLookups(self.case.lookups, lambda: self.call.node)
        self.pop = Pop(
            PopId("simulated"),
            self.engine,
            journal,
            recorder,
            vault,
            config,
            self.clock,
            lookups=lookups,
            numbers=PlannedNumbers("00:00-24:00"),
        )
        entities: list[tuple[str, wire.EntityConfig]] = [
            *((f"flow.{name}", wire.FlowConfig(flow_id=name, version=1, graph=graphs[name])) for name in graphs),
            *((f"queue.{queue.queue_id}", queue) for queue in self.suite.queues),
            ("did.tested", self.suite.did),
            (f"agent.{AGENT}", wire.AgentConfig(
                agent_id=AGENT, name=AGENT, phone_id=AGENT, ha1="0" * 32, skills={}, country=self.suite.did.country
            )),
        ]  # fmt: skip
        for revision, (key, entity) in enumerate(entities, 1):
            self.pop.config_changed(key, wire.ConfigEntry(revision=revision, entity=entity))
        for key, reason in config.errors.items():
            raise Unusable(key, reason)
        await self.pop.start(None)
        stack.push_async_callback(self.pop.stop)
        self.engine.phone(AGENT)

    # --- the steps --------------------------------------------------------------------------------------------------

    async def _do(self, step: Step) -> None:
        match step.action:
            case Hears(prompts=prompts):
                for prompt in prompts:
                    await self._hears(prompt)
            case Presses(digits=digits):
                for digit in digits:
                    await self._settle()
                    self._must_live(f"a call in which to press {digit}")
                    self.caller.press(digit)
                await self._settle()
            case Waits(seconds=seconds):
                await asyncio.sleep(seconds)
            case AgentAnswers():
                await self._agent_answers()
            case NumberAnswers(number=number):
                rung = self.engine.callees[number]
                await self._expect(lambda: rung.leg_id in self.engine.legs, f"number {number} being rung")
                self.engine.pick_up(rung.leg_id or LegId(""))
                await self._expect(lambda: self.caller.hears == "talk", f"the caller talking to {number}")
            case AgentHangsUp():
                await self._agent_hangs_up()
            case HangsUp():
                self._must_live("a call to hang up")
                self.caller.hang_up()
                await self._settle()
            case AtNode(node=node):
                await self._expect(lambda: self.call.node == node, f"the call at node {node}")
                if self.caller.cause is not None:
                    raise Unmet(f"the call at node {node}", self._state())
            case HasVariables(values=values):
                await self._settle()
                for name, value in values.items():
                    wanted, found = text_of(value), text_of(self.call.context.read(name))
                    if wanted != found:
                        raise Unmet(f"variable {name} as {wanted or 'not set'}", f"it is {found or 'not set'}")
            case InQueue(queue_id=queue_id):
                await self._expect(lambda: self._queue() == queue_id, f"the call in queue {queue_id}")
            case HungUp(cause=cause):
                await self._expect(lambda: self.caller.cause is not None, f"the call hung up with {cause.name}")
                if self.caller.cause is not cause:
                    raise Unmet(f"the call hung up with {cause.name}", self._state())

    async def _hears(self, prompt: str) -> None:
        await self._expect(lambda: len(self._prompts()) > self.asserted, f"prompt {prompt}")
        heard = self._prompts()[self.asserted]
        if prompt not in (heard, heard.partition("/")[2]):
            raise Unmet(f"prompt {prompt}", f"the caller heard {heard}")
        self.asserted += 1

    async def _agent_answers(self) -> None:
        await self._expect(lambda: self._queue() is not None, "a call that waits for an agent")
        available = wire.SetAgentStatus(agent_id=AGENT, status="AVAILABLE")
        reply = await self.pop.command(
            wire.CommandRequest(idempotency_key="1", deadline_at=self.clock() + 1, command=available)
        )
        if reply.error_id is not None:
            raise AssertionError(reply.detail)
        await self._expect(lambda: self.caller.hears == "talk", "the caller talking to the agent")

    async def _agent_hangs_up(self) -> None:
        talk = self.call.talk
        if talk is None:
            raise Unmet("an agent who talks to the caller", self._state())
        self.engine.end_leg(self.engine.legs[talk.seat.leg], HangupCause.NORMAL_CLEARING)
        await self._settle()

    # --- what there is to see -----------------------------------------------------------------------------------------

    def _prompts(self) -> list[str]:
        """``language/prompt`` in order; music is no prompt."""
        return [heard for heard in self.caller.heard if not heard.startswith("music:")]

    def _queue(self) -> str | None:
        """The queue in which the call waits, or out of which it came to an agent."""
        step = self.call.step
        if self.caller.cause is not None:
            return None
        if self.call.talk is not None:
            return self.call.talk.seat.queue_id
        if not isinstance(step, QueueStep):
            return None
        return None if step.phase in (Phase.JOINING, Phase.LEAVING) else step.node.queue_id

    def _state(self) -> str:
        if self.caller.cause is not None:
            return f"the call was hung up with {self.caller.cause.name}"
        hears = self.caller.hears
        return f"the call goes on, the caller hears {'nothing' if hears is None else hears}"

    def _must_live(self, expected: str) -> None:
        if self.caller.cause is not None:
            raise Unmet(expected, self._state())

    async def _settle(self) -> None:
        """Let the controller act on what has happened."""
        await asyncio.sleep(TICK_S)

    async def _until(self, condition: Callable[[], bool]) -> bool:
        end = self.clock() + PATIENCE_S
        while not condition():
            if self.clock() > end:
                return False
            await asyncio.sleep(TICK_S)
        return True

    async def _expect(self, condition: Callable[[], bool], expected: str) -> None:
        await self._until(lambda: condition() or self.caller.cause is not None)
        if not condition():
            raise Unmet(expected, self._state())
