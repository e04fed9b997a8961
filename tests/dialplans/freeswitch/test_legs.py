"""What the controller relies on, on a real FreeSWITCH: legs that stay, prompts, music, accounts that last."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from dialplans.schema import Pop, Trunk
from tests.dialplans.esl import Controller
from tests.dialplans.freeswitch.conftest import load, phone_file
from tests.dialplans.sip import Far, invite, register
from tests.lab.errors import wait_until
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab

BERTA = ("berta", "bertas-password")


@pytest.fixture(scope="module")
def berta(server: FreeSwitchServer, pop: Pop) -> Iterator[tuple[str, str]]:
    path = Path(pop.phone_dir, "berta.xml")
    path.write_bytes(phone_file(*BERTA))
    server.cli("reloadxml")
    yield BERTA
    path.unlink()
    server.cli("reloadxml")


@pytest.fixture
async def phone(lab: Lab, server: FreeSwitchServer, berta: tuple[str, str]) -> AsyncIterator[Phone]:
    user, password = berta
    async with Phone.start(
        lab.host("fs-phones"), user, tone_hz=440, server=server.host.address, password=password, answer="auto"
    ) as registered:
        await registered.wait_registered()
        yield registered


async def originate(controller: Controller) -> str:
    """A leg to the phone, answered and parked."""
    leg = str(uuid.uuid4())
    variables = f"origination_uuid={leg},park_after_bridge=true"
    assert await controller.api(f"originate {{{variables}}}user/berta@callplane &park()") == f"+OK {leg}\n"
    await controller.of_leg("CHANNEL_PARK", leg)
    return leg


@pytest.mark.parametrize("first", ["caller", "phone"])
async def test_a_leg_is_parked_again_when_its_bridge_ends(
    first: str, controller: Controller, server: FreeSwitchServer, carrier: Host, phone: Phone
) -> None:
    address = server.host.address
    far = invite(carrier, address, f"sip:0305550100@{address}", 200)
    offer = await controller.offered()
    await controller.api(f"sched_del {offer.leg}")
    await controller.api(f"uuid_answer {offer.leg}")
    leg = await originate(controller)
    await controller.api(f"uuid_bridge {offer.leg} {leg}")
    await controller.event("CHANNEL_BRIDGE")  # before it, the other leg is hung up with the first
    gone, left = (offer.leg, leg) if first == "caller" else (leg, offer.leg)
    await controller.hang_up(gone, "NORMAL_CLEARING")
    parked = await controller.of_leg("CHANNEL_PARK", left)
    assert parked["Answer-State"] == "answered"
    assert "variable_park_timeout" not in parked
    wait_until(lambda: server.channels() == [left], 5, "one leg to be left", server.logs)
    await controller.hang_up(left, "NORMAL_CLEARING")
    assert far.process.wait() == 0, far.text()


def loudness_db(phone: Phone, last_s: float) -> float:
    samples, rate = phone.heard(last_s)
    if len(samples) < last_s * rate:
        return float("-inf")
    return float(20 * np.log10(max(1e-9, np.sqrt(np.mean(samples**2)))))


@pytest.mark.parametrize(
    "sound", ["{prompts}/de/fallback.alaw", "{prompts}/de/fallback.ulaw", "local_stream://default"]
)
async def test_prompts_and_music_are_heard(
    sound: str, controller: Controller, server: FreeSwitchServer, pop: Pop, phone: Phone
) -> None:
    leg = await originate(controller)
    await controller.api(f"uuid_broadcast {leg} {sound.format(prompts=pop.prompt_dir)} aleg")
    played = await controller.of_leg("PLAYBACK_START", leg)
    assert played["Playback-File-Path"] == sound.format(prompts=pop.prompt_dir)
    wait_until(lambda: bool(phone.recordings()) and loudness_db(phone, 1.0) > -35, 5, "sound", server.logs)
    await controller.hang_up(leg)


async def test_an_emergency_call_takes_the_next_trunk_when_one_fails(
    controller: Controller,
    reloadable: FreeSwitchServer,
    carrier: Host,
    overflow: Far,
    lab: Lab,
    pop: Pop,
    berta: tuple[str, str],
) -> None:
    address, before = reloadable.host.address, len(overflow.dialled())
    dead = Trunk(name="dead", addresses=["198.51.100.1"], host=f"{carrier.address}:5999")
    load(reloadable, pop.model_copy(update={"trunks": [dead, *pop.trunks]}))
    far = invite(lab.host("fs-phones"), address, f"sip:112@{address}", 200, account=berta)
    wait_until(lambda: overflow.dialled()[before:] == ["112"], 10, "112 at the second trunk", reloadable.logs)
    wait_until(lambda: "SIP/2.0 200" in far.text(), 5, "the answer", far.text)
    await controller.api("hupall normal_clearing")
    assert far.process.wait() == 0, far.text()


def test_registrations_and_accounts_last_over_a_crash(
    lab: Lab, server: FreeSwitchServer, berta: tuple[str, str]
) -> None:
    far = register(lab.host("fs-phones"), server.host.address, berta, 200)
    assert far.process.wait() == 0, far.text()
    before = server.cli("sofia_contact callplane/berta@callplane")
    assert before.startswith("sofia/callplane/sip:berta@")
    server.kill()
    server.start()
    assert server.cli("sofia_contact callplane/berta@callplane") == before
    far = register(lab.host("fs-phones"), server.host.address, berta, 200)
    assert far.process.wait() == 0, far.text()
