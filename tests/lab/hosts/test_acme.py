"""Role tls's script gets and renews a certificate at a real ACME server (pebble), which asks for it by HTTP and DNS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.lab.host import Host
from tests.lab.hosts import acme
from tests.lab.hosts.acme import Authority
from tests.lab.lab import ROOT, Lab

pytestmark = pytest.mark.hosts
SCRIPT = ROOT / "playbooks/roles/tls/files/acme.sh"
NAME = "pop.example"
HTTP_PORT = 8081


@pytest.fixture(scope="module")
def authority(lab: Lab) -> Iterator[Authority]:
    """To it every name is the host's on which the script runs."""
    with acme.authority(lab.host("acme"), lab.host("acme-pop").address, HTTP_PORT) as running:
        yield running


class Site:
    """A host on which the script runs, with directories of its own."""

    def __init__(self, authority: Authority, pop: Host) -> None:
        self.host, self.target = pop, pop.state_dir / "public"
        self.told = pop.state_dir / "told"
        ca = pop.state_dir / "acme-ca.pem"
        ca.write_text(authority.own_certificate)
        for directory in (self.target, pop.state_dir / "state"):
            directory.mkdir(exist_ok=True)
        self.env = {
            "ACME_STATE": str(pop.state_dir / "state"),
            "ACME_TARGET": str(self.target),
            "ACME_SERVER": authority.server,
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


def test_issued_renewed_and_told(lab: Lab, authority: Authority, tmp_path: Path) -> None:
    site = Site(authority, lab.host("acme-pop"))
    first = site.run()
    assert names(first) == [NAME]
    key = load_pem_private_key((site.target / "key.pem").read_bytes(), None)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*form) == first.public_key().public_bytes(*form)
    assert (site.target / "key.pem").stat().st_mode & 0o777 == 0o640
    assert site.reloads() == 1
    # Believed by who believes the ACME server's root, with the chain in the file.
    (tmp_path / "root.pem").write_text(authority.root())
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
