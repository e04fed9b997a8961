"""Phones talk through a real Asterisk: tones both ways, digits, refusals, callers that are not registered."""

from collections.abc import Iterator

import pytest

from tests.lab import tiny_asterisk
from tests.lab.asterisk import AsteriskServer
from tests.lab.audio import contains_tone
from tests.lab.errors import LabError, LabTimeoutError, wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[AsteriskServer]:
    host = lab.host("phonetest")
    users = {"anna": "secret-a", "bob": "secret-b"}
    running = AsteriskServer(host, tiny_asterisk.files(host, users, carrier=lab.host("carrier").address), lab)
    yield running
    running.stop()


@pytest.fixture
def phones(lab: Lab) -> Host:
    return lab.host("phones")


@pytest.fixture
def carrier(lab: Lab) -> Host:
    return lab.host("carrier")  # known by its address, so no user can register from it


async def test_two_phones_hear_each_other_and_only_that(server: AsteriskServer, phones: Host) -> None:
    at = server.host.address
    async with (
        Phone.start(phones, "anna", server=at, password="secret-a", tone_hz=440) as anna,
        Phone.start(phones, "bob", server=at, password="secret-b", tone_hz=1000) as bob,
    ):
        await anna.wait_registered()
        await bob.wait_registered()
        await anna.dial(f"sip:bob@{at}")
        await bob.wait_for("CALL_INCOMING")
        await anna.wait_for("CALL_RINGING")
        await bob.answer()
        await anna.wait_for("CALL_ESTABLISHED")
        await anna.hears(1000)
        await bob.hears(440)
        assert not contains_tone(*anna.heard(), 440)
        assert not contains_tone(*bob.heard(), 1000)
        with pytest.raises(LabTimeoutError, match="does not hear 700 Hz"):
            await anna.hears(700, deadline_s=0.2)
        await bob.hang_up()
        await anna.wait_for("CALL_CLOSED")
    server.wait_idle()


async def test_digits_arrive_as_rfc_4733_events(server: AsteriskServer, carrier: Host) -> None:
    at = server.host.address
    async with Phone.start(carrier, "digits", uri=f"sip:+491701@{carrier.address}", tone_hz=440) as caller:
        await caller.dial(f"sip:digits@{at}")
        await caller.wait_for("CALL_ESTABLISHED")
        server.cli("rtp set debug on")
        await caller.send_digits("7*09")
        wait_until(lambda: "DIGITS=7*09" in server.cli("dialplan show globals"), 5, "digits", server.logs)
        server.cli("rtp set debug off")
        # Payload type 101 is telephone-event: the digits were no tones in the audio.
        assert "(type 101" in server.process.log_text()
        await caller.hang_up()
        await caller.wait_for("CALL_CLOSED")
    server.wait_idle()


async def test_unregistered_caller_chooses_its_number(server: AsteriskServer, carrier: Host) -> None:
    at = server.host.address
    async with Phone.start(carrier, "anyone", uri=f"sip:+4915112345@{carrier.address}", tone_hz=600) as caller:
        await caller.dial(f"sip:+49305550100@{at}")
        await caller.wait_for("CALL_ESTABLISHED")
        assert "CALLER=+4915112345" in server.cli("dialplan show globals")
        await caller.hears(600)  # Echo() sends it back
        await caller.hang_up()
        await caller.wait_for("CALL_CLOSED")
    server.wait_idle()


async def test_refusal_reaches_the_caller_as_busy(server: AsteriskServer, phones: Host) -> None:
    at = server.host.address
    async with (
        Phone.start(phones, "anna", server=at, password="secret-a", tone_hz=440) as anna,
        Phone.start(phones, "bob", server=at, password="secret-b", tone_hz=1000) as bob,
    ):
        await bob.wait_registered()
        await anna.dial(f"sip:bob@{at}")
        await bob.wait_for("CALL_INCOMING")
        await bob.reject()
        closed = await anna.wait_for("CALL_CLOSED")
        assert "486" in closed.param
    server.wait_idle()


async def test_automatic_answer(server: AsteriskServer, phones: Host) -> None:
    at = server.host.address
    async with (
        Phone.start(phones, "anna", server=at, password="secret-a", tone_hz=440) as anna,
        Phone.start(phones, "bob", server=at, password="secret-b", tone_hz=1000, answer="auto") as bob,
    ):
        await bob.wait_registered()
        await anna.dial(f"sip:bob@{at}")
        await anna.wait_for("CALL_ESTABLISHED")
        await bob.hears(440)
    server.wait_idle()


async def test_wrong_password_is_an_error_that_says_so(server: AsteriskServer, phones: Host) -> None:
    at = server.host.address
    async with Phone.start(phones, "anna", server=at, password="wrong", tone_hz=440) as anna:
        with pytest.raises(LabError, match=r"registration refused: 401"):
            await anna.wait_registered()


async def test_a_killed_phone_is_an_error_not_a_hang(server: AsteriskServer, phones: Host) -> None:
    async with Phone.start(phones, "frail", uri=f"sip:frail@{phones.address}", tone_hz=440) as frail:
        frail.process.kill()
        with pytest.raises(LabError, match="closed its control connection"):
            await frail.wait_for("CALL_INCOMING", deadline_s=5)
        with pytest.raises(LabError, match="closed its control connection"):
            await frail.dial(f"sip:anna@{server.host.address}")
