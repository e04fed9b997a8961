"""The demo's calls: who calls, what each caller does, and what was heard while they talked.

Everything waits for the centre's event stream; nothing here looks into the POP.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from dialplans import prompts
from tests.lab.audio import tone_level_db
from tests.lab.demo_feed import WITHHELD, Board, CallRow
from tests.lab.errors import LabError
from tests.lab.phone import Phone
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack

AGENT_TONES = {"bela": 400, "carla": 800, "anna": 600}
"""In the order in which they come on shift. A-law alone makes of 600 Hz some -58 dB at 1000 Hz."""
TALK_S = 4.0


@dataclass(frozen=True, slots=True)
class Caller:
    """``dials`` is the user part of From; the POP makes ``cli`` of it."""

    name: str
    dials: str
    cli: str
    tone_hz: int
    language: str
    consents: bool
    hangs_up: Literal["caller", "agent"] = "caller"


GERMAN = Caller("German, agrees to the recording", "+491701234567", "+491701234567", 1000, "1", True)
ENGLISH = Caller("English, refuses it", "+442079460123", "+442079460123", 1920, "2", False, "agent")
HIDDEN = Caller("number withheld, agrees", "anonymous", WITHHELD, 1500, "1", True)
IMPATIENT = Caller("hangs up while waiting", "+4915112345678", "+4915112345678", 1100, "1", False)
LOST = Caller("presses wrong digits", "+4940123456", "+4940123456", 1200, "1", False)
TALKERS = (GERMAN, ENGLISH, HIDDEN)
SIPP_CLIS = ("+4930200001", "+4930200002", "+4930200003")
CALLS = len(TALKERS) + 2 + len(SIPP_CLIS)


@dataclass(slots=True)
class Heard:
    """What came out of both phones in one call, in dB: the other's tone and one's own."""

    agent: str
    caller_hears_agent: float
    caller_hears_self: float
    agent_hears_caller: float
    agent_hears_self: float


@dataclass(slots=True)
class Scenario:
    stack: Stack
    board: Board
    phones: dict[str, Phone] = field(default_factory=dict)
    heard: dict[str, Heard | LabError] = field(default_factory=dict)
    """CLI -> what was heard in that call."""

    async def start_agents(self, until: AsyncExitStack) -> None:
        """Three agents with registered phones, not yet on shift. Bela answers by hand, the others at once."""
        for name in AGENT_TONES:
            await self.stack.add_agent(name)
        for name, tone_hz in AGENT_TONES.items():
            agent = self.stack.agent(name, tone_hz, auto=name != "bela", available=False, reuse=True)
            self.phones[name] = await until.enter_async_context(agent)
        await self.board.know_agents()

    async def run(self) -> None:
        """All calls, until the last has ended."""
        async with asyncio.TaskGroup() as group:
            bela = group.create_task(self._bela())
            async with asyncio.TaskGroup() as calls:
                calls.create_task(self._lost())
                calls.create_task(self._shift_after_the_impatient())
                for caller in TALKERS:
                    calls.create_task(self._talker(caller))
                calls.create_task(self._sipp())
            await self.board.until("the end of every call", self._all_over, 60)
            bela.cancel()

    def _all_over(self) -> bool:
        ended = [row for row in self.board.calls.values() if row.ended_at is not None]
        return len(ended) == CALLS

    # --- agents -------------------------------------------------------------------------------------------------

    async def _shift_after_the_impatient(self) -> None:
        """Nobody is on shift while the first callers come; one of them loses patience, then the agents begin."""
        async with self.stack.caller("impatient", IMPATIENT.dials, tone_hz=IMPATIENT.tone_hz) as phone:
            await self._through_menu(IMPATIENT, phone)
            await phone.send_digits("2")
            await self._row(IMPATIENT, "QueueJoined")
            await self._row(ENGLISH, "QueueJoined")
            await asyncio.sleep(1.5)  # what a caller calls patience
            await phone.hang_up()
            await self._row(IMPATIENT, "CallEnded")
        for name in AGENT_TONES:  # bela first: the longest idle, and so the first who is rung
            await self.stack.status(name, "AVAILABLE")

    async def _bela(self) -> None:
        """Does not answer the first call, is taken off by RONA, comes back and answers from then on."""
        bela = self.phones["bela"]
        await bela.wait_for("CALL_INCOMING", deadline_s=60)
        await self.board.until(
            "bela being NOT_READY",
            lambda: any(row.name == "bela" and row.status == "NOT_READY" for row in self.board.agents.values()),
        )
        await asyncio.sleep(2)  # looks up from the coffee
        await self.stack.status("bela", "AVAILABLE")
        while True:
            await bela.wait_for("CALL_INCOMING", deadline_s=600)
            await bela.answer()

    # --- callers ------------------------------------------------------------------------------------------------

    async def _row(self, caller: Caller, kind: str, after: str | None = None, **fields: Any) -> CallRow:
        """The caller's row once its call had this event, behind the entry of node ``after`` if one is named."""

        def ready() -> CallRow | None:
            row = self.board.call(caller.cli)
            return row if row is not None and row.heard(kind, after, **fields) is not None else None

        return await self.board.until(f"{kind} in the call from {caller.cli}", ready, 45)

    async def _at(self, caller: Caller, node: str) -> None:
        await self._row(caller, "NodeEntered", node=node)

    async def _through_menu(self, caller: Caller, phone: Phone) -> None:
        await self._at(caller, "greeting")
        await phone.send_digits(caller.language)  # barge-in
        await self._at(caller, "menu")
        await phone.send_digits("1")
        await self._at(caller, "consent")

    async def _talker(self, caller: Caller) -> None:
        if caller is HIDDEN:
            await asyncio.sleep(1.0)  # so that anna, idle longest by then, takes the German caller
        async with self.stack.caller(caller.dials.strip("+"), caller.dials, tone_hz=caller.tone_hz) as phone:
            await self._through_menu(caller, phone)
            if caller.consents:
                await self._row(caller, "PlayEnded", after="consent", completed=True)  # the whole notice
            await phone.send_digits("1" if caller.consents else "2")
            row = await self._row(caller, "TalkStarted")
            agent = self.phones[row.agent]
            try:
                self.heard[caller.cli] = await _listen(phone, agent)
            except LabError as error:
                self.heard[caller.cli] = error
            await (phone if caller.hangs_up == "caller" else agent).hang_up()
            await self._row(caller, "CallEnded")

    async def _lost(self) -> None:
        """Three wrong digits in the menu, and the flow says goodbye."""
        async with self.stack.caller("lost", LOST.dials, tone_hz=LOST.tone_hz) as phone:
            await self._at(LOST, "greeting")
            await phone.send_digits(LOST.language)
            await self._at(LOST, "menu")
            for pressed in (2, 3, 4):
                await asyncio.sleep(1.0)
                await phone.send_digits("9")
                await self._digits(LOST, pressed)
            await self._row(LOST, "CallEnded")

    async def _digits(self, caller: Caller, count: int) -> None:
        """Wait until the caller has pressed so many digits."""

        def pressed() -> bool:
            row = self.board.call(caller.cli)
            return row is not None and sum(event["kind"] == "DigitPressed" for event in row.events) >= count

        await self.board.until(f"{count} digits of {caller.cli}", pressed)

    async def _sipp(self) -> None:
        """A few callers by sipp, who send digits but no sound, and hang up by themselves."""
        await self._at(ENGLISH, "wait")
        made = prompts.load_manifest(prompts.default_dir()).prompts["de"]
        after_notice_ms = made["consent-ask"].duration_ms + made["consent-keys-opt-in"].duration_ms // 3
        digits = [(800, "1"), (900, "1"), (after_notice_ms, "1")]
        hold_ms = made["consent-granted"].duration_ms + 9000
        calls = [(cli, DID) for cli in SIPP_CLIS]
        run = Sipp.callers(self.stack.carrier, self.stack.pop.address, calls, rate=1, digits=digits, hold_ms=hold_ms)
        await asyncio.to_thread(run.finish, 60)


async def _listen(caller: Phone, agent: Phone) -> Heard:
    """Wait until both hear each other, let them talk, and measure what came out of their phones meanwhile."""
    await asyncio.gather(caller.hears(agent.tone_hz), agent.hears(caller.tone_hz))
    await asyncio.sleep(TALK_S)
    at_caller, at_agent = caller.heard(TALK_S / 2), agent.heard(TALK_S / 2)
    return Heard(
        agent.name,
        tone_level_db(*at_caller, agent.tone_hz),
        tone_level_db(*at_caller, caller.tone_hz),
        tone_level_db(*at_agent, caller.tone_hz),
        tone_level_db(*at_agent, agent.tone_hz),
    )
