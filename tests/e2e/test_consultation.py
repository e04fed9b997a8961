"""Consultation, attended transfer and conference on three real phones, judged by the samples each of them received."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from dialplans.schema import Engine
from tests.e2e.test_supervision import ANNA_HZ, BOSS_HZ, CALLER_HZ, Scene, hear
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack

NUMBERS = itertools.count(1)


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, prefix=f"k{next(NUMBERS)}-", engine=engine) as started:
        yield started
        started.server.wait_idle()


async def music(phone: Phone) -> None:
    """Wait until half a second of something loud has come; ``hear`` says that it is nobody's tone."""
    before = len(phone.heard()[0])

    def plays() -> bool:
        samples, rate = phone.heard()
        new = samples[before:]
        return len(new) > rate / 2 and abs(new).max() > 0.01

    await asyncio.to_thread(wait_until, plays, 10, f"music at {phone.name}")


class Consulting(Scene):
    async def private(self) -> None:
        await self.post("consult", agent_id=self.stack.agents["boss"].agent_id)
        await hear((self.caller, set()), (self.anna, {BOSS_HZ}), (self.boss, {ANNA_HZ}))
        await music(self.caller)

    async def together(self) -> None:
        await hear((self.caller, {ANNA_HZ}), (self.anna, {CALLER_HZ}))

    async def conference(self) -> None:
        await self.post("consult/conference")
        both = {CALLER_HZ, ANNA_HZ, BOSS_HZ}
        await hear((self.caller, both - {CALLER_HZ}), (self.anna, both - {ANNA_HZ}), (self.boss, {CALLER_HZ, ANNA_HZ}))

    async def boss_has_the_caller(self) -> None:
        await self.anna.wait_for("CALL_CLOSED")
        await hear((self.caller, {BOSS_HZ}), (self.boss, {CALLER_HZ}))

    def ids(self) -> tuple[str, str]:
        return self.stack.agents["anna"].agent_id, self.stack.agents["boss"].agent_id


async def test_cancel_swap_conference_complete(stack: Stack) -> None:
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        await scene.private()
        await scene.post("consult/cancel")
        await scene.boss.wait_for("CALL_CLOSED")
        await scene.together()
        await scene.private()
        await scene.post("consult/swap")
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}), (scene.boss, set()))
        await music(scene.boss)
        await scene.post("consult/swap")
        await hear((scene.caller, set()), (scene.anna, {BOSS_HZ}), (scene.boss, {ANNA_HZ}))
        await scene.post("consult/swap")
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}), (scene.boss, set()))
        await scene.conference()
        await scene.post("consult/complete")
        await scene.boss_has_the_caller()
        anna, boss = scene.ids()
        await stack.event("AgentChanged", agent_id=anna, state="WRAP_UP")
        await stack.event("RecordingStarted", 5)
        cdr = await scene.finish()
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [(anna, "transferred"), (boss, None)]
    assert [c["ended"] for c in cdr["consultations"]] == ["cancelled", "completed"]
    # With Anna, again after the cancelled consultation, twice between the agents' talks, and with Boss.
    assert [(r["discarded"], r["size_bytes"] > 0) for r in cdr["recordings"]] == [(False, True)] * 5


async def test_conference_and_whoever_hangs_up(stack: Stack) -> None:
    """The consulted agent hangs up, and two are left; consulted again, the first one does, and so hands over."""
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        await scene.private()
        await scene.conference()
        await scene.boss.hang_up()
        await scene.together()
        await scene.private()
        await scene.anna.hang_up()
        await scene.boss_has_the_caller()
        cdr = await scene.finish()
        anna, boss = scene.ids()
    assert [c["ended"] for c in cdr["consultations"]] == ["hung_up", "completed"]
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [(anna, "transferred"), (boss, None)]
