"""Originated legs, bridges and recordings on a real Asterisk."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.domain.consent import RecordingGrant, Regime, grant
from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.events import LegAnswered, LegEnded, LegRinging, LegsBridged, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, CallId, LegId, PhoneId, RecordingId
from tests.contract.asterisk_pop import CALLER, DID, PROMPT_HZ, AsteriskPop, Listener, account, taken, to_phone
from tests.lab.audio import contains_tone, from_pcm16
from tests.lab.errors import LabError
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab
Controlled = tuple[AsteriskEngine, Listener]
CALLER_HZ, AGENT_HZ = 440, 1000


@contextlib.asynccontextmanager
async def agent(pop: AsteriskPop, controlled: Controlled, name: str = "anna") -> AsyncIterator[Phone]:
    engine, listener = controlled
    await engine.put_phone(account(name, "secret"))
    async with Phone.start(pop.phones, name, server=pop.host.address, password="secret", tone_hz=AGENT_HZ) as phone:
        await phone.wait_registered()
        await listener.wait_for(PhoneReachable, lambda e: e.phone_id == name and e.reachable)
        yield phone
    await engine.remove_phone(PhoneId(name))


@contextlib.asynccontextmanager
async def caller(pop: AsteriskPop) -> AsyncIterator[Phone]:
    uri = f"sip:{CALLER}@{pop.carrier.address}"
    async with Phone.start(pop.carrier, "caller", uri=uri, tone_hz=CALLER_HZ) as phone:
        await phone.dial(f"sip:{DID}@{pop.host.address}")
        yield phone


def allowed(leg_id: LegId) -> RecordingGrant:
    made = grant(CallId("C"), leg_id, Regime.NONE, None, 0.0)
    assert made is not None
    return made


async def outcome(listener: Listener, leg_id: str) -> HangupCause:
    return (await listener.wait_for(LegEnded, lambda e: e.leg_id == leg_id)).cause


async def test_answered_bridged_recorded_in_stereo(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    path = pop.recording_dir / "answered.raw"
    async with agent(pop, controlled) as anna, caller(pop) as phone:
        first = await taken(engine, listener)
        await engine.start_music(first, "default")
        await phone.hears(PROMPT_HZ["music"])
        await engine.originate(to_phone("OUT1", "anna", first))
        await listener.wait_for(LegRinging, lambda e: e.leg_id == "OUT1")
        await anna.wait_for("CALL_INCOMING")
        await anna.answer()
        await listener.wait_for(LegAnswered, lambda e: e.leg_id == "OUT1")
        await engine.bridge(BridgeId("B1"), (first, LegId("OUT1")))
        bridged = await listener.wait_for(LegsBridged)
        assert set(bridged.leg_ids) == {first, "OUT1"}
        await engine.start_recording(RecordingId("R1"), first, allowed(first), path)
        with pytest.raises(EngineRefused):
            await engine.start_recording(RecordingId("R2"), first, allowed(first), path)
        await phone.hears(AGENT_HZ)
        await anna.hears(CALLER_HZ)
        assert not contains_tone(*phone.heard(0.5), PROMPT_HZ["music"])
        snapshot = await engine.snapshot()
        assert {leg.bridge_id for leg in snapshot.legs} == {"B1"}
        assert "anna" in snapshot.reachable_phones
        await engine.stop_recording(RecordingId("R1"), first)
        size = path.stat().st_size
        await anna.hang_up()
        assert await outcome(listener, "OUT1") is HangupCause.NORMAL_CLEARING
        await engine.destroy_bridge(BridgeId("B1"))
        await engine.hang_up(first, HangupCause.NORMAL_CLEARING)
        assert await outcome(listener, first) is HangupCause.NORMAL_CLEARING
    assert path.stat().st_size == size
    check_stereo(path)


def check_stereo(path: Path) -> None:
    left, right = from_pcm16(path.read_bytes(), channels=2)
    assert contains_tone(left, 8000, CALLER_HZ)
    assert contains_tone(right, 8000, AGENT_HZ)
    assert not contains_tone(left, 8000, AGENT_HZ)
    assert not contains_tone(right, 8000, CALLER_HZ)
    path.unlink()


async def test_recording_of_a_leg_that_hung_up_is_closed(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    path = pop.recording_dir / "hung-up.raw"
    async with agent(pop, controlled) as anna, caller(pop) as phone:
        first = await taken(engine, listener)
        await engine.originate(to_phone("OUT2", "anna", first))
        await anna.wait_for("CALL_INCOMING")
        await anna.answer()
        await listener.wait_for(LegAnswered, lambda e: e.leg_id == "OUT2")
        await engine.bridge(BridgeId("B2"), (first, LegId("OUT2")))
        await engine.start_recording(RecordingId("R3"), first, allowed(first), path)
        await phone.hears(AGENT_HZ)
        await phone.hang_up()
        await outcome(listener, first)
        await engine.stop_recording(RecordingId("R3"), first)
        size = path.stat().st_size
        assert size > 8000
        await engine.hang_up(LegId("OUT2"), HangupCause.NORMAL_CLEARING)
        await outcome(listener, "OUT2")
        with contextlib.suppress(LegGone):
            await engine.destroy_bridge(BridgeId("B2"))
    assert path.stat().st_size == size
    check_stereo(path)


async def test_recording_needs_a_grant(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with caller(pop):
        leg = await taken(engine, listener)
        path = pop.recording_dir / "never.raw"
        with pytest.raises(TypeError):
            await engine.start_recording(RecordingId("R4"), leg, None, path)  # type: ignore[arg-type]
        assert not path.exists()


async def test_agent_refuses(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with agent(pop, controlled) as anna, caller(pop):
        first = await taken(engine, listener)
        await engine.originate(to_phone("OUT3", "anna", first))
        await anna.wait_for("CALL_INCOMING")
        await anna.reject()
        assert await outcome(listener, "OUT3") is HangupCause.USER_BUSY


async def test_agent_does_not_answer(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with agent(pop, controlled) as anna, caller(pop):
        first = await taken(engine, listener)
        await engine.originate(to_phone("OUT4", "anna", first, timeout_s=1))
        await anna.wait_for("CALL_INCOMING")
        assert await outcome(listener, "OUT4") is HangupCause.NO_ANSWER
        await anna.wait_for("CALL_CLOSED")


async def test_unregistered_and_unknown_phones(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    await engine.put_phone(account("nobody", "secret"))
    async with caller(pop):
        first = await taken(engine, listener)
        await engine.originate(to_phone("OUT5", "nobody", first))
        assert await outcome(listener, "OUT5") is HangupCause.SUBSCRIBER_ABSENT
        await engine.originate(to_phone("OUT6", "never-put", first))
        assert await outcome(listener, "OUT6") is HangupCause.SUBSCRIBER_ABSENT
    await engine.remove_phone(PhoneId("nobody"))


async def test_caller_leaves_while_the_phone_rings(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with agent(pop, controlled) as anna, caller(pop) as phone:
        first = await taken(engine, listener)
        await engine.originate(to_phone("OUT7", "anna", first))
        await anna.wait_for("CALL_INCOMING")
        await phone.hang_up()
        await outcome(listener, first)
        await engine.hang_up(LegId("OUT7"), HangupCause.NORMAL_CLEARING)
        await anna.wait_for("CALL_CLOSED")
        await outcome(listener, "OUT7")
    assert not [event for event in listener.of(LegAnswered) if event.leg_id == "OUT7"]


async def test_replaced_password_counts(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, _ = controlled
    async with agent(pop, controlled):
        await engine.put_phone(account("anna", "another"))
        async with Phone.start(pop.carrier, "old", uri=f"sip:anna@{pop.host.address}", tone_hz=500):
            pass
        late = Phone.start(pop.phones, "anna", server=pop.host.address, password="secret", tone_hz=AGENT_HZ)
        async with late as phone:
            with pytest.raises(LabError, match="401"):
                await phone.wait_registered()
        again = Phone.start(pop.phones, "anna", server=pop.host.address, password="another", tone_hz=AGENT_HZ)
        async with again as phone:
            await phone.wait_registered()
