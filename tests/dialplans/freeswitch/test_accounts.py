"""The rendered configuration on a real FreeSWITCH: who is let in, what agents dial, trunks with a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dialplans.schema import Pop
from tests.dialplans.esl import Controller
from tests.dialplans.freeswitch.conftest import phone_file
from tests.dialplans.numbers import DIALLED, NOT_DIALLED, shown
from tests.dialplans.sip import Far, answering, invite, register
from tests.lab.errors import wait_until
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

ANNA = ("anna", "annas-password")
CUSTOMER = ("customer-7", "customer-password")


@pytest.fixture(scope="module")
def phones(lab: Lab) -> Host:
    return lab.host("fs-phones")


@pytest.fixture
def anna(server: FreeSwitchServer, pop: Pop) -> Iterator[tuple[str, str]]:
    """An account, put and removed as the controller does it, while the server runs."""
    path = Path(pop.phone_dir, "anna.xml")
    path.write_bytes(phone_file(*ANNA))
    server.cli("reloadxml")
    yield ANNA
    path.unlink()
    server.cli("reloadxml")


def test_who_is_unknown_is_not_let_in(controller: Controller, server: FreeSwitchServer, phones: Host) -> None:
    address = server.host.address
    far = invite(phones, address, f"sip:0305550100@{address}", 407)
    assert far.process.wait() == 0, far.text()
    for account in (("nobody", "guessed-password"), ("carrier-a", "guessed-password"), ("anna", "annas-password")):
        far = invite(phones, address, f"sip:0305550100@{address}", 403, account=account)
        assert far.process.wait() == 0, far.text()
        far = register(phones, address, account, 403)
        assert far.process.wait() == 0, far.text()
    assert server.channels() == []


def test_an_account_counts_from_reload_to_reload(
    anna: tuple[str, str], server: FreeSwitchServer, phones: Host, pop: Pop
) -> None:
    address = server.host.address
    far = register(phones, address, anna, 200)
    assert far.process.wait() == 0, far.text()
    assert server.cli("sofia_contact callplane/anna@callplane").startswith("sofia/callplane/sip:anna@")
    far = register(phones, address, ("anna", "another-password"), 403)
    assert far.process.wait() == 0, far.text()
    Path(pop.phone_dir, "anna.xml").rename(Path(pop.phone_dir, "anna.off"))
    server.cli("reloadxml")
    far = register(phones, address, anna, 403)
    assert far.process.wait() == 0, far.text()
    assert "+OK" in server.cli("sofia profile callplane flush_inbound_reg anna@callplane")
    assert server.cli("sofia_contact callplane/anna@callplane").startswith("error/user_not_registered")
    Path(pop.phone_dir, "anna.off").rename(Path(pop.phone_dir, "anna.xml"))


def test_nobody_registers_as_another(anna: tuple[str, str], server: FreeSwitchServer, phones: Host) -> None:
    far = register(phones, server.host.address, anna, 403, as_user="berta")
    assert far.process.wait() == 0, far.text()


@pytest.mark.parametrize(("number", "dialled"), DIALLED)
async def test_agents_dial_out(
    number: str,
    dialled: str,
    controller: Controller,
    anna: tuple[str, str],
    server: FreeSwitchServer,
    phones: Host,
    overflow: Far,
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    await controller.lease(-1)  # no controller is needed for this
    far = invite(phones, address, f"sip:{number}@{address}", 200, account=anna)
    wait_until(lambda: overflow.dialled()[before:] == [dialled], 5, f"{dialled} to be dialled", overflow.text)
    assert overflow.shown()[before:] == [shown(dialled)]
    bridged = await controller.event("CHANNEL_BRIDGE")
    await controller.hang_up(bridged["Unique-ID"], "NORMAL_CLEARING")  # and the other leg with it
    assert far.process.wait() == 0, far.text()


async def test_what_an_agent_dials_is_handed_over_and_dialled_when_nobody_takes_it(
    controller: Controller, anna: tuple[str, str], server: FreeSwitchServer, phones: Host, overflow: Far
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    await controller.lease(600)
    far = invite(phones, address, f"sip:0041445550100@{address}", 200, account=anna)
    parked = await controller.event("CHANNEL_PARK")
    assert [parked[f"variable_callplane_{name}"] for name in ("dialled", "shown", "via", "phone")] == [
        "+41445550100",
        shown("+41"),
        "carrier-a",
        anna[0],
    ]
    assert overflow.dialled()[before:] == []
    wait_until(lambda: overflow.dialled()[before:] == ["+41445550100"], 15, "the number to be dialled", overflow.text)
    bridged = await controller.event("CHANNEL_BRIDGE")
    await controller.hang_up(bridged["Unique-ID"], "NORMAL_CLEARING")
    assert far.process.wait() == 0, far.text()


STATUS = {21: 603, 28: 484}


@pytest.mark.parametrize(("number", "cause"), NOT_DIALLED)
async def test_agents_cannot_dial_premium_numbers_or_nonsense(
    number: str,
    cause: int,
    controller: Controller,
    anna: tuple[str, str],
    server: FreeSwitchServer,
    phones: Host,
    overflow: Far,
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    far = invite(phones, address, f"sip:{number}@{address}", STATUS[cause], account=anna)
    assert far.process.wait() == 0, far.text()
    ended = await controller.event("CHANNEL_HANGUP_COMPLETE")
    assert ended["variable_hangup_cause_q850"] == str(cause)
    assert len(overflow.dialled()) == before


async def test_a_trunk_with_a_password_calls_and_is_called(
    controller: Controller, server: FreeSwitchServer, phones: Host
) -> None:
    address = server.host.address
    far = invite(phones, address, f"sip:0305550100@{address}", 486, account=CUSTOMER)
    offer = await controller.offered()
    assert (offer.did, offer.cli, offer.trunk) == ("+49305550100", "+493012345678", "customer")
    await controller.hang_up(offer.leg)
    assert far.process.wait() == 0, far.text()

    dial = "originate {callplane_number=+49305550111}user/customer@trunks &park()"
    assert "USER_NOT_REGISTERED" in server.cli(dial)
    far = register(phones, address, CUSTOMER, 200, port=5090)
    assert far.process.wait() == 0, far.text()
    far = answering(phones, 5090)
    assert server.cli(dial).startswith("+OK")
    assert far.dialled() == ["+49305550111"]
    await controller.api("hupall normal_clearing")
    server.wait_idle()
    far.process.stop()


def test_an_account_without_a_hash_lets_nobody_in(server: FreeSwitchServer, phones: Host, pop: Pop) -> None:
    path = Path(pop.phone_dir, "empty.xml")
    path.write_text('<include><user id="empty"></user></include>')
    server.cli("reloadxml")
    far = register(phones, server.host.address, ("empty", "any-password"), 403)
    assert far.process.wait() == 0, far.text()
    path.unlink()
    server.cli("reloadxml")


def test_headers_of_a_leg_are_not_passed_on(
    anna: tuple[str, str], server: FreeSwitchServer, phones: Host, overflow: Far
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    headers = "X-Secret: 1\n"
    far = invite(phones, address, f"sip:08912345678@{address}", 200, account=anna, headers=headers)
    wait_until(lambda: len(overflow.dialled()) > before, 5, "the call", overflow.text)
    wait_until(lambda: "SIP/2.0 200" in far.text(), 5, "the answer", far.text)
    assert "X-Secret" not in overflow.text()
    server.cli("hupall normal_clearing")
    assert far.process.wait() == 0, far.text()
    server.wait_idle()
