"""Legs, plays, digits and music on a real Asterisk."""

from __future__ import annotations

import pytest

from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.domain.e164 import CliKind
from pbx.domain.errors import LegGone
from pbx.domain.events import DigitPressed, LegAnswered, LegEnded, LegOffered, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, PlayId
from tests.contract.asterisk_pop import CALLER, DID, PROMPT_HZ, PROMPT_S, AsteriskPop, Listener, calling, prompt, taken
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab
Controlled = tuple[AsteriskEngine, Listener]


async def dial(pop: AsteriskPop, phone: Phone) -> None:
    await phone.dial(f"sip:{DID}@{pop.host.address}")


async def test_offered_answered_and_hung_up_by_the_calling(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        offered = await listener.wait_for(LegOffered)
        assert (offered.did, offered.cli.kind, offered.cli.number) == (DID, CliKind.NUMBER, CALLER)
        assert (offered.caller_country, offered.trunk) == ("DE", "carrier")
        await engine.answer(offered.leg_id)
        await listener.wait_for(LegAnswered)
        await phone.wait_for("CALL_ESTABLISHED")
        (leg,) = (await engine.snapshot()).legs
        assert (leg.leg_id, leg.answered, leg.in_control) == (offered.leg_id, True, True)
        await phone.hang_up()
        ended = await listener.wait_for(LegEnded)
        assert ended.cause is HangupCause.NORMAL_CLEARING
        with pytest.raises(LegGone):
            await engine.answer(offered.leg_id)
    assert len(listener.of(LegEnded)) == 1
    assert len(listener.of(LegOffered)) == 1


@pytest.mark.parametrize(
    ("cause", "status"),
    [(HangupCause.USER_BUSY, "486"), (HangupCause.CONGESTION, "503"), (HangupCause.UNALLOCATED_NUMBER, "404")],
)
async def test_refused_before_the_answer_with_a_cause(
    pop: AsteriskPop, controlled: Controlled, cause: HangupCause, status: str
) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        offered = await listener.wait_for(LegOffered)
        await engine.hang_up(offered.leg_id, cause)
        assert status in (await phone.wait_for("CALL_CLOSED")).param
        assert (await listener.wait_for(LegEnded)).cause is cause


async def test_play_to_its_end_is_complete(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await engine.play(leg, PlayId("P1"), [prompt("short"), prompt("short")])
        ended = await listener.wait_for(PlayEnded)
        assert ended.completed
        assert ended.play_id == "P1"
        assert abs(ended.played_ms - 2000 * PROMPT_S["short"]) < 200
        await phone.hears(PROMPT_HZ["short"], for_s=0.5)


async def test_stopped_play_is_not_complete(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await engine.play(leg, PlayId("P2"), [prompt("long")])
        await phone.hears(PROMPT_HZ["long"], for_s=0.5)
        await engine.stop_play(PlayId("P2"))
        ended = await listener.wait_for(PlayEnded)
        assert not ended.completed
        assert 300 < ended.played_ms < 4000
        with pytest.raises(LegGone):
            await engine.stop_play(PlayId("P2"))


async def test_hang_up_during_a_play(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await engine.play(leg, PlayId("P3"), [prompt("long")])
        await phone.hears(PROMPT_HZ["long"], for_s=0.5)
        await phone.hang_up()
        await listener.wait_for(LegEnded)
    (ended,) = listener.of(PlayEnded)
    assert not ended.completed
    assert ended.played_ms < 5000
    assert listener.events.index(ended) < listener.events.index(listener.of(LegEnded)[0])


async def test_missing_prompt_is_not_complete(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await engine.play(leg, PlayId("P4"), [prompt("there-is-none"), prompt("short")])
        assert not (await listener.wait_for(PlayEnded)).completed


async def test_digits_during_a_play(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await phone.wait_for("CALL_ESTABLISHED")
        await engine.play(leg, PlayId("P5"), [prompt("long")])
        await phone.send_digits("1*#9")
        await listener.wait_for(DigitPressed, count=4)
    assert [event.digit for event in listener.of(DigitPressed)] == ["1", "*", "#", "9"]


async def test_music_until_it_is_stopped(pop: AsteriskPop, controlled: Controlled) -> None:
    engine, listener = controlled
    async with calling(pop) as phone:
        await dial(pop, phone)
        leg = await taken(engine, listener)
        await engine.start_music(leg, "default")
        await phone.hears(PROMPT_HZ["music"])
        await engine.play(leg, PlayId("P6"), [prompt("short")])
        assert (await listener.wait_for(PlayEnded)).completed
        await engine.stop_music(leg)


async def test_commands_for_a_leg_that_never_was(controlled: Controlled) -> None:
    engine, _ = controlled
    with pytest.raises(LegGone):
        await engine.hang_up(LegId("never"), HangupCause.NORMAL_CLEARING)


async def test_dialplan_that_hands_over_nonsense(pop: AsteriskPop, controlled: Controlled) -> None:
    _, listener = controlled
    async with calling(pop) as phone:
        await phone.dial(f"sip:bad@{pop.host.address}")
        await phone.wait_for("CALL_CLOSED")
    assert not listener.events
