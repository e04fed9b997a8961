"""A queue that spans two POPs, on two real media servers: a caller at one, the agent at the other."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
import soundfile

from dialplans.schema import Engine
from tests.lab.audio import contains_tone, tone_level_db
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.second_pop import SecondPop, two_pops
from tests.lab.stack import Stack
from tests.lab.wire import Capture, capturing, says_sip, sound
from tests.support.freeswitch import freeswitch_or_skip

CALLER_HZ, AGENT_HZ = 1000, 600
ABSENT_DB = -50.0
CLEAR_DB = -20.0
"""The far ends' tones are at -9 dB. What is encrypted sounds like noise at full scale, of which -35 dB fall to any
frequency in a quarter of a second."""


async def _a_talk(stack: Stack, bo: Phone) -> dict[str, Any]:
    """A caller at the first POP and bo at the second hear each other; the record."""
    async with stack.caller(tone_hz=CALLER_HZ) as caller:
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await bo.wait_for("CALL_ESTABLISHED", deadline_s=30)
        await asyncio.gather(caller.hears(AGENT_HZ, deadline_s=10), bo.hears(CALLER_HZ, deadline_s=10))
        await caller.hang_up()
        cdr = await stack.record(await stack.call_id(caller))
        await bo.wait_for("CALL_CLOSED")
        return cdr


def _nobody_reads_along(capture: Capture, stack: Stack, second: SecondPop) -> None:
    """Between the POPs there is no SIP to read and no sound to hear. What the same tool sees between the second POP and
    its agent's phone, which is in the clear here, shows that it would see it."""
    clear = capture.between(second.host, second.phones)
    assert says_sip(clear)
    assert contains_tone(sound(clear, second.phones), 8000, AGENT_HZ, CLEAR_DB)
    assert contains_tone(sound(clear, second.host), 8000, CALLER_HZ, CLEAR_DB)
    crossing = capture.between(stack.pop, second.host)
    assert any(not one.udp for one in crossing), "TLS"
    assert not says_sip(crossing)
    for source, hz in ((stack.pop, CALLER_HZ), (second.host, AGENT_HZ)):
        heard = sound(crossing, source)
        assert len(heard) > 4000, "half a second of encrypted sound and more"
        assert not contains_tone(heard, 8000, hz, CLEAR_DB)


@pytest.mark.timeout(300)  # two of everything
@pytest.mark.parametrize(
    "engines",
    [("asterisk", "asterisk"), ("asterisk", "freeswitch"), ("freeswitch", "asterisk"), ("freeswitch", "freeswitch")],
    ids="-".join,
)
async def test_a_caller_is_answered_by_an_agent_of_another_pop(engines: tuple[Engine, Engine], lab: Lab) -> None:
    if "freeswitch" in engines:
        freeswitch_or_skip()
    async with two_pops(lab, engines=engines) as (stack, second), second.agent("bo", tone_hz=AGENT_HZ) as bo:
        with capturing(second.host) as capture:
            cdr = await _a_talk(stack, bo)
        _nobody_reads_along(capture, stack, second)
        assert (cdr["end_reason"], cdr["agent_id"]) == ("caller_hung_up", second.agents["bo"].agent_id)
        assert [offer["outcome"] for offer in cdr["offers"]] == ["answered"]
        assert len(await stack.calls()) == 1, "one record, at the caller's POP"

        # The recording is the caller's POP's: whose consent it is, and whose region.
        [recording] = cdr["recordings"]
        wav = await stack.api.download(f"recordings/{recording['recording_id']}/content")
        samples, rate = soundfile.read(io.BytesIO(wav))
        left, right = samples[:, 0], samples[:, 1]
        assert contains_tone(left, rate, CALLER_HZ)
        assert contains_tone(right, rate, AGENT_HZ)
        assert tone_level_db(left, rate, AGENT_HZ) < ABSENT_DB
        assert not list((second.host.state_dir / "controller" / "recordings").rglob("*.sealed"))

        # The agent hangs up, and is free for the next caller.
        async with stack.caller("again", cli="+491701234568") as again:
            await stack.through_menu(again)
            await stack.answer_consent(again, "2")
            await bo.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await stack.talking(again)
            await bo.hang_up()
            cdr = await stack.record(await stack.call_id(again))
            assert (cdr["end_reason"], cdr["recordings"]) == ("agent_hung_up", [])
        stack.server.wait_idle()
        second.server.wait_idle()
