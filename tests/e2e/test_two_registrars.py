"""A phone that is registered at both POPs all the time, by two accounts: it is rung once for each offer while both
live, and needs to do nothing when one of them is powered off."""

from __future__ import annotations

import re

import pytest

from tests.e2e.test_moving_agent import agent, at, boot, dials, hear_each_other, power_off, rings_for
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.second_pop import two_pops


def rung(phone: Phone) -> int:
    """How many calls have come to it, at whichever account, answered or not."""
    return len(set(re.findall(r"^INVITE sip:.*?^Call-ID: (\S+)", phone.process.log_text(), re.MULTILINE | re.DOTALL)))


@pytest.mark.pair
@pytest.mark.timeout(300)
async def test_a_phone_with_two_accounts_is_rung_once_and_goes_on_without_its_first_pop(lab: Lab) -> None:
    async with two_pops(lab, flow=QUEUE_FLOW) as (stack, second):
        await second.backs_up()
        async with agent(stack, second, "eva", available=True) as eva:
            await eva.register_at(at(second))
            # Both live, and callers come by either.
            for number, address in ((1, stack.pop.address), (2, second.host.address)):
                async with dials(stack, address, number) as caller:
                    await eva.wait_for("CALL_ESTABLISHED", deadline_s=30)
                    await hear_each_other(caller, eva)
                    await caller.hang_up()
                await eva.wait_for("CALL_CLOSED")
            assert rung(eva) == 2, "once for each caller"
            wait_until(lambda: not second.server.leftovers(), 20, "the end of the calls", second.logs)
            power_off(stack)
            async with dials(stack, second.host.address, 3) as caller:
                await eva.wait_for("CALL_ESTABLISHED", deadline_s=30)
                await hear_each_other(caller, eva)
                assert (rung(eva), rings_for(second, "eva")) == (3, True)
                await boot(stack)
                await eva.register_at(f"{stack.pop.address}:{stack.settings.sip_port}")
                async with dials(stack, stack.pop.address, 4) as waiting:
                    await waiting.wait_for("CALL_ESTABLISHED")
                    await hear_each_other(caller, eva)
                    assert rung(eva) == 3, "not in the call"
                    await caller.hang_up()
                    await eva.wait_for("CALL_ESTABLISHED", deadline_s=30)
                    await hear_each_other(waiting, eva)
                    assert (rung(eva), rings_for(second, "eva")) == (4, False), "at home again"
                    await waiting.hang_up()
