"""A name server of the lab (dnsmasq): the names at which phones find POPs, with their SRV records (RFC 2782)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.lab.errors import wait_until
from tests.lab.host import Host

PORT = 53


@dataclass(frozen=True, slots=True)
class Service:
    """A host that a service is at. ``priority``: the lowest comes first."""

    name: str
    address: str
    port: int
    priority: int


@contextlib.contextmanager
def name_server(host: Host, domain: str, services: Sequence[Service], proto: str = "udp") -> Iterator[str]:
    """On ``host``, until the block ends: where it is asked. It knows ``_sip._PROTO.DOMAIN`` and the hosts there, and of
    no other name that there is one. Raises LabError when it does not start."""
    records: list[str] = []
    for one in services:
        target = f"{one.name}.{domain}"
        records += ["--srv-host", f"_sip._{proto}.{domain},{target},{one.port},{one.priority},0"]
        records += ["--host-record", f"{target},{one.address}"]
    own = ["--no-resolv", "--no-hosts", "--conf-file=/dev/null", f"--local=/{domain}/", "--log-queries"]
    at = [f"--listen-address={host.address}", f"--port={PORT}", "--bind-interfaces", "--keep-in-foreground"]
    # Without its own user and without a file of its number: both would be the machine's.
    alone = ["--user=root", "--pid-file", "--log-facility=-"]
    process = host.spawn(["dnsmasq", *at, *own, *alone, *records], name="names")
    try:
        wait_until(lambda: "started, version" in process.log_text(), 10, "dnsmasq", process.log_text)
        yield f"{host.address}:{PORT}"
    finally:
        process.stop()
