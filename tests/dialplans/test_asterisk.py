"""The rendered dialplan on a real Asterisk: every form of number, refusals, and no controller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dialplans.numbering import cli, to_e164
from dialplans.pack import countries, load_pack
from dialplans.prompts import build
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from tests.dialplans.numbers import (
    ALLOWED,
    DIALLED,
    INVITES,
    NO_NUMBERS,
    NOT_DIALLED,
    SHOWN,
    asserted_calls,
    called_and_callers,
    shown,
)
from tests.dialplans.sip import Far, answering, asserted, invite
from tests.dialplans.stasis import CONFIG, Controller
from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

INVALID_FORMAT = 28
OVERFLOW = "+49305550199"


def pjsip(pop: Pop) -> bytes:
    """The least that a trunk needs; the product's own file is tested where it is made."""
    text = f"[udp]\ntype=transport\nprotocol=udp\nbind={pop.sip_address}:5060\n"
    for trunk in pop.trunks:
        text += f"""
[{trunk.name}]
type=endpoint
context=from-trunk
disallow=all
allow=alaw
aors={trunk.name}
trust_id_inbound=yes
direct_media=no
set_var=CALLPLANE_TRUNK={trunk.name}
[{trunk.name}]
type=aor
contact=sip:{trunk.host}
[{trunk.name}]
type=identify
endpoint={trunk.name}
match={trunk.addresses[0]}
"""
    return text.encode()


@pytest.fixture(scope="module")
def carrier(lab: Lab) -> Host:
    return lab.host("plan-carrier")


@pytest.fixture(scope="module")
def pop(lab: Lab, carrier: Host, tmp_path_factory: pytest.TempPathFactory) -> Pop:
    prompts = tmp_path_factory.mktemp("prompts")
    prompts.chmod(0o755)  # the media server has a user of its own
    build(prompts, ["de"])
    lab.host("plan-pop").bind(prompts)
    return Pop(
        pop_id="lab",
        country="DE",
        area_code="30",
        sip_address=lab.host("plan-pop").address,
        trunks=[Trunk(name="carrier-a", addresses=[carrier.address], host=carrier.address)],
        cli_by_destination=SHOWN,
        allowed_numbers=ALLOWED,
        overflow_number=OVERFLOW,
        ari_password="ari-password",
        ami_password="ami-password",
        prompt_dir=str(prompts),
    )


@pytest.fixture(scope="module")
def server(lab: Lab, pop: Pop) -> Iterator[AsteriskServer]:
    files = CONFIG | {
        "extensions.conf": render(load_pack("DE"), pop)["extensions.conf"],
        "pjsip.conf": pjsip(pop),
        "modules.conf": b"[modules]\nautoload=yes\nnoload=pbx_ael.so\nnoload=pbx_lua.so\nnoload=chan_iax2.so\n",
    }
    running = AsteriskServer(lab.host("plan-pop"), files, lab)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def overflow(carrier: Host, server: AsteriskServer) -> Iterator[Far]:
    far = answering(carrier)
    yield far
    far.process.stop()


async def test_numbers_of_every_form_become_what_numbering_says(server: AsteriskServer) -> None:
    german = load_pack("DE")
    async with Controller.connect(server.host.address) as controller:
        await controller.lease(600)
        for number, caller in called_and_callers():
            did = to_e164(number, german, "30")
            expected = (did, cli(caller, german, "30")) if did is not None else INVALID_FORMAT
            assert await controller.outcome(number, caller) == expected, (number, caller)
    server.wait_idle()


@pytest.fixture
def reloadable(server: AsteriskServer, pop: Pop) -> Iterator[AsteriskServer]:
    """The server, for tests that load other dialplans; it has the German one again afterwards."""
    yield server
    server.write_files({"extensions.conf": render(load_pack("DE"), pop)["extensions.conf"]})
    server.cli("dialplan reload")


async def test_all_countries_read_their_own_numbers(reloadable: AsteriskServer, pop: Pop) -> None:
    async with Controller.connect(reloadable.host.address) as controller:
        await controller.lease(600)  # and no reload may forget it
        for iso2 in countries():
            pack = load_pack(iso2)
            there = pop.model_copy(update={"country": iso2, "area_code": ""})
            reloadable.write_files({"extensions.conf": render(pack, there)["extensions.conf"]})
            reloadable.cli("dialplan reload")
            for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
                example = phonenumbers.example_number_for_type(iso2, kind)
                assert example is not None
                number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
                national = (pack.numbering.trunk_prefix or "") + phonenumbers.national_significant_number(example)
                prefix = pack.numbering.international_prefixes[0]
                for text in (number, f"00{number[1:]}", prefix + number[1:], national):
                    assert await controller.outcome(text, text) == (number, number), (iso2, text)
                for text in (number[1:], national[1:], number[4:], number[:9], national + "00"):
                    did = to_e164(text, pack)
                    expected = INVALID_FORMAT if did is None else (did, cli(text, pack))
                    assert await controller.outcome(text, text) == expected, (iso2, text)
    reloadable.wait_idle()


