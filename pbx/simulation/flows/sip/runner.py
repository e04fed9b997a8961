"""Runs cases as real calls: baresip calls the POP, the centre's events tell what became of the call, and what the phone
heard is compared with the prompts. Nothing is published or changed; real time passes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dialplans import prompts
from pbx.domain.e164 import e164
from pbx.domain.errors import BadValue
from pbx.domain.flow import parse
from pbx.domain.ids import FlowId
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
from pbx.simulation.flows.runner import Failure, Outcome, Unmet
from pbx.simulation.flows.sip import phone
from pbx.simulation.flows.sip.centre import Centre, SeenCall
from pbx.simulation.flows.sip.ear import Ear, Samples, load, read_recording
from pbx.simulation.flows.sip.phone import SipPhone

PATIENCE_S = 30.0
"""How long a step waits for what it expects; each prompt anew."""
TICK_S = 0.1
END_S = 10.0
DIGIT_S = 0.4
"""From one digit to the next: time for a prompt to be stopped and for the next node to begin."""


@dataclass(frozen=True, slots=True)
class Target:
    """``pop``: host, or host and port, where the POP takes calls from a carrier."""

    centre: str
    token_file: Path
    did: str
    pop: str
    prompts: Path | None = None

    def far_end(self) -> tuple[str, int]:
        """Raises Unusable."""
        host, _, port = self.pop.partition(":")
        if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
            raise Unusable("--pop", "must be a host, or host:port")
        return host, int(port or 5060)


def run_suite(suite: Suite, target: Target) -> list[Outcome]:
    """One case after the other. Raises Unusable when none can be run: no phone, no centre, another flow."""
    phone.program()
    return asyncio.run(_run(suite, target))


async def _run(suite: Suite, target: Target) -> list[Outcome]:
    try:
        did = e164(target.did)
    except BadValue as error:
        raise Unusable("--did", error.reason) from error
    target.far_end()
    async with Centre.open(target.centre, target.token_file) as centre:
        flow_id, published = await centre.graph_of_did(did)
        graphs = {flow_id: (suite.graph, published)}
        for other, graph in suite.flows.items():
            graphs[other] = (graph, await centre.graph(other))
        for name, (tested, there) in graphs.items():
            if tested != there:
                raise Unusable("flow", f"is not what is published as {name}; publish it first, or test what is")
        sounds = load(target.prompts or prompts.default_dir(), _spoken(suite))
        return [await _run_case(suite, case, target, centre, did, sounds) for case in suite.cases]


def _spoken(suite: Suite) -> set[tuple[str, str]]:
    flows = [parse(FlowId(name), 1, graph) for name, graph in {FLOW_ID: suite.graph, **suite.flows}.items()]
    return {(language, prompt) for flow in flows for language in flow.languages for prompt in flow.prompt_ids()}


def _cannot(suite: Suite, case: Case) -> str | None:
    """Why this case cannot be a real call."""
    if case.at is not None:
        return "'at': the POP has the time it has"
    if case.lookups:
        return "'lookups': the POP asks the real service"
    if any(isinstance(step.action, HasVariables) for step in case.steps):
        return "'variables': the POP does not tell them"
    if any(isinstance(step.action, AgentHangsUp | NumberAnswers) for step in case.steps):
        return "'agent_hangs_up', 'number_answers': who is called does as he likes"
    if suite.cli in ("withheld", "unknown"):
        return "'caller.number': a call without a number cannot be told from others"
    return None


async def _run_case(
    suite: Suite, case: Case, target: Target, centre: Centre, did: str, sounds: dict[str, Samples]
) -> Outcome:
    if (reason := _cannot(suite, case)) is not None:
        return Outcome(case, None, 0.0, reason)
    seen = SeenCall(did, suite.cli)
    began = time.monotonic()
    host, port = target.far_end()
    with tempfile.TemporaryDirectory(prefix="callplane-flow-") as directory:
        own = SipPhone.start(Path(directory), f"sip:{suite.cli}@{host}", (host, port))
        async with centre.watching(seen), own as caller:
            await caller.dial(f"sip:{did}@{host}:{port}")
            run = _Run(caller, seen, Ear(sounds))
            failure = None
            for step in case.steps:
                try:
                    await run.do(step)
                except Unmet as unmet:
                    node = seen.nodes[-1] if seen.nodes else None
                    failure = Failure(step, unmet.expected, unmet.happened, tuple(run.heard), node)
                    break
            if caller.closed is None:
                await caller.hang_up()
            if seen.call_id is not None:
                await run.until(lambda: seen.cause is not None, END_S)
    return Outcome(case, failure, time.monotonic() - began)


class _Run:
    def __init__(self, caller: SipPhone, seen: SeenCall, ear: Ear) -> None:
        self.caller, self.seen, self.ear = caller, seen, ear
        self.heard: list[str] = []
        self._walked = 0
        """Nodes that the steps so far have passed."""
        self._closed_at: float | None = None

    async def do(self, step: Step) -> None:
        seen = self.seen
        match step.action:
            case Hears(prompts=expected):
                for prompt in expected:
                    await self._hears(prompt)
            case Presses(digits=digits):
                for digit in digits:
                    await self._expect(lambda: bool(seen.nodes), f"a call in which to press {digit}")
                    self._must_live(f"a call in which to press {digit}")
                    await self.caller.press(digit)
                    await asyncio.sleep(DIGIT_S)
            case Waits(seconds=seconds):
                await asyncio.sleep(seconds)
            case AgentAnswers():
                await self._expect(lambda: seen.talking, "the caller talking to an agent")
            case HangsUp():
                await self._expect(lambda: bool(seen.nodes), "a call to hang up")
                self._must_live("a call to hang up")
                await self.caller.hang_up()
            case AtNode(node=node):
                await self._expect(lambda: node in seen.nodes[self._walked :], f"the call at node {node}")
                self._walked = seen.nodes.index(node, self._walked)
            case InQueue(queue_id=queue_id):
                await self._expect(lambda: seen.queue == queue_id, f"the call in queue {queue_id}")
            case HungUp(cause=cause):
                await self._expect(lambda: seen.cause is not None, f"the call hung up with {cause.name}")
                if seen.cause is not cause:
                    raise Unmet(f"the call hung up with {cause.name}", self._state())
            case HasVariables() | AgentHangsUp() | NumberAnswers():
                raise AssertionError("such a case is not run")

    async def _hears(self, prompt: str) -> None:
        found: list[str] = []

        def listen() -> bool:
            path = self.caller.recording()
            # A call that is over still has prompts that have not been looked at.
            name = self.ear.next(read_recording(path), over=self.caller.closed is not None) if path else None
            if name is not None:
                found.append(name)
            return bool(found)

        await self._expect(listen, f"prompt {prompt}", until_closed=True)
        self.heard += found
        if prompt not in (found[0], found[0].partition("/")[2]):
            raise Unmet(f"prompt {prompt}", f"the caller heard {found[0]}")

    def _must_live(self, expected: str) -> None:
        if self.caller.closed is not None:
            raise Unmet(expected, self._state())

    def _state(self) -> str:
        if self.seen.cause is not None:
            return f"the call was hung up with {self.seen.cause.name}"
        if self.caller.closed is not None:
            return f"the call was hung up: {self.caller.closed}"
        if self.seen.call_id is None:
            return "the call has not come to the centre's notice"
        return f"the call goes on{f', in queue {self.seen.queue}' if self.seen.queue else ''}"

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if self.seen.lost:
                raise Unusable("--centre", "closed its stream of events")
            if time.monotonic() > end:
                return False
            await asyncio.sleep(TICK_S)
        return True

    async def _expect(self, condition: Callable[[], bool], expected: str, *, until_closed: bool = False) -> None:
        """``until_closed``: not longer than the phone has its call; else until the centre says that it is over."""
        await self.until(lambda: condition() or self._over(until_closed), PATIENCE_S)
        if not condition():
            raise Unmet(expected, self._state())

    def _over(self, at_once: bool) -> bool:
        """The centre's word that the call has ended may come a moment after the phone's, or never."""
        if self.caller.closed is not None and self._closed_at is None:
            self._closed_at = time.monotonic()
        gone = self._closed_at is not None and time.monotonic() - self._closed_at > (0.0 if at_once else END_S)
        return gone or self.seen.cause is not None
