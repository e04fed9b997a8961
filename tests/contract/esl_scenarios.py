"""Short calls on FreeSWITCH whose event socket traffic is recorded (``record_esl.py``) and replayed without a server
(``tests/unit/freeswitch/test_transcripts.py``). What a far end does is nothing at the replay: the transcript has what
came of it. Ids are fixed, so that the same commands are sent each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from pbx.domain.commands import OriginateLeg, Prompt, ToPhone
from pbx.domain.consent import Regime, grant
from pbx.domain.e164 import UNKNOWN
from pbx.domain.errors import LegGone
from pbx.domain.events import DigitPressed, LegAnswered, LegEnded, LegOffered, LegRinging, LegsBridged, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, CallId, LegId, PhoneId, PlayId, RecordingId
from pbx.ports.media_engine import MediaEngine, Supervision
from tests.contract.listener import Listener

SHORT, LONG, MISSING = (Prompt(name, "de") for name in ("short", "long", "there-is-none"))


class FarEnds(Protocol):
    """A caller at the carrier and the agent's phone ``anna``."""

    async def dial(self) -> None: ...
    async def press(self, digits: str) -> None: ...
    async def caller_hangs_up(self) -> None: ...
    async def phone_answers(self) -> None: ...
    async def phone_refuses(self) -> None: ...
    async def goes_on(self) -> None: ...


Scenario = Callable[[MediaEngine, Listener, FarEnds, Path], Awaitable[None]]


async def _taken(engine: MediaEngine, listener: Listener, far: FarEnds) -> LegId:
    await far.dial()
    leg_id = (await listener.wait_for(LegOffered)).leg_id
    await engine.answer(leg_id)
    await listener.wait_for(LegAnswered)
    await far.goes_on()
    return leg_id


def _to_anna(leg_id: str, peer: LegId) -> OriginateLeg:
    return OriginateLeg(LegId(leg_id), ToPhone(PhoneId("anna")), UNKNOWN, 10, peer)


async def _reached(engine: MediaEngine, listener: Listener, far: FarEnds, leg_id: str, peer: LegId) -> LegId:
    await engine.originate(_to_anna(leg_id, peer))
    await listener.wait_for(LegRinging, lambda e: e.leg_id == leg_id)
    await far.phone_answers()
    await listener.wait_for(LegAnswered, lambda e: e.leg_id == leg_id)
    return LegId(leg_id)


async def conversation(engine: MediaEngine, listener: Listener, far: FarEnds, directory: Path) -> None:
    """Prompts, a digit, music, a phone that answers, bridge, hold, recording, supervision refused, the end."""
    first = await _taken(engine, listener, far)
    await engine.set_variables(first, {"CALLPLANE_CALL": "C 1", "CALLPLANE_ROLE": "caller"})
    await engine.play(first, PlayId("P1"), [SHORT, SHORT])
    ended = await listener.wait_for(PlayEnded)
    assert (ended.completed, ended.played_ms) == (True, 1000)
    await far.press("7")
    assert (await listener.wait_for(DigitPressed)).digit == "7"
    await engine.start_music(first, "default")
    second = await _reached(engine, listener, far, "L2", first)
    await engine.bridge(BridgeId("B1"), (first, second))
    assert set((await listener.wait_for(LegsBridged)).leg_ids) == {first, second}
    await far.goes_on()
    allowed = grant(CallId("C"), first, Regime.NONE, None, 0.0)
    assert allowed is not None
    await engine.start_recording(RecordingId("R1"), first, allowed, directory / "transcript.raw")
    await engine.pause_recording(RecordingId("R1"), first)
    await engine.resume_recording(RecordingId("R1"), first)
    await far.goes_on()
    await engine.stop_recording(RecordingId("R1"), first)
    snapshot = await engine.snapshot()
    assert {leg.leg_id: leg.bridge_id for leg in snapshot.legs} == {first: "B1", second: "B1"}
    variables = {leg.leg_id: leg.variables for leg in snapshot.legs}
    assert variables[first] == {"CALLPLANE_CALL": "C 1", "CALLPLANE_ROLE": "caller"}
    assert snapshot.reachable_phones == {"anna"}
    await engine.hold(first, "default")
    await far.goes_on()
    await engine.unhold(first)
    await engine.mute(second, True)
    await far.goes_on()
    await engine.destroy_bridge(BridgeId("B1"))
    await engine.hang_up(second, HangupCause.NORMAL_CLEARING)
    await listener.wait_for(LegEnded, lambda e: e.leg_id == second)
    await far.caller_hangs_up()
    assert (await listener.wait_for(LegEnded, lambda e: e.leg_id == first)).cause is HangupCause.NORMAL_CLEARING
    assert len(listener.of(LegsBridged)) == 1


async def refusals(engine: MediaEngine, listener: Listener, far: FarEnds, directory: Path) -> None:
    """A missing prompt, a stopped one, a phone that refuses, one that is not there, a cause, a hang-up in a prompt."""
    first = await _taken(engine, listener, far)
    await engine.play(first, PlayId("P1"), [MISSING, SHORT])
    assert not (await listener.wait_for(PlayEnded)).completed
    await engine.play(first, PlayId("P2"), [LONG])
    await far.goes_on()
    await engine.stop_play(PlayId("P2"))
    stopped = await listener.wait_for(PlayEnded, lambda e: e.play_id == "P2")
    assert not stopped.completed
    assert 0 < stopped.played_ms < 5000
    await engine.originate(_to_anna("L2", first))
    await listener.wait_for(LegRinging)
    await far.phone_refuses()
    assert (await listener.wait_for(LegEnded)).cause is HangupCause.USER_BUSY
    await engine.originate(OriginateLeg(LegId("L3"), ToPhone(PhoneId("nobody")), UNKNOWN, 10, first))
    assert (await listener.wait_for(LegEnded, count=2)).cause is HangupCause.SUBSCRIBER_ABSENT
    with pytest.raises(LegGone):
        await engine.hang_up(LegId("L2"), HangupCause.NORMAL_CLEARING)
    await engine.play(first, PlayId("P3"), [LONG])
    await far.goes_on()
    await far.caller_hangs_up()
    await listener.wait_for(LegEnded, count=3)
    cut = listener.of(PlayEnded)[-1]
    assert (cut.play_id, cut.completed) == ("P3", False)
    assert listener.events.index(cut) < listener.events.index(listener.of(LegEnded)[-1])


async def supervision(engine: MediaEngine, listener: Listener, far: FarEnds, directory: Path) -> None:
    """The caller's own leg is watched by the agent's: what is sent, in which order."""
    first = await _taken(engine, listener, far)
    second = await _reached(engine, listener, far, "L2", first)
    third = await _reached(engine, listener, far, "L3", first)
    await engine.bridge(BridgeId("B1"), (first, second))
    await listener.wait_for(LegsBridged)
    await engine.supervise(third, second, Supervision.LISTEN)
    await far.goes_on()
    await engine.supervise(third, second, Supervision.BARGE)
    await engine.stop_supervising(third)
    await engine.bridge(BridgeId("B2"), (first, third))
    await listener.wait_for(LegsBridged, count=2)
    with pytest.raises(LegGone):
        await engine.destroy_bridge(BridgeId("B1"))
    for leg_id in (first, second, third):
        await engine.hang_up(leg_id, HangupCause.NORMAL_CLEARING)
    await listener.wait_for(LegEnded, count=3)


SCENARIOS: dict[str, Scenario] = {"conversation": conversation, "refusals": refusals, "supervision": supervision}
