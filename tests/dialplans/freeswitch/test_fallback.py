"""The rendered dialplan on a real FreeSWITCH: no controller, and one that takes the leg."""

from __future__ import annotations

import pytest

from dialplans.schema import Pop
from tests.dialplans.esl import Controller, at_us
from tests.dialplans.freeswitch.conftest import OVERFLOW, load
from tests.dialplans.sip import Far, invite
from tests.lab.errors import wait_until
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host

pytestmark = pytest.mark.lab


async def overflowed(controller: Controller, overflow: Far, before: int, pop: Pop) -> tuple[str, str]:
    """The caller heard the announcement and then reached the overflow number: the two legs."""
    played = await controller.event("PLAYBACK_START")
    assert played["Playback-File-Path"] == f"{pop.prompt_dir}/de/fallback.alaw"
    wait_until(lambda: len(overflow.dialled()) > before, 15, "the overflow to be dialled", overflow.text)
    assert overflow.dialled()[before:] == [OVERFLOW]
    bridged = await controller.of_leg("CHANNEL_BRIDGE", played["Unique-ID"])
    return bridged["Unique-ID"], bridged["Other-Leg-Unique-ID"]


async def test_no_lease_means_announcement_and_overflow(
    controller: Controller, server: FreeSwitchServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    await controller.lease(-1)
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    leg, _ = await overflowed(controller, overflow, before, pop)
    await controller.hang_up(leg, "NORMAL_CLEARING")  # and the other leg with it: the server is idle after each test
    assert far.process.wait() == 0, far.text()


async def test_a_server_that_has_just_started_waits_for_its_controller(
    controller: Controller, server: FreeSwitchServer, carrier: Host
) -> None:
    """Who was cut off dials again at once, and must not be sent to the overflow meanwhile."""
    address = server.host.address
    await controller.api("global_setvar callplane_lease=")
    far = invite(carrier, address, f"sip:0305550100@{address}", 486)
    wait_until(lambda: "180 Ringing" in far.text(), 10, "the caller to hear ringing", far.text)
    await controller.lease(600)
    offer = await controller.offered()
    assert offer.did == "+49305550100"
    await controller.hang_up(offer.leg)
    assert far.process.wait(15) == 0, far.text()


async def test_a_lease_that_was_never_given_means_announcement_and_overflow(
    controller: Controller, server: FreeSwitchServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    await controller.api("global_setvar callplane_lease=")
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    leg, _ = await overflowed(controller, overflow, before, pop)
    await controller.hang_up(leg, "NORMAL_CLEARING")  # and the other leg with it: the server is idle after each test
    assert far.process.wait() == 0, far.text()


async def test_when_the_overflow_hangs_up_the_caller_is_hung_up(
    controller: Controller, server: FreeSwitchServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    await controller.lease(-1)
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    leg, other = await overflowed(controller, overflow, before, pop)
    await controller.hang_up(other, "NORMAL_CLEARING")
    assert (await controller.of_leg("CHANNEL_HANGUP_COMPLETE", leg))["variable_hangup_cause"] == "NORMAL_CLEARING"
    assert far.process.wait() == 0, far.text()


async def test_without_an_overflow_number_the_carrier_can_take_its_next_route(
    controller: Controller, reloadable: FreeSwitchServer, carrier: Host, pop: Pop
) -> None:
    load(reloadable, pop.model_copy(update={"overflow_number": None}))
    address = reloadable.host.address
    await controller.lease(-1)
    far = invite(carrier, address, f"sip:0305550100@{address}", 503)
    assert far.process.wait(15) == 0, far.text()
    assert "183 Session Progress" in far.text()
    ended = await controller.event("CHANNEL_HANGUP_COMPLETE")
    assert ended["variable_hangup_cause_q850"] == "42"
    assert (await controller.event("PLAYBACK_START"))["Playback-File-Path"].endswith("/de/fallback.alaw")


async def test_a_leg_that_nobody_takes_overflows_after_ten_seconds(
    controller: Controller, server: FreeSwitchServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    offer = await controller.offered()
    left = await controller.of_leg("CHANNEL_UNPARK", offer.leg, 12)
    assert 8.5 < (at_us(left) - offer.at_us) / 1e6 < 11
    leg, _ = await overflowed(controller, overflow, before, pop)
    await controller.hang_up(leg, "NORMAL_CLEARING")  # and the other leg with it: the server is idle after each test
    assert far.process.wait() == 0, far.text()


async def test_a_leg_that_was_taken_stays_and_ends_without_overflow(
    controller: Controller, server: FreeSwitchServer, carrier: Host, overflow: Far
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    offer = await controller.offered()
    assert await controller.api(f"sched_del {offer.leg}") == "+OK Deleted: 1\n"
    await controller.api(f"uuid_answer {offer.leg}")
    await controller.hang_up(offer.leg, "NORMAL_CLEARING")
    assert far.process.wait() == 0, far.text()
    assert len(overflow.dialled()) == before
