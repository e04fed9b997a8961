"""Consultation, attended transfer and conference on three real phones, judged by the samples each of them received."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import soundfile

from dialplans.schema import Engine
from tests.e2e.test_supervision import ANNA_HZ, BOSS_HZ, CALLER_HZ, Scene, hear
from tests.lab.audio import BLOCK_S, PRESENT_DB, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
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
    """Whoever has the caller consults the other one."""

    async def begin(self, phones: AsyncExitStack) -> None:
        await super().begin(phones)
        self.first, self.other = (self.anna, ANNA_HZ), (self.boss, BOSS_HZ)

    async def hear(self, caller: set[int], first: set[int], other: set[int]) -> None:
        await hear((self.caller, caller), (self.first[0], first), (self.other[0], other))

    async def consult(self, by_keys: str = "") -> None:
        if by_keys:
            await self.first[0].send_digits(by_keys)
        else:
            await self.post("consult", agent_id=self.stack.agents[self.other[0].name].agent_id)
        await self.private()
        await music(self.caller)

    async def private(self) -> None:
        await self.hear(set(), {self.other[1]}, {self.first[1]})

    async def swap(self, by_keys: str = "") -> None:
        await (self.first[0].send_digits(by_keys) if by_keys else self.post("consult/swap"))
        await self.hear({self.first[1]}, {CALLER_HZ}, set())
        await music(self.other[0])

    async def conference(self, by_keys: str = "") -> None:
        await (self.first[0].send_digits(by_keys) if by_keys else self.post("consult/conference"))
        first, other = self.first[1], self.other[1]
        await self.hear({first, other}, {CALLER_HZ, other}, {CALLER_HZ, first})

    async def handed_over(self) -> None:
        await self.first[0].wait_for("CALL_CLOSED")
        self.first, self.other = self.other, self.first
        await hear((self.caller, {self.first[1]}), (self.first[0], {CALLER_HZ}))


async def test_cancel_swap_conference_and_both_ways_to_hand_over(stack: Stack) -> None:
    """Anna consults Boss, in vain, and again, and hands over; then Boss consults Anna by keys and hangs up."""
    async with AsyncExitStack() as phones:
        scene = Consulting(stack)
        await scene.begin(phones)
        await scene.consult()
        await scene.post("consult/cancel")
        await scene.boss.wait_for("CALL_CLOSED")
        await hear((scene.caller, {ANNA_HZ}), (scene.anna, {CALLER_HZ}))
        await scene.consult()
        await scene.swap()
        await scene.post("consult/swap")
        await scene.private()
        await scene.conference()
        await scene.post("consult/complete")
        await scene.handed_over()
        anna, boss = (stack.agents[name].agent_id for name in ("anna", "boss"))
        wrapped = await stack.event("AgentChanged", agent_id=anna, state="WRAP_UP")
        await scene.idle("anna", wrapped["seq"])
        await stack.status("anna", "NOT_READY", "CONSULTING")
        await scene.consult("*3101#")
        await scene.swap("*4")
        await scene.conference("*6")
        await scene.boss.hang_up()
        await scene.handed_over()
        cdr = await scene.finish()
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [
        (anna, "transferred"),
        (boss, "transferred"),
        (anna, None),
    ]
    assert [(c["agent_id"], c["ended"]) for c in cdr["consultations"]] == [
        (boss, "cancelled"),
        (boss, "completed"),
        (anna, "completed"),
    ]
    # Anna; Anna after the cancelled consultation; between the agents' talks; the conference; Boss; again between, which
    # becomes the conference; Anna.
    assert [(r["discarded"], r["size_bytes"] > 0) for r in cdr["recordings"]] == [(False, True)] * 7
    for recording in cdr["recordings"][:3]:
        wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
        samples, rate = soundfile.read(io.BytesIO(wav))
        block = round(BLOCK_S * rate)
        boss_said = [
            tone_level_db(samples[at : at + block, 1], rate, BOSS_HZ) for at in range(0, len(samples) - block, block)
        ]
        assert max(boss_said) < PRESENT_DB, "what the agents said between themselves was recorded"
        assert tone_level_db(samples[:, 1], rate, ANNA_HZ) >= PRESENT_DB
