"""Trunks between POPs over TLS, as rendered, on two real Asterisks: both ends verify, and nobody else comes in."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialplans.pack import load_pack
from dialplans.render import RenderError, render
from dialplans.schema import Pop, Trunk
from tests.lab.asterisk import AsteriskServer
from tests.lab.authority import Authority
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab

ONE, TWO = "de-one", "de-two"
OURS, FOREIGN = Authority("The site"), Authority("Somebody else")
MESH, PHONES = 5062, 5061
OPTIONS = (
    "OPTIONS sip:offer@{to} SIP/2.0\r\nVia: SIP/2.0/TLS {me};branch=z9hG4bKmesh\r\nFrom: <sip:a@{me}>;tag=a\r\n"
    "To: <sip:offer@{to}>\r\nCall-ID: mesh@{me}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n"
)


def pop(name: str, host: Host, other: str, other_host: str) -> Pop:
    addresses = [other_host.partition(":")[0]]
    return Pop(
        pop_id=name,
        country="DE",
        sip_address=host.address,
        mesh=[Trunk(name=other, addresses=addresses, host=other_host, transport="tls")],
        ari_password="ari-password",
        ami_password="ami-password",
        tls_dir=str(host.state_dir / "tls"),
    )


def files(settings: Pop) -> dict[str, bytes]:
    """As rendered, with the laboratory's log, which names each step of the dialplan."""
    return {name: data for name, data in render(load_pack("DE"), settings).items() if name != "logger.conf"}


@pytest.fixture(scope="module")
def one(lab: Lab) -> Iterator[AsteriskServer]:
    host, other = lab.host("mesh-one"), lab.host("mesh-two")
    OURS.certify(host.state_dir / "tls", host.address)
    running = AsteriskServer(host, files(pop(ONE, host, TWO, other.address)), lab)
    yield running
    running.stop()


@contextlib.contextmanager
def two(lab: Lab, one: AsteriskServer, authority: Authority, port: int) -> Iterator[AsteriskServer]:
    """The other POP, with a certificate of ``authority``; it believes the site's, and calls the first at ``port``."""
    host = lab.host("mesh-two")
    authority.certify(host.state_dir / "tls", host.address)
    (host.state_dir / "tls" / "ca.pem").write_bytes(OURS.pem)
    running = AsteriskServer(host, files(pop(TWO, host, ONE, f"{one.host.address}:{port}")), lab)
    running.cli("module load res_clioriginate.so")
    try:
        yield running
    finally:
        running.stop()


def log(server: AsteriskServer) -> str:
    return (server.log_dir / "messages.log").read_text(errors="replace")


def offers(server: AsteriskServer) -> int:
    """How many offers have come as far as the dialplan that takes them."""
    return log(server).count("Executing [offer@from-pop:1]")


def call(server: AsteriskServer) -> str:
    """Offer the other POP an agent; what was logged until that had ended, well or badly."""
    before = len(log(server))
    server.cli(f"channel originate PJSIP/offer@mesh-{ONE} application Wait 5")
    wait_until(lambda: not server.channels(), 40, "the end of the call", server.logs)
    return log(server)[before:]


def is_spoken_to(server: AsteriskServer, port: int, shown: Path | None) -> bool:
    """Whether there is a SIP answer over TLS for one who shows the certificate in that directory, or none."""
    context = ssl.create_default_context(cadata=OURS.pem.decode())
    if shown is not None:
        context.load_cert_chain(shown / "cert.pem", shown / "key.pem")
    address = server.host.address
    with (
        socket.create_connection((address, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=address) as encrypted,
    ):
        try:  # in TLS 1.3 a client learns only now that it was refused
            encrypted.sendall(OPTIONS.format(to=address, me=encrypted.getsockname()[0]).encode())
            return encrypted.recv(1000).startswith(b"SIP/2.0 ")
        except (ssl.SSLError, ConnectionError):
            return False


def test_only_who_shows_a_certificate_of_the_site_is_spoken_to(one: AsteriskServer, tmp_path: Path) -> None:
    for name, authority in (("ours", OURS), ("foreign", FOREIGN)):
        authority.certify(tmp_path / name, "198.18.0.1")
    assert is_spoken_to(one, MESH, tmp_path / "ours")
    assert not is_spoken_to(one, MESH, tmp_path / "foreign")
    assert not is_spoken_to(one, MESH, None)
    assert is_spoken_to(one, PHONES, None), "phones show none"


def test_a_pop_of_the_site_comes_in(lab: Lab, one: AsteriskServer) -> None:
    before = offers(one)
    with two(lab, one, OURS, MESH) as other:
        call(other)
        assert offers(one) == before + 1


def test_a_pop_with_a_foreign_certificate_does_not(lab: Lab, one: AsteriskServer) -> None:
    before = offers(one)
    with two(lab, one, FOREIGN, MESH) as other:
        call(other)
        assert offers(one) == before


def test_a_pop_is_nobody_where_no_certificate_is_asked_for(lab: Lab, one: AsteriskServer) -> None:
    """Address and name are the other POP's; the port is the phones'."""
    before = offers(one)
    with two(lab, one, OURS, PHONES) as other:
        call(other)
        assert offers(one) == before
        assert "Executing [offer@from-pop-tls:2]" in log(one)


def test_what_cannot_be_is_refused(lab: Lab) -> None:
    given = pop(ONE, lab.host("mesh-one"), TWO, "198.18.0.9")
    trunk = Trunk(
        name=TWO, addresses=["198.18.0.9"], host="198.18.0.9", transport="tls", srtp="off", clear_reason="a test"
    )
    with pytest.raises(RenderError, match=r"^pop\.mesh\.0\.srtp: "):
        render(load_pack("DE"), given.model_copy(update={"mesh": [trunk]}))
    with pytest.raises(RenderError, match=r"^pop\.mesh_tls_port: "):
        render(load_pack("DE"), given.model_copy(update={"mesh_tls_port": 5061}))
    with pytest.raises(RenderError, match=r"^pop\.tls_dir: "):
        render(load_pack("DE"), given.model_copy(update={"tls_dir": None}))
