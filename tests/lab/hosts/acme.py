"""A real ACME server (pebble) on a lab host, to which every name is one address."""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.dialplans.certificates import certificate
from tests.lab.errors import wait_until
from tests.lab.host import Host

ACME_PORT, ROOTS_PORT, DNS_PORT, DNS_API_PORT = 14000, 15000, 8053, 8055


@dataclass(frozen=True, slots=True)
class Authority:
    host: Host

    @property
    def server(self) -> str:
        """Its directory."""
        return f"https://{self.host.address}:{ACME_PORT}/dir"

    @property
    def own_certificate(self) -> str:
        """What the server itself shows, in PEM."""
        return (self.host.state_dir / "cert.pem").read_text()

    def root(self) -> str:
        """Who believes this (PEM) believes what it signs."""
        trusting = ssl.create_default_context(cadata=self.own_certificate)
        with urllib.request.urlopen(f"https://{self.host.address}:{ROOTS_PORT}/roots/0", context=trusting) as root:
            text: str = root.read().decode()
        return text


@contextlib.contextmanager
def authority(host: Host, address: str, http_port: int) -> Iterator[Authority]:
    """On ``host``; every name is at ``address``, where it asks ``http_port``."""
    private, public = certificate(host.address)
    for name, data in (("key.pem", private), ("cert.pem", public)):
        (host.state_dir / name).write_bytes(data)
    config = {
        "listenAddress": f"{host.address}:{ACME_PORT}",
        "managementListenAddress": f"{host.address}:{ROOTS_PORT}",
        "certificate": str(host.state_dir / "cert.pem"),
        "privateKey": str(host.state_dir / "key.pem"),
        "httpPort": http_port,
        "tlsPort": 5001,
        "ocspResponderURL": "",
    }
    (host.state_dir / "pebble.json").write_text(json.dumps({"pebble": config}))
    dns = f"{host.address}:{DNS_PORT}"
    off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"{host.address}:{DNS_API_PORT}"]
    names = host.spawn(
        ["pebble-challtestsrv", "-dns01", dns, "-defaultIPv4", address, "-defaultIPv6", "", *off], name="dns"
    )
    env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    server = host.spawn(
        ["pebble", "-strict", "-config", host.state_dir / "pebble.json", "-dnsserver", dns], name="pebble", env=env
    )
    try:
        wait_until(lambda: "Listening on" in server.log_text(), 10, "pebble", server.log_text)
        yield Authority(host)
    finally:
        server.stop()
        names.stop()
