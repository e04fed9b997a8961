"""A phone that knows POPs by one name: its SRV records (RFC 3263) lead it to the backup when its POP loses its power,
and back."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.test_moving_agent import AGENT_HZ, boot, dials, hear_each_other, power_off, rings_for
from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.names import Service, name_server
from tests.lab.phone import Account, Phone
from tests.lab.second_pop import two_pops

DOMAIN = "pops.example"
RENEW_S = 30
MOVED_S = 90
"""Until it is registered elsewhere: the rest of a registration, and 32 s for nobody's answer (RFC 3261, Timer F)."""


@pytest.mark.pair
@pytest.mark.timeout(400)
async def test_a_phone_follows_the_records_to_the_backup_and_back(lab: Lab) -> None:
    async with two_pops(lab, flow=QUEUE_FLOW) as (stack, second):
        assert isinstance(stack.server, AsteriskServer)
        await second.backs_up()
        eva = await stack.add_agent("eva")
        await stack.synced()
        await second.synced()
        services = (
            Service("pop1", stack.pop.address, stack.settings.sip_port, 10),
            Service("pop2", second.host.address, second.settings.sip_port, 20),
        )
        with name_server(stack.phones, DOMAIN, services) as names:
            account = Account(
                uri=f"sip:{eva.phone_id}@{DOMAIN}",
                server=DOMAIN,
                password=eva.password,
                answer="auto",
                renew_s=RENEW_S,
                name_server=names,
            )
            async with Phone.start(stack.phones, eva.phone_id, tone_hz=AGENT_HZ, account=account) as phone:
                await phone.wait_registered()
                await stack.status("eva", "AVAILABLE")
                async with dials(stack, stack.pop.address, 1) as caller:
                    await phone.wait_for("CALL_ESTABLISHED", deadline_s=30)
                    await hear_each_other(caller, phone)
                    assert not rings_for(second, eva.phone_id), "the first of the records"
                    await caller.hang_up()
                await phone.wait_for("CALL_CLOSED")
                power_off(stack)
                # The carrier's second route, at once: the call waits for the phone.
                async with dials(stack, second.host.address, 2) as caller:
                    await phone.wait_for("CALL_ESTABLISHED", deadline_s=MOVED_S)
                    await hear_each_other(caller, phone)
                    assert rings_for(second, eva.phone_id)
                    await caller.hang_up()
                await phone.wait_for("CALL_CLOSED")
                await boot(stack)
                registered = lambda: eva.phone_id in stack.server.cli("pjsip show contacts")  # noqa: E731
                await asyncio.to_thread(wait_until, registered, MOVED_S, "the phone to come back")
                async with dials(stack, stack.pop.address, 3) as caller:
                    await phone.wait_for("CALL_ESTABLISHED", deadline_s=30)
                    await hear_each_other(caller, phone)
                    assert not rings_for(second, eva.phone_id), "the first of the records again"
                    await caller.hang_up()
