"""Role tls's script gets and renews a certificate at a real ACME server (pebble), which asks for it by HTTP and DNS."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.dialplans.certificates import certificate
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.lab import ROOT, Lab

pytestmark = pytest.mark.hosts
SCRIPT = ROOT / "playbooks/roles/tls/files/acme.sh"
NAME = "pop.example"
HTTP_PORT, ACME_PORT, ROOTS_PORT, DNS_PORT = 8081, 14000, 15000, 8053


@pytest.fixture(scope="module")
def authority(lab: Lab) -> Iterator[Host]:
    """A host with the ACME server, to which every name is the next host's."""
    host, pop = lab.host("acme"), lab.host("acme-pop")
    private, public = certificate(host.address)
    for name, data in (("key.pem", private), ("cert.pem", public)):
        (host.state_dir / name).write_bytes(data)
    config = {
        "listenAddress": f"{host.address}:{ACME_PORT}",
        "managementListenAddress": f"{host.address}:{ROOTS_PORT}",
        "certificate": str(host.state_dir / "cert.pem"),
        "privateKey": str(host.state_dir / "key.pem"),
        "httpPort": HTTP_PORT,
        "tlsPort": 5001,
        "ocspResponderURL": "",
    }
    (host.state_dir / "pebble.json").write_text(json.dumps({"pebble": config}))
    dns = f"{host.address}:{DNS_PORT}"
    off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"{host.address}:8055"]
    host.spawn(
        ["pebble-challtestsrv", "-dns01", dns, "-defaultIPv4", pop.address, "-defaultIPv6", "", *off], name="dns"
    )
    env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    server = host.spawn(
        ["pebble", "-strict", "-config", host.state_dir / "pebble.json", "-dnsserver", dns], name="pebble", env=env
    )
    wait_until(lambda: "Listening on" in server.log_text(), 10, "pebble", server.log_text)
    yield host
    server.stop()


class Site:
    """A host on which the script runs, with directories of its own."""

    def __init__(self, authority: Host, pop: Host) -> None:
        self.host, self.target = pop, pop.state_dir / "public"
        self.told = pop.state_dir / "told"
        ca = pop.state_dir / "acme-ca.pem"
        ca.write_bytes((authority.state_dir / "cert.pem").read_bytes())
        for directory in (self.target, pop.state_dir / "state"):
            directory.mkdir(exist_ok=True)
        self.env = {
            "ACME_STATE": str(pop.state_dir / "state"),
            "ACME_TARGET": str(self.target),
            "ACME_SERVER": f"https://{authority.address}:{ACME_PORT}/dir",
            "ACME_EMAIL": "noc@pop.example",
            "ACME_NAMES": NAME,
            "ACME_PORT": str(HTTP_PORT),
            "ACME_DAYS": "30",
            "ACME_GROUP": "root",
            "ACME_RELOAD": f"echo told >> {self.told}",
            "LEGO_CA_CERTIFICATES": str(ca),
        }

    def run(self, **changes: str) -> x509.Certificate:
        """The certificate that is there afterwards."""
        process = self.host.spawn(["sh", SCRIPT], name="script", env=self.env | changes)
        status = process.wait(60)
        assert status == 0, process.log_text()
        return x509.load_pem_x509_certificate((self.target / "cert.pem").read_bytes())

    def reloads(self) -> int:
        return len(self.told.read_text().splitlines()) if self.told.exists() else 0


def names(found: x509.Certificate) -> list[str]:
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_issued_renewed_and_told(lab: Lab, authority: Host, tmp_path: Path) -> None:
    site = Site(authority, lab.host("acme-pop"))
    first = site.run()
    assert names(first) == [NAME]
    key = load_pem_private_key((site.target / "key.pem").read_bytes(), None)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*form) == first.public_key().public_bytes(*form)
    assert (site.target / "key.pem").stat().st_mode & 0o777 == 0o640
    assert site.reloads() == 1
    # Believed by who believes the ACME server's root, with the chain in the file.
    trusting = ssl.create_default_context(cadata=(authority.state_dir / "cert.pem").read_text())
    with urllib.request.urlopen(f"https://{authority.address}:{ROOTS_PORT}/roots/0", context=trusting) as root:
        (tmp_path / "root.pem").write_bytes(root.read())
    chain = site.target / "cert.pem"
    checked = ["openssl", "verify", "-CAfile", str(tmp_path / "root.pem"), "-untrusted", str(chain), str(chain)]
    assert subprocess.run(checked, capture_output=True, check=False).returncode == 0

    assert site.run().serial_number == first.serial_number
    assert site.reloads() == 1
    due = site.run(ACME_DAYS="20000")
    assert due.serial_number != first.serial_number
    assert site.reloads() == 2
    more = site.run(ACME_NAMES=f"{NAME} other.example")
    assert sorted(names(more)) == ["other.example", NAME]
    assert site.reloads() == 3
