"""The rendered configuration on a real FreeSWITCH: SIP over TLS and SRTP for agents' phones."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from tests.dialplans.certificates import certificate
from tests.dialplans.freeswitch.conftest import phone_file
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Account, Phone
from tests.support.freeswitch import freeswitch_or_skip

pytestmark = pytest.mark.lab

PASSWORD = "annas-password"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[FreeSwitchServer]:
    freeswitch_or_skip()
    host = lab.host("fs-tls")
    private, public = certificate(host.address)
    for name in ("phones", "tls"):
        (host.state_dir / name).mkdir()
    (host.state_dir / "tls" / "agent.pem").write_bytes(private + public)
    (host.state_dir / "ca.pem").write_bytes(public)
    (host.state_dir / "phones" / "anna.xml").write_bytes(phone_file("anna", PASSWORD))
    pop = Pop(
        pop_id="tls",
        engine="freeswitch",
        country="DE",
        sip_address=host.address,
        esl_password="esl-password",
        phone_dir=str(host.state_dir / "phones"),
        tls_dir=str(host.state_dir / "tls"),
    )
    running = FreeSwitchServer(host, render(load_pack("DE"), pop), lab)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def phones(lab: Lab, server: FreeSwitchServer) -> Host:
    """Not the server's host: what comes from there is the POP's call to itself."""
    host = lab.host("fs-tls-ph")
    (host.state_dir / "ca.pem").write_bytes((server.host.state_dir / "ca.pem").read_bytes())
    return host


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(version: ssl.TLSVersion, server: FreeSwitchServer) -> None:
    assert handshake(server, version) == f"TLSv{version.name[-3]}.{version.name[-1]}"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_older_tls_is_refused(server: FreeSwitchServer) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(server, ssl.TLSVersion.TLSv1_1)


def handshake(server: FreeSwitchServer, version: ssl.TLSVersion) -> str | None:
    """The version agreed on, when no other than ``version`` is offered."""
    context = ssl.create_default_context(cafile=str(server.host.state_dir / "ca.pem"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # this machine's policy would refuse the old ones by itself
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((server.host.address, 5061), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=server.host.address) as encrypted,
    ):
        return encrypted.version()


def account(server: FreeSwitchServer, phones: Host, encryption: Literal["srtp-mand"] | None) -> Account:
    address = f"{server.host.address}:5061"
    ca_file = Path(phones.state_dir / "ca.pem")
    return Account(
        uri=f"sip:anna@{address}",
        server=address,
        password=PASSWORD,
        answer="auto",
        transport="tls",
        media_encryption=encryption,
        ca_file=ca_file,
    )


async def test_a_phone_over_tls_is_called_with_srtp(phones: Host, server: FreeSwitchServer) -> None:
    async with Phone.start(phones, "anna", tone_hz=440, account=account(server, phones, "srtp-mand")) as anna:
        await anna.wait_registered()
        leg = server.cli("originate user/anna@callplane &echo()").removeprefix("+OK ").strip()
        assert "AES" in server.cli(f"uuid_getvar {leg} rtp_secure_media_negotiated")
        await anna.hears(440)
        server.cli(f"uuid_kill {leg}")
    server.wait_idle()


async def test_a_phone_over_tls_without_srtp_is_not_called(phones: Host, server: FreeSwitchServer) -> None:
    async with Phone.start(phones, "anna", tone_hz=440, account=account(server, phones, None)) as anna:
        await anna.wait_registered()
        assert server.cli("originate user/anna@callplane &echo()").startswith("-ERR INCOMPATIBLE_DESTINATION")
    server.wait_idle()


@pytest.mark.parametrize(("encryption", "reason"), [("srtp-mand", "404"), (None, "488")])
async def test_a_phone_over_tls_calls_with_srtp(
    encryption: Literal["srtp-mand"] | None, reason: str, phones: Host, server: FreeSwitchServer
) -> None:
    async with Phone.start(phones, "anna", tone_hz=440, account=account(server, phones, encryption)) as anna:
        await anna.wait_registered()
        await anna.dial("echo")
        assert reason in (await anna.wait_for("CALL_CLOSED")).param
    server.wait_idle()
