"""The rendered configuration on a real Asterisk: SIP over TLS, SRTP, a certificate renewed during a call."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dialplans.pack import load_pack
from dialplans.render import RenderError, render
from dialplans.schema import Pop, Trunk
from pbx.adapters.asterisk.phones import USUAL_PHONES, objects
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount
from tests.dialplans.certificates import certificate
from tests.lab.asterisk import AsteriskServer
from tests.lab.lab import Lab
from tests.lab.phone import Account, Phone

HA1 = "9b1ef3d4b0a9ba2b0e3c4b7a16b7b2a0"


def pop(address: str, tls_dir: Path, carrier: str, **changes: object) -> Pop:
    trunk = Trunk(name="carrier", addresses=[carrier], host=f"{carrier}:5061", transport="tls")
    base = Pop(
        pop_id="tls",
        country="DE",
        sip_address=address,
        trunks=[trunk],
        ari_password="ari-password",
        ami_password="ami-password",
        tls_dir=str(tls_dir),
    )
    return base.model_copy(update=changes)


def put_certificate(directory: Path, address: str) -> bytes:
    private, public = certificate(address)
    for name, data in (("key.pem", private), ("cert.pem", public), ("ca.pem", public)):
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o644)
    return public


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[AsteriskServer]:
    host, carrier = lab.host("ast-tls"), lab.host("ast-carrier")
    directory = host.state_dir / "tls"
    directory.mkdir()
    put_certificate(directory, host.address)
    files = dict(render(load_pack("DE"), pop(host.address, directory, carrier.address)))
    # As the controller puts an account, but in a file: there is none here.
    account = PhoneAccount(PhoneId("anna"), HA1)
    kinds = objects(account, replace(USUAL_PHONES, codecs=("alaw",), qualify_s=0, encrypted=True))
    for kind, fields in kinds:
        lines = [f"{key} = {value}\n" for key, value in fields.items()]
        files["pjsip.conf"] += "".join([f"\n[anna]\ntype = {kind}\n", *lines]).encode()
    # Whoever calls is answered: a conversation without a controller.
    answer = "exten => _[+0-9]!,1,Answer()\n same => n,Wait(60)\n"
    files["extensions.conf"] = f"[from-trunk]\n{answer}[from-agent]\n{answer}".encode()
    running = AsteriskServer(host, files, lab)
    yield running
    running.stop()


def handshake(server: AsteriskServer, version: ssl.TLSVersion, ca: bytes | None = None) -> tuple[str | None, bytes]:
    """The version agreed on when no other than ``version`` is offered, and the certificate shown."""
    context = ssl.create_default_context(cadata=(ca or (server.host.state_dir / "tls/ca.pem").read_bytes()).decode())
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # this machine's policy would refuse the old ones by itself
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((server.host.address, 5061), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=server.host.address) as encrypted,
    ):
        return encrypted.version(), encrypted.getpeercert(binary_form=True) or b""


def test_nothing_listens_in_the_clear(server: AsteriskServer) -> None:
    clear = [line.split()[-1] for line in server.cli("pjsip show transports").splitlines() if " udp " in line]
    assert clear == ["127.0.0.1:5060"]  # the POP's calls to itself
    assert handshake(server, ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"


def test_tls_below_the_minimum_is_refused(server: AsteriskServer) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(server, ssl.TLSVersion.TLSv1_2)


def caller(lab: Lab, server: AsteriskServer, encrypted: bool) -> Account:
    carrier = lab.host("ast-carrier")
    ca_file = carrier.state_dir / "ca.pem"  # a host sees its own files only
    ca_file.write_bytes((server.host.state_dir / "tls" / "ca.pem").read_bytes())
    account = Account(uri=f"sip:+491701234567@{carrier.address}", transport="tls", ca_file=ca_file)
    return replace(account, media_encryption="srtp-mand") if encrypted else account


async def test_a_carrier_over_tls_without_srtp_is_refused(lab: Lab, server: AsteriskServer) -> None:
    account = caller(lab, server, encrypted=False)
    async with Phone.start(lab.host("ast-carrier"), "clear", tone_hz=440, account=account) as phone:
        await phone.dial(f"sip:+4930123@{server.host.address}:5061;transport=tls")
        assert "488" in (await phone.wait_for("CALL_CLOSED")).param


async def test_a_call_outlives_a_new_certificate(lab: Lab, server: AsteriskServer) -> None:
    account = caller(lab, server, encrypted=True)
    async with Phone.start(lab.host("ast-carrier"), "long", tone_hz=440, account=account) as phone:
        await phone.dial(f"sip:+4930123@{server.host.address}:5061;transport=tls")
        await phone.wait_for("CALL_ESTABLISHED")
        before = handshake(server, ssl.TLSVersion.TLSv1_3)[1]
        ca = put_certificate(server.host.state_dir / "tls", server.host.address)
        server.cli("module reload res_pjsip.so")
        shown = before
        for _ in range(100):
            try:
                shown = handshake(server, ssl.TLSVersion.TLSv1_3, ca)[1]
            except (ssl.SSLError, OSError):
                continue  # still the former one
            break
        assert shown != before
        assert server.channels()
        await phone.hang_up()
        server.wait_idle()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="srtp: its keys would cross"):
        Trunk(name="a", addresses=["198.18.0.2"], host="a", srtp="required")
    with pytest.raises(ValueError, match="clear_reason"):
        Trunk(name="a", addresses=["198.18.0.2"], host="a", transport="tls", srtp="off")
    given = pop("198.18.0.1", Path("/tls"), "198.18.0.2")
    with pytest.raises(RenderError, match=r"^pop\.tls_dir: "):
        render(load_pack("DE"), given.model_copy(update={"tls_dir": None}))
    with pytest.raises(RenderError, match=r"^pop\.trunks\.0\.transport: "):
        render(load_pack("DE"), given.model_copy(update={"engine": "freeswitch", "esl_password": "esl-password"}))
