"""The rendered dialplan on a real FreeSWITCH: every form of number, and refusals."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dialplans.numbering import cli, to_e164
from dialplans.pack import countries, load_pack
from dialplans.schema import Pop
from tests.dialplans.esl import Controller
from tests.dialplans.freeswitch.conftest import load
from tests.dialplans.numbers import INVITES, NO_NUMBERS, asserted_calls, called_and_callers
from tests.dialplans.sip import asserted, invite, invites
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host

pytestmark = pytest.mark.lab

NOT_FOUND = 1
INVALID_FORMAT = 28


def decided(outcomes: dict[str, tuple[str, str] | int]) -> list[tuple[str, str] | int]:
    """In the order in which sipp made the calls."""
    return [outcomes[call_id] for call_id in sorted(outcomes, key=lambda call_id: int(call_id.split("-")[0]))]


CUT_BY_THE_SERVER = {'0305550100"': NOT_FOUND}
"""Only what stands between quotation marks reaches the dialplan: here nothing."""


async def test_numbers_of_every_form_become_what_numbering_says(
    controller: Controller, server: FreeSwitchServer, carrier: Host
) -> None:
    german, calls = load_pack("DE"), called_and_callers()
    expected: list[tuple[str, str] | int] = []
    for number, caller in calls:
        did = CUT_BY_THE_SERVER.get(number) or to_e164(number, german, "30") or INVALID_FORMAT
        expected.append((did, cli(caller, german, "30")) if isinstance(did, str) else did)
    far = invites(carrier, server.host.address, calls)
    found = decided(await controller.outcomes(len(calls)))
    assert [(*pair, *both) for pair, *both in zip(calls, found, expected, strict=True) if both[0] != both[1]] == []
    assert far.process.wait() == 0, far.text()


async def test_all_countries_read_their_own_numbers(
    controller: Controller, reloadable: FreeSwitchServer, carrier: Host, pop: Pop
) -> None:
    for iso2 in countries():
        pack = load_pack(iso2)
        load(reloadable, pop.model_copy(update={"country": iso2, "area_code": ""}))  # no reload may forget the lease
        calls: list[tuple[str, str]] = []
        expected: list[tuple[str, str] | int] = []
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
            example = phonenumbers.example_number_for_type(iso2, kind)
            assert example is not None
            number = phonenumbers.format_number(example, PhoneNumberFormat.E164)
            national = (pack.numbering.trunk_prefix or "") + phonenumbers.national_significant_number(example)
            prefix = pack.numbering.international_prefixes[0]
            whole = [number, f"00{number[1:]}", prefix + number[1:], national]
            expected += [(number, number)] * len(whole)
            odd = [number[1:], national[1:], number[4:], number[:9], national + "00"]
            expected += [(did, cli(text, pack)) if (did := to_e164(text, pack)) else INVALID_FORMAT for text in odd]
            calls += [(text, text) for text in whole + odd]
        far = invites(carrier, reloadable.host.address, calls, rate=200)
        found = decided(await controller.outcomes(len(calls)))
        wrong = [(*pair, *both) for pair, *both in zip(calls, found, expected, strict=True) if both[0] != both[1]]
        assert (iso2, wrong) == (iso2, [])
        assert far.process.wait() == 0, far.text()


async def test_all_countries_read_what_their_carriers_assert(
    controller: Controller, reloadable: FreeSwitchServer, carrier: Host, pop: Pop
) -> None:
    for iso2 in countries():
        pack = load_pack(iso2)
        load(reloadable, pop.model_copy(update={"country": iso2, "area_code": ""}))
        calls = asserted_calls(pack)
        far = asserted(carrier, reloadable.host.address, [call for call, _ in calls])
        found = decided(await controller.outcomes(len(calls)))
        assert (iso2, found) == (iso2, [expected for _, expected in calls])
        assert far.process.wait() == 0, far.text()


@pytest.mark.parametrize(("uri", "caller", "headers", "expected"), INVITES)
async def test_invites_of_carriers(
    uri: str,
    caller: str | None,
    headers: str,
    expected: str,
    controller: Controller,
    server: FreeSwitchServer,
    carrier: Host,
) -> None:
    address = server.host.address
    far = invite(carrier, address, uri.format(pop=address), 486, caller=caller, headers=headers)
    offer = await controller.offered()
    assert (offer.did, offer.cli, offer.trunk) == ("+49305550100", expected, "carrier-a")
    await controller.hang_up(offer.leg)
    assert far.process.wait() == 0, far.text()
    assert "SIP/2.0 183" not in far.text()


@pytest.mark.parametrize(("user", "status"), NO_NUMBERS)
async def test_a_called_number_that_is_none_is_refused(
    user: str, status: int, controller: Controller, server: FreeSwitchServer, carrier: Host
) -> None:
    address = server.host.address
    far = invite(carrier, address, f"sip:{user}@{address}", status)
    assert far.process.wait() == 0, far.text()
