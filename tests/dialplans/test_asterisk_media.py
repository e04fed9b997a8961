"""Codecs and SIP timers of the rendered configuration on a real Asterisk, judged by the messages on the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dialplans.endpoints import PhoneClass, SipTimers, classes
from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from pbx.adapters.asterisk.phones import USUAL_PHONES, objects
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount
from tests.dialplans.sip import register
from tests.dialplans.sip_socket import Message, SipSocket
from tests.lab.asterisk import AsteriskServer
from tests.lab.lab import Lab

PASSWORD = "of-annas-phone"
HA1 = hashlib.md5(f"anna:callplane:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
TIMERS = SipTimers(session_expires_s=600, min_se_s=300, rtp_timeout_s=1, qualify_s=1)
KIND = PhoneClass(timers=SipTimers(registration_min_s=60, registration_max_s=90))


@pytest.fixture(scope="module")
def carrier(lab: Lab) -> Iterator[SipSocket]:
    with SipSocket(lab.machine_address) as socket:
        yield socket


@pytest.fixture(scope="module")
def server(lab: Lab, carrier: SipSocket) -> Iterator[AsteriskServer]:
    host = lab.host("ast-media")
    where = f"{carrier.address}:{carrier.port}"
    codecs = ["g722", "opus", "gsm", "g726", "alaw"]
    given = {"name": "carrier", "addresses": [carrier.address], "host": where, "codecs": codecs, "timers": TIMERS}
    pop = Pop(
        pop_id="media",
        country="DE",
        sip_address=host.address,
        trunks=[Trunk.model_validate(given)],
        sip_t1_ms=100,
        ari_password="ari-password",
        ami_password="ami-password",
    )
    files = dict(render(load_pack("DE"), pop))
    settings = replace(USUAL_PHONES, classes=classes({"kept": KIND}), nat=False)
    for kind, fields in objects(PhoneAccount(PhoneId("anna"), HA1, phone_class="kept"), settings):
        lines = [f"{key} = {value}\n" for key, value in fields.items()]
        files["pjsip.conf"] += "".join([f"\n[anna]\ntype = {kind}\n", *lines]).encode()
    files["extensions.conf"] = (
        b"[from-trunk]\nexten => _X!,1,Answer()\n same => n,Wait(60)\n"
        b"exten => _+!,1,Dial(PJSIP/+4930@carrier,2)\n[from-agent]\n"
    )
    running = AsteriskServer(host, files, lab)
    yield running
    running.stop()


def test_every_codec_that_may_be_named_is_there(server: AsteriskServer) -> None:
    modules = server.cli("module show like codec_")
    assert all(name in modules for name in ("codec_gsm", "codec_g726", "codec_g722", "codec_opus"))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("alaw", "gsm", "g722"), "G722"),
        (("alaw", "gsm"), "GSM"),
        (("alaw", "opus"), "opus"),
        (("alaw", "g726"), "G726-32"),
        (("g729", "alaw"), "PCMA"),
    ],
)
def test_the_trunks_order_decides_not_the_far_ends(
    server: AsteriskServer, carrier: SipSocket, offered: tuple[str, ...], chosen: str
) -> None:
    carrier.invite(server.host.address, "0", offered)
    answer = carrier.response(200)
    carrier.acknowledge(answer)
    assert answer.codecs[0] == chosen
    carrier.hang_up(answer)


def test_a_codec_that_the_trunk_does_not_name_is_refused(server: AsteriskServer, carrier: SipSocket) -> None:
    carrier.invite(server.host.address, "0", ("ulaw", "g729"))
    carrier.acknowledge(carrier.response(488))


def outgoing(server: AsteriskServer, carrier: SipSocket) -> Message:
    """The INVITE of a call over the trunk."""
    carrier.invite(server.host.address, "+", ("alaw",))
    return carrier.request("INVITE")


def test_our_invite_offers_the_order_and_the_timers_and_is_repeated_by_t1(
    server: AsteriskServer, carrier: SipSocket
) -> None:
    first = outgoing(server, carrier)
    assert first.codecs == ["G722", "opus", "GSM", "G726-32", "PCMA"]
    assert (first.header("Session-Expires"), first.header("Min-SE")) == ("600", "300")
    assert "timer" in first.header("Supported")
    again = [carrier.request("INVITE") for _ in range(3)]
    assert {message.header("CSeq") for message in again} == {first.header("CSeq")}
    gaps = [late.at - early.at for early, late in zip([first, *again], again, strict=False)]
    # RFC 3261, 17.1.1.2: T1, then twice as long each time. A laden machine is late, never early.
    assert [0.09 < gaps[0] < 0.19, 0.19 < gaps[1] < 0.39, 0.39 < gaps[2] < 0.79] == [True] * 3, gaps
    carrier.answer(again[-1], "486 Busy Here")
    carrier.acknowledge(carrier.wait(lambda m: m.start.startswith("SIP/2.0 4"), "the end of the caller's leg"))


def test_a_session_shorter_than_min_se_is_refused(server: AsteriskServer, carrier: SipSocket) -> None:
    carrier.invite(server.host.address, "0", headers="Supported: timer\nSession-Expires: 200\nMin-SE: 90\n")
    refused = carrier.response(422)
    assert refused.header("Min-SE") == "300"
    carrier.acknowledge(refused)
    carrier.invite(server.host.address, "0", headers="Supported: timer\nSession-Expires: 400\nMin-SE: 300\n")
    answer = carrier.response(200)
    carrier.acknowledge(answer)
    assert answer.header("Session-Expires").startswith("400;refresher=")
    carrier.hang_up(answer)


def test_a_far_end_that_says_nothing_is_let_go(server: AsteriskServer, carrier: SipSocket) -> None:
    carrier.invite(server.host.address, "0")
    answer = carrier.response(200)
    carrier.acknowledge(answer)
    ended = carrier.request("BYE", deadline_s=8)
    assert ended.at - answer.at > 0.9
    carrier.answer(ended)


def test_the_trunk_is_asked_whether_it_is_there(server: AsteriskServer, carrier: SipSocket) -> None:
    """Every second; those to which nobody answered until now are repeated besides, for three seconds at most."""
    carrier.forget()
    came: dict[str, float] = {}
    while len(came) < 5:
        asked = carrier.request("OPTIONS", deadline_s=8)
        carrier.answer(asked)
        came.setdefault(asked.header("Call-ID"), asked.at)
    *_, before, last = came.values()
    assert 0.5 < last - before < 3


@pytest.mark.parametrize(("asked_s", "given_s"), [(10, 60), (75, 75), (3600, 90)])
def test_a_registration_lasts_as_long_as_its_class_allows(
    lab: Lab, server: AsteriskServer, asked_s: int, given_s: int
) -> None:
    phone = register(lab.host("ast-phone"), server.host.address, ("anna", PASSWORD), 200, expires_s=asked_s)
    phone.process.wait(20)
    # What the contact itself has left may have become a second less already.
    assert f"Expires: {given_s}\n" in phone.text().replace("\r", "").partition("SIP/2.0 200 OK")[2]
