"""What a machine shows to whoever connects to its SIP port over TLS."""

from __future__ import annotations

import socket
import ssl

from tests.lab.hosts.centre import TLS_PORT
from tests.lab.hosts.site import SiteOfLab


def spoken(site: SiteOfLab, machine: str, version: ssl.TLSVersion) -> str | None:
    """The version that was agreed on, of ``version`` alone. Raises ssl.SSLError, ConnectionResetError."""
    with _connected(site, machine, version) as encrypted:
        return encrypted.version()


def certificate(site: SiteOfLab, machine: str) -> bytes:
    """Its certificate (DER), verified by the site's authority."""
    with _connected(site, machine, ssl.TLSVersion.TLSv1_3) as encrypted:
        found = encrypted.getpeercert(binary_form=True)
        assert found is not None
        return found


def shown(address: str, port: int, trusting: ssl.SSLContext, name: str) -> bytes:
    """The certificate (DER) that is shown there, verified for ``name``. Raises ssl.SSLError."""
    with (
        socket.create_connection((address, port), timeout=5) as plain,
        trusting.wrap_socket(plain, server_hostname=name) as encrypted,
    ):
        found = encrypted.getpeercert(binary_form=True)
        assert found is not None
        return found


def _connected(site: SiteOfLab, machine: str, version: ssl.TLSVersion) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(site.ca_dir / "ca.pem"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # this machine's policy would refuse the old ones by itself
    context.minimum_version = context.maximum_version = version
    address = site.machine(machine).address
    plain = socket.create_connection((address, TLS_PORT), timeout=5)
    try:
        return context.wrap_socket(plain, server_hostname=address)
    except BaseException:
        plain.close()
        raise
