"""Supervisors and transfers on real phones: who hears whom, judged by the samples each of them received."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest

from dialplans.schema import Engine
from tests.lab.api import ApiProblem
from tests.lab.audio import PRESENT_DB, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack

CALLER_HZ, ANNA_HZ, BOSS_HZ = 1000, 600, 1400
ALL_HZ = (CALLER_HZ, ANNA_HZ, BOSS_HZ)
HEARD_S = 1.0


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


class Ear:
    """What a phone has heard since the listening began. Its file grows only while packets come: no growth, silence."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self._counts: list[tuple[float, int]] = []

    def tones(self) -> set[int] | None:
        """The tones that were there all through the last second; None until a second has passed."""
        samples, rate = self.phone.heard() if self.phone.recordings() else (np.zeros(0), 8000)
        now = time.monotonic()
        self._counts.append((now, len(samples)))
        before = [count for at, count in self._counts if at <= now - HEARD_S]
        if not before:
            return None
        new = samples[before[-1] :]
        if len(new) < HEARD_S * rate / 2:
            return set()
        return {hz for hz in ALL_HZ if tone_level_db(new, rate, hz) >= PRESENT_DB}


async def hear(*expected: tuple[Phone, set[int]], deadline_s: float = 12) -> None:
    """Wait until each phone heard exactly these tones, all of them for the same last second."""
    ears = [(Ear(phone), tones) for phone, tones in expected]
    seen: dict[str, set[int] | None] = {}

    def all_do() -> bool:
        seen.update({ear.phone.name: ear.tones() for ear, _ in ears})
        return all(seen[ear.phone.name] == tones for ear, tones in ears)

    await asyncio.to_thread(wait_until, all_do, deadline_s, "who hears whom", lambda: f"heard: {seen}")


