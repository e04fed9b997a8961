"""Callers led out to a number of the carrier's, parked and retrieved, with real phones: who hears whom, by samples."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.lab.api import ApiProblem
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import DID, Stack

NUMBER = "+49305550777"
CALLER_HZ, ANNA_HZ, BELA_HZ, OUTSIDE_HZ = 1000, 600, 1400, 1800
OUT: dict[str, Any] = {
    "start": "out",
    "languages": ["de"],
    "nodes": {
        "out": {"type": "transfer", "number": NUMBER, "on_failure": "sorry"},
        "sorry": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
CONSENT_FLOW = QUEUE_FLOW | {
    "start": "consent",
    "nodes": QUEUE_FLOW["nodes"] | {"consent": {"type": "consent", "next": "wait"}},
}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=OUT) as started:
        yield started
        started.server.wait_idle()


@contextlib.asynccontextmanager
async def outside(stack: Stack) -> AsyncIterator[Phone]:
    """The number, at the carrier's end of the trunk."""
    uri = f"sip:{NUMBER}@{stack.carrier.address}"
    async with Phone.start(stack.carrier, "outside", uri=uri, tone_hz=OUTSIDE_HZ, port=5060) as phone:
        yield phone


async def hear_each_other(one: Phone, other: Phone) -> None:
    await one.hears(other.tone_hz)
    await other.hears(one.tone_hz)


async def answered(phone: Phone) -> str:
    """Pick up; whom the phone was shown as calling."""
    rung = await phone.wait_for("CALL_INCOMING")
    await phone.answer()
    await phone.wait_for("CALL_ESTABLISHED")
    return rung.peer


async def test_callers_are_led_out_and_parked(stack: Stack) -> None:
    """On one stack, for each costs ten seconds."""
    async with outside(stack) as far:
        await flow_and_queue_lead_out(stack, far)
        await live_call_is_handed_out_and_parked(stack, far)


async def flow_and_queue_lead_out(stack: Stack, far: Phone) -> None:
    async with stack.caller("first", tone_hz=CALLER_HZ) as caller:
        assert DID in await answered(far)
        call_id = await stack.call_id(caller)
        await hear_each_other(caller, far)
        await far.hang_up()
        cdr = await stack.record(call_id)
        [forward] = cdr["forwards"]
        assert (forward["why"], forward["number"], forward["outcome"]) == ("flow", NUMBER, "answered")
        assert (cdr["end_reason"], cdr["recordings"]) == ("outside_hung_up", [])

    action = {"type": "overflow_number", "number": NUMBER, "ring_s": 5, "show_caller": True}
    queue = {"name": "Support", "steps": [{"after_s": 1, "action": action}]}
    await stack.api.ask("PUT", "queues/support", queue)
    await stack.api.ask("PUT", "flows/main", {"graph": QUEUE_FLOW})
    await stack.synced()
    number = "+491701112233"
    async with stack.caller("second", number, tone_hz=CALLER_HZ) as caller:
        assert number in await answered(far)
        call_id = await stack.call_id(caller)
        await hear_each_other(caller, far)
        await caller.hang_up()
        cdr = await stack.record(call_id)
        assert [(f["why"], f["outcome"]) for f in cdr["forwards"]] == [("queue", "answered")]
        assert (cdr["end_reason"], cdr["abandoned"]) == ("caller_hung_up", False)
        assert 0.9 < cdr["wait_s"] < 6


async def live_call_is_handed_out_and_parked(stack: Stack, far: Phone) -> None:
    queue = {"name": "Support", "skills": {"support": 1}, "ring_timeout_s": 5, "wrap_up_s": 1}
    await stack.api.ask("PUT", "queues/support", queue)
    await stack.api.ask("PUT", "flows/main", {"graph": CONSENT_FLOW})
    async with AsyncExitStack() as phones:
        anna = await phones.enter_async_context(stack.agent("anna", tone_hz=ANNA_HZ))
        bela = await phones.enter_async_context(stack.agent("bela", tone_hz=BELA_HZ, available=False))
        caller = await phones.enter_async_context(stack.caller(tone_hz=CALLER_HZ))
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        call_id = await stack.call_id(caller)
        await hear_each_other(caller, anna)

        async def ask(path: str, **body: Any) -> Any:
            return await stack.api.post(f"calls/{call_id}/{path}", body)

        with pytest.raises(ApiProblem) as refused:
            await ask("transfer", number="112")
        assert refused.value.status == 422

        # Out to a number that is busy: back to Anna.
        await ask("transfer", number="030 5550777")
        await far.wait_for("CALL_INCOMING")
        await far.reject()
        await stack.event("TalkStarted", 2, call_id=call_id)
        await hear_each_other(caller, anna)

        # Parked; Bela dials the slot.
        slot = (await ask("park"))["slot"]
        await stack.event("CallParked", call_id=call_id, slot=slot)
        await bela.dial(f"sip:*7{slot}@{stack.pop.address}:{stack.settings.sip_port}")
        await stack.event("ParkEnded", call_id=call_id, reason="retrieved")
        await hear_each_other(caller, bela)

        # Parked again; Anna is rung for it.
        assert (await ask("park", slot=slot + 1))["slot"] == slot + 1
        await ask("retrieve", agent_id=stack.agents["anna"].agent_id)
        await stack.event("ParkEnded", 2, call_id=call_id, reason="retrieved")
        await hear_each_other(caller, anna)

        # Out to the number, which answers now.
        await ask("transfer", number=NUMBER)
        await answered(far)
        await stack.event("ForwardAnswered", call_id=call_id)
        running = {e["recording_id"] for e in stack.journal() if e["kind"] == "RecordingStarted"}
        assert running == {e["recording_id"] for e in stack.journal() if e["kind"] == "RecordingEnded"}
        await hear_each_other(caller, far)
        await far.hang_up()
        cdr = await stack.record(call_id)
        names = {agent.agent_id: name for name, agent in stack.agents.items()}
        assert [(names[talk["agent_id"]], talk["ended"]) for talk in cdr["talks"]] == [
            ("anna", "transferred"),
            ("anna", "parked"),
            ("bela", "parked"),
            ("anna", "transferred"),
        ]
        assert [(f["why"], f["outcome"]) for f in cdr["forwards"]] == [("transfer", "busy"), ("transfer", "answered")]
        assert [(p["slot"], p["ended"]) for p in cdr["parks"]] == [(slot, "retrieved"), (slot + 1, "retrieved")]
        assert len(cdr["recordings"]) == 4
        assert cdr["end_reason"] == "outside_hung_up"
