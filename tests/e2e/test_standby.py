"""Two hosts that are one POP: keepalived moves the floating address, and the other host has the journal, the recordings
and the phones' accounts already. On real servers, configured by the role that installs them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from pbx.domain.hangup_cause import HangupCause
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.phone import Phone
from tests.lab.stack import DID

CALLER_HZ, AGENT_HZ = 1000, 600
FENCED = 75


@contextlib.asynccontextmanager
async def dials(pair: Pair, number: int) -> AsyncIterator[Phone]:
    carrier = pair.stack.carrier
    uri = f"sip:+49170000000{number}@{carrier.address}"
    async with Phone.start(carrier, f"caller{number}", tone_hz=CALLER_HZ, uri=uri) as caller:
        await caller.dial(f"sip:{DID}@{pair.floating}:5060")
        yield caller


@contextlib.asynccontextmanager
async def agent(pair: Pair, name: str) -> AsyncIterator[Phone]:
    stack = pair.stack
    made = await stack.add_agent(name)
    await stack.synced()
    server = f"{pair.floating}:{stack.settings.sip_port}"
    async with Phone.start(
        stack.phones, made.phone_id, tone_hz=AGENT_HZ, server=server, password=made.password, answer="auto"
    ) as phone:
        await phone.wait_registered()
        await stack.status(name, "AVAILABLE")
        yield phone


async def hear_each_other(caller: Phone, phone: Phone) -> None:
    await asyncio.gather(caller.hears(AGENT_HZ, deadline_s=20), phone.hears(CALLER_HZ, deadline_s=20))


@pytest.mark.pair
@pytest.mark.timeout(300)
async def test_the_active_host_is_powered_off_and_comes_back(lab: Lab) -> None:
    async with Pair.start(lab, flow=QUEUE_FLOW, queue={"redial_s": 120}) as pair, agent(pair, "anna") as anna:
        stack, first, second = pair.stack, pair.first, pair.second
        await asyncio.to_thread(pair.wait_in_step)
        assert (first.has_address(), second.has_address()) == (True, False)
        async with dials(pair, 1) as talking:
            await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await hear_each_other(talking, anna)
            async with dials(pair, 2) as waiting:
                await waiting.wait_for("CALL_ESTABLISHED")
                lost = [await stack.call_id(one) for one in (talking, waiting)]
                written = len(first.journal())
                off = time.monotonic()
                first.power_off()
                await asyncio.to_thread(wait_until, second.has_address, 30, "the address at the other host", pair.logs)
                moved = time.monotonic()
        async with dials(pair, 4) as new:
            await new.wait_for("CALL_ESTABLISHED", deadline_s=30)
            answered = time.monotonic()
            await new.hang_up()

        def lost_are_over() -> bool:
            return {call for _, call, kind, _ in second.journal() if kind == "CallEnded"} >= set(lost)

        await asyncio.to_thread(wait_until, lost_are_over, 20, "the end of the lost calls", pair.logs)
        async with dials(pair, 2) as again:
            await again.wait_for("CALL_ESTABLISHED", deadline_s=30)
            # The phone registers anew as soon as it hears that its registrar is another machine: here, now.
            await anna.register_at(f"{pair.floating}:{stack.settings.sip_port}")
            await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await hear_each_other(again, anna)
            print(f"address {moved - off:.1f} s, answered {answered - off:.1f} s after the power went")

            # The former active host comes back in the middle of the call, and follows.
            first.power_on()
            await asyncio.to_thread(pair.wait_in_step)
            assert (first.has_address(), second.has_address()) == (False, True)
            await hear_each_other(again, anna)
            await again.hang_up()
        # The cable of the active host is pulled: it is alive, sees that it has lost the address, and ends by itself.
        second.host.unplug()
        await asyncio.to_thread(wait_until, first.has_address, 30, "the address at the first host again", pair.logs)
        assert await asyncio.to_thread(second.controller.wait, 10) == FENCED
        second.host.plug_in()
        second.run_controller()  # as systemd does
        async with dials(pair, 3) as third:
            await third.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await asyncio.to_thread(pair.wait_in_step)
            await third.hang_up()

        calls = await stack.ended_calls(5)
        assert len(calls) == 5, "each call has one record, the lost ones too"
        await asyncio.to_thread(wait_until, lambda: first.journal() == second.journal(), 10, "one journal", pair.logs)
        events = first.journal()
        assert [seq for seq, *_ in events] == list(range(1, len(events) + 1)), "none twice, none missing"
        assert len(events) > written
        ended = {call: event["cause"] for _, call, kind, event in events if kind == "CallEnded"}
        assert len(ended) == len([kind for _, _, kind, _ in events if kind == "CallEnded"]) == 5
        assert {ended[call_id] for call_id in lost} == {HangupCause.NETWORK_OUT_OF_ORDER}
        # Who had waited, and dialled again, has the place of before.
        later = [event["asked"] for _, call, kind, event in events if kind == "QueueJoined" and call not in lost]
        joined = [asked["entered_at"] for asked in later]
        kept = [event["entered_at"] for _, _, kind, event in events if kind == "PlaceKept"]
        assert len(set(joined) & set(kept)) == 1, (joined, kept)