class Scene:
    """A caller talks to Anna; Boss has a phone and is not available."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    async def begin(self, phones: AsyncExitStack) -> None:
        stack = self.stack
        self.anna = await phones.enter_async_context(stack.agent("anna", tone_hz=ANNA_HZ, extension="101"))
        boss = stack.agent("boss", tone_hz=BOSS_HZ, available=False, extension="102")
        self.boss = await phones.enter_async_context(boss)
        self.caller = await phones.enter_async_context(stack.caller(tone_hz=CALLER_HZ))
        await stack.through_menu(self.caller)
        await stack.answer_consent(self.caller, "1")
        await stack.talking(self.caller)
        self.call_id = await stack.call_id(self.caller)
        await hear((self.caller, {ANNA_HZ}), (self.anna, {CALLER_HZ}))

    async def supervise(self, mode: str) -> None:
        body = {"agent_id": self.stack.agents["boss"].agent_id, "mode": mode}
        await self.stack.api.post(f"calls/{self.call_id}/supervision", body)

    async def post(self, path: str, **body: Any) -> None:
        await self.stack.api.post(f"calls/{self.call_id}/{path}", body)

    async def finish(self) -> dict[str, Any]:
        await self.caller.hang_up()
        return await self.stack.record(self.call_id)

    async def idle(self, name: str, after: int) -> None:
        agent_id = self.stack.agents[name].agent_id
        await self.stack.event("AgentChanged", agent_id=agent_id, state="IDLE", after=after)


async def test_listen_whisper_barge(stack: Stack) -> None:
    """One supervisor, who comes by feature code, goes through all modes, leaves, and the conversation is as before."""
    async with AsyncExitStack() as phones:
        scene = Scene(stack)
        await scene.begin(phones)
        caller, anna, boss = scene.caller, scene.anna, scene.boss
        await boss.dial(f"sip:*21101@{stack.pop.address}:{stack.settings.sip_port}")
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}), (boss, {CALLER_HZ, ANNA_HZ}))
        await scene.supervise("whisper")
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ, BOSS_HZ}), (boss, {CALLER_HZ, ANNA_HZ}))
        await scene.supervise("barge")
        await hear((caller, {ANNA_HZ, BOSS_HZ}), (anna, {CALLER_HZ, BOSS_HZ}), (boss, {CALLER_HZ, ANNA_HZ}))
        body = {"agent_id": stack.agents["anna"].agent_id, "mode": "listen"}
        with pytest.raises(ApiProblem) as refused:
            await stack.api.post(f"calls/{scene.call_id}/supervision", body)
        assert (refused.value.status, refused.value.body["error_id"]) == (409, "already_supervised")
        engaged = await stack.event("AgentChanged", state="ENGAGED")
        await boss.hang_up()
        await scene.idle("boss", engaged["seq"])
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        cdr = await scene.finish()
        [supervision] = cdr["supervisions"]
        assert (supervision["modes"], supervision["ended"]) == (["listen", "whisper", "barge"], "hung_up")
        assert len(cdr["recordings"]) == 1  # the caller's yes holds for the supervisor's country as well


async def test_take_over(stack: Stack) -> None:
    """The first agent is out, the supervisor has the call, and both parts are recorded."""
    async with AsyncExitStack() as phones:
        scene = Scene(stack)
        await scene.begin(phones)
        await scene.supervise("listen")
        await hear((scene.boss, {CALLER_HZ, ANNA_HZ}))
        await scene.post("supervision/take-over")
        await scene.anna.wait_for("CALL_CLOSED")
        await hear((scene.caller, {BOSS_HZ}), (scene.boss, {CALLER_HZ}))
        wrapped = await stack.event("AgentChanged", agent_id=stack.agents["anna"].agent_id, state="WRAP_UP")
        await scene.idle("anna", wrapped["seq"])
        await stack.event("RecordingStarted", 2)
        cdr = await scene.finish()
        await scene.boss.wait_for("CALL_CLOSED")
    anna, boss = stack.agents["anna"].agent_id, stack.agents["boss"].agent_id
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [(anna, "taken_over"), (boss, None)]
    assert [(r["discarded"], r["size_bytes"] > 0) for r in cdr["recordings"]] == [(False, True)] * 2


async def test_the_end_of_the_call_hangs_the_supervisor_up(stack: Stack) -> None:
    async with AsyncExitStack() as phones:
        scene = Scene(stack)
        await scene.begin(phones)
        await scene.supervise("barge")
        await hear((scene.caller, {ANNA_HZ, BOSS_HZ}))
        await scene.anna.hang_up()
        await scene.boss.wait_for("CALL_CLOSED")
        await scene.caller.wait_for("CALL_CLOSED")
        cdr = await stack.record(scene.call_id)
        assert cdr["end_reason"] == "agent_hung_up"
        assert [s["ended"] for s in cdr["supervisions"]] == ["call_ended"]


async def test_hold_and_transfer_to_another_queue(stack: Stack) -> None:
    """Music on hold, then on to the second agent, whose queue nobody else serves."""
    queue = {"queue_id": "billing", "name": "Billing", "skills": {"billing": 1}, "ring_timeout_s": 5}
    await stack.api.post("queues", queue)
    bela = await stack.add_agent("boss", skills={"billing": 3})
    await stack.synced()
    async with AsyncExitStack() as phones:
        anna = await phones.enter_async_context(stack.agent("anna", tone_hz=ANNA_HZ))
        second = await phones.enter_async_context(stack.agent("boss", tone_hz=BOSS_HZ, available=False, reuse=True))
        caller = await phones.enter_async_context(stack.caller(tone_hz=CALLER_HZ))
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        call_id = await stack.call_id(caller)
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await stack.api.post(f"calls/{call_id}/hold", {})
        await hear((anna, set()))
        heard, _ = caller.heard(last_s=1)
        assert abs(heard).max() > 0.01, "silence instead of music"
        await stack.api.post(f"calls/{call_id}/resume", {})
        await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))
        await stack.api.post(f"calls/{call_id}/transfer", {"queue_id": "billing"})
        await anna.wait_for("CALL_CLOSED")
        await stack.event("QueueJoined", call_id=call_id, queue_id="billing")
        await stack.status("boss", "AVAILABLE")
        await second.wait_for("CALL_ESTABLISHED", deadline_s=10)
        await hear((caller, {BOSS_HZ}), (second, {CALLER_HZ}))
        await stack.event("RecordingStarted", 2, call_id=call_id)
        await caller.hang_up()
        cdr = await stack.record(call_id)
    assert [(t["agent_id"], t["ended"]) for t in cdr["talks"]] == [
        (stack.agents["anna"].agent_id, "transferred"),
        (bela.agent_id, None),
    ]
    assert (cdr["queue_id"], len(cdr["recordings"])) == ("billing", 2)