async def test_all_countries_read_what_their_carriers_assert(
    reloadable: AsteriskServer, pop: Pop, carrier: Host
) -> None:
    address = reloadable.host.address
    async with Controller.connect(address) as controller:
        await controller.lease(600)
        for iso2 in countries():
            pack = load_pack(iso2)
            there = pop.model_copy(update={"country": iso2, "area_code": ""})
            reloadable.write_files({"extensions.conf": render(pack, there)["extensions.conf"]})
            reloadable.cli("dialplan reload")
            calls = asserted_calls(pack)
            far = asserted(carrier, address, [call for call, _ in calls])
            found = []
            for _ in calls:
                offer = await controller.offered()
                found.append((offer.did, offer.cli))
                await controller.hang_up(offer.channel)
            assert (iso2, sorted(found)) == (iso2, sorted(expected for _, expected in calls))
            assert far.process.wait() == 0, far.text()
    reloadable.wait_idle()


@pytest.mark.parametrize(("uri", "caller", "headers", "expected"), INVITES)
async def test_invites_of_carriers(
    uri: str, caller: str | None, headers: str, expected: str, server: AsteriskServer, carrier: Host
) -> None:
    address = server.host.address
    async with Controller.connect(address) as controller:
        await controller.lease(600)
        far = invite(carrier, address, uri.format(pop=address), 486, caller=caller, headers=headers)
        offer = await controller.offered()
        assert (offer.did, offer.cli, offer.trunk) == ("+49305550100", expected, "carrier-a")
        await controller.hang_up(offer.channel)
        assert far.process.wait() == 0, far.text()
    server.wait_idle()


@pytest.mark.parametrize(("user", "status"), NO_NUMBERS)
async def test_a_called_number_that_is_none_is_refused(
    user: str, status: int, server: AsteriskServer, carrier: Host
) -> None:
    address = server.host.address
    far = invite(carrier, address, f"sip:{user}@{address}", status)
    assert far.process.wait() == 0, far.text()
    server.wait_idle()


def assert_overflowed(server: AsteriskServer, overflow: Far, before: int, pop: Pop) -> None:
    """The caller heard the announcement and then reached the overflow number."""
    wait_until(lambda: len(overflow.dialled()) > before, 15, "the overflow to be dialled", server.logs)
    assert overflow.dialled()[before:] == [OVERFLOW]
    assert f"Playing '{pop.prompt_dir}/de/fallback.alaw'" in server.process.log_text()


async def test_no_lease_means_announcement_and_overflow(
    server: AsteriskServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    async with Controller.connect(address) as controller:
        await controller.lease(-1)
        far = invite(carrier, address, f"sip:0305550100@{address}", 200)
        assert_overflowed(server, overflow, before, pop)
        server.cli("channel request hangup all")
        assert far.process.wait() == 0, far.text()
    server.wait_idle()


async def test_a_server_that_has_just_started_waits_for_its_controller(server: AsteriskServer, carrier: Host) -> None:
    """Who was cut off dials again at once, and must not be sent to the overflow meanwhile."""
    address = server.host.address
    async with Controller.connect(address) as controller:
        await controller.request("POST", "asterisk/variable", variable="CALLPLANE_LEASE", value="")
        far = invite(carrier, address, f"sip:0305550100@{address}", 486)
        wait_until(lambda: "180 Ringing" in far.text(), 10, "the caller to hear ringing", server.logs)
        await controller.lease(600)
        await controller.hang_up((await controller.offered()).channel)
        assert far.process.wait(15) == 0, far.text()
    server.wait_idle()


async def test_without_an_overflow_number_the_carrier_can_take_its_next_route(
    reloadable: AsteriskServer, carrier: Host, pop: Pop
) -> None:
    alone = pop.model_copy(update={"overflow_number": None})
    reloadable.write_files({"extensions.conf": render(load_pack("DE"), alone)["extensions.conf"]})
    reloadable.cli("dialplan reload")
    address = reloadable.host.address
    async with Controller.connect(address) as controller:
        await controller.lease(-1)
        far = invite(carrier, address, f"sip:0305550100@{address}", 503)
        assert far.process.wait(15) == 0, far.text()
    assert "183 Session Progress" in far.text()
    reloadable.wait_idle()


async def test_no_application_means_announcement_and_overflow(
    server: AsteriskServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    async with Controller.connect(address, apps="probe") as controller:
        await controller.lease(600)
        far = invite(carrier, address, f"sip:0305550100@{address}", 200)
        assert_overflowed(server, overflow, before, pop)
        server.cli("channel request hangup all")
        assert far.process.wait() == 0, far.text()
    server.wait_idle()


async def test_a_leg_that_nobody_takes_overflows_after_ten_seconds(
    server: AsteriskServer, carrier: Host, overflow: Far, pop: Pop
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    async with Controller.connect(address) as controller:
        await controller.lease(600)
        far = invite(carrier, address, f"sip:0305550100@{address}", 200)
        offer = await controller.offered()
        await controller.event("StasisEnd", 12, id=offer.channel)
        assert_overflowed(server, overflow, before, pop)
        server.cli("channel request hangup all")
        assert far.process.wait() == 0, far.text()
    server.wait_idle()


async def test_a_leg_that_was_taken_stays_and_ends_without_overflow(
    server: AsteriskServer, carrier: Host, overflow: Far
) -> None:
    address, before = server.host.address, len(overflow.dialled())
    async with Controller.connect(address) as controller:
        await controller.lease(600)
        far = invite(carrier, address, f"sip:0305550100@{address}", 200)
        offer = await controller.offered()
        await controller.request("POST", f"channels/{offer.channel}/variable", variable="TIMEOUT(absolute)", value="0")
        await controller.request("POST", f"channels/{offer.channel}/answer")
        limit = "channels/" + offer.channel + "/variable"
        assert (await controller.request("GET", limit, variable="TIMEOUT(absolute)"))["value"] == "0"
        await controller.request("POST", f"channels/{offer.channel}/continue")
        assert far.process.wait() == 0, far.text()
    server.wait_idle()
    assert len(overflow.dialled()) == before


@pytest.mark.parametrize(("number", "dialled"), DIALLED)
async def test_agents_dial_out(number: str, dialled: str, server: AsteriskServer, overflow: Far) -> None:
    before = len(overflow.dialled())
    async with Controller.connect(server.host.address) as controller:
        await controller.lease(-1)  # no controller is needed for this
        channel = await controller.call(number, "from-agent")
        await controller.event("StasisStart", application="probe", id=channel)
        wait_until(lambda: overflow.dialled()[before:] == [dialled], 5, f"{dialled} to be dialled", overflow.text)
        assert overflow.shown()[before:] == [shown(dialled)]
        await controller.hang_up(channel)
    server.wait_idle()


async def test_what_an_agent_dials_is_handed_over_and_dialled_when_nobody_takes_it(
    server: AsteriskServer, overflow: Far
) -> None:
    before = len(overflow.dialled())
    async with Controller.connect(server.host.address) as controller:
        await controller.lease(600)
        channel = await controller.call("0041445550100", "from-agent")
        handed = await controller.event("StasisStart", application="callplane")
        assert handed["args"][:4] == ["dialled", "+41445550100", shown("+41"), "carrier-a"]
        assert overflow.dialled()[before:] == []
        wait_until(lambda: overflow.dialled()[before:] == ["+41445550100"], 15, "the number to be dialled", server.logs)
        assert overflow.shown()[before:] == [shown("+41")]
        await controller.hang_up(channel)
    server.wait_idle()


@pytest.mark.parametrize(("number", "cause"), NOT_DIALLED)
async def test_agents_cannot_dial_premium_numbers_or_nonsense(
    number: str, cause: int, server: AsteriskServer, overflow: Far
) -> None:
    before = len(overflow.dialled())
    async with Controller.connect(server.host.address) as controller:
        await controller.lease(-1)  # while it holds, the controller says what may be dialled
        channel = await controller.call(number, "from-agent")
        ended = await controller.event("ChannelDestroyed", id=channel)
        assert ended["cause"] == cause
    server.wait_idle()
    assert len(overflow.dialled()) == before


def test_the_server_had_nothing_to_complain_about(server: AsteriskServer) -> None:
    log = (Path(server.log_dir) / "messages.log").read_text(errors="replace")
    lines = [line for line in log.splitlines() if "extensions.conf" in line or "pbx_config" in line or "pbx.c" in line]
    assert [line for line in lines if "WARNING" in line or "ERROR" in line] == []
