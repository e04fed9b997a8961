"""Trunks between the POPs of a site, for queues that span POPs: on standard input what the inventory says of all of
them (JSON, as roles/dialplan/vars/main.yml makes it), on standard output the trunks of one. Run by role dialplan."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Known:
    """A POP as the inventory has it."""

    host: str
    """Its name in the inventory."""
    pop_id: str
    engine: str
    address: str
    """Where other POPs reach it."""
    regions: Sequence[str]
    named: Sequence[str] | None
    """The hosts of its ``dialplan_mesh``; None: not given."""
    clear_reason: str
    codecs: Sequence[str]
    tls_port: int
    sip_port: int

    @property
    def transport(self) -> str:
        return "udp" if self.clear_reason else "tls"

    @property
    def port(self) -> int:
        """Where others come to over ``transport``."""
        return self.sip_port if self.clear_reason else self.tls_port


def known(given: Mapping[str, Any]) -> dict[str, Known]:
    """Host -> POP, from lists of the same order."""
    columns = ("pop_ids", "engines", "addresses", "mesh_addresses", "regions", "mesh", "clear_reasons", "codecs")
    ports = ("tls_ports", "sip_ports")
    found = {}
    for host, *row in zip(given["hosts"], *(given[name] for name in (*columns, *ports)), strict=True):
        pop_id, engine, address, reached, regions, mesh, reason, codecs, tls_port, sip_port = row
        named = None if mesh in (None, False) else mesh
        found[host] = Known(
            host, pop_id, engine, reached or address, regions, named, reason, codecs, tls_port, sip_port
        )
    return found


def others(pop: Known, pops: Mapping[str, Known]) -> list[Known]:
    """The POPs that ``pop`` shares queues with: those it names. When it names none: those that have a region in common
    with it, or name it; not those that name others only. So both ends come to the same."""
    if pop.named is not None:
        return [pops[host] for host in pop.named if host in pops]
    return [
        other
        for other in pops.values()
        if other.host != pop.host
        and other.engine == pop.engine == "asterisk"
        and other.pop_id  # a host that the inventory says nothing else of, as inventory/centre.py has them
        and (set(other.regions) & set(pop.regions) if other.named is None else pop.host in other.named)
    ]


def trunks(pop: Known, pops: Mapping[str, Known]) -> list[dict[str, Any]]:
    """``mesh`` of a POP (dialplans/schema.py), in the order of the POPs' ids."""
    return [_trunk(pop, other) for other in sorted(others(pop, pops), key=lambda other: other.pop_id)]


def _trunk(pop: Known, other: Known) -> dict[str, Any]:
    name = f"[{other.address}]" if ":" in other.address else other.address
    # Over TLS to the port for POPs; that of this POP is meant where none is given.
    bare = pop.transport == "tls" and other.port == pop.port
    trunk = {
        "name": other.pop_id,
        "addresses": [other.address],
        "host": name if bare else f"{name}:{other.port}",
        "codecs": list(pop.codecs),
        "transport": pop.transport,
    }
    return trunk | ({"srtp": "off", "clear_reason": pop.clear_reason} if pop.clear_reason else {"srtp": "required"})


def faults(
    pop: Known,
    pops: Mapping[str, Known],
    trunks_of_pop: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    opened: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """A line for each reason why these trunks would not carry calls, beginning with the variable's name.

    ``trunks_of_pop``: carriers'. ``names``: what the host's certificate is for. ``opened``: ``hardening_open``."""
    for host in pop.named or ():
        if host == pop.host:
            yield f"dialplan_mesh: names {host} itself"
        elif host not in pops:
            yield f"dialplan_mesh: {host} is no host of group pops"
    found = others(pop, pops)
    for other in found:
        if pop.host not in [back.host for back in others(other, pops)]:
            yield f"dialplan_mesh: {pop.host} names {other.host}, which does not name {pop.host}: both have to"
        if other.clear_reason != pop.clear_reason:
            yield f"dialplan_mesh_clear_reason: has to be the same at {pop.host} and {other.host}"
        for index, trunk in enumerate(trunks_of_pop):
            if any(_within(other.address, address) for address in trunk.get("addresses") or ()):
                yield (
                    f"dialplan_pop.trunks.{index}.addresses: {other.address} is {other.host}'s too, and a call from "
                    "there could be either's: leave it out here, or leave the POP out of dialplan_mesh"
                )
        if not any(_lets_in(rule, pop, other.address) for rule in opened):
            yield f"hardening_open: does not let {other.host} ({other.address}) in on {pop.port}/{_protocol(pop)}"
    if found and not pop.clear_reason and pop.address not in names:
        yield f"tls_addresses: {pop.address} is missing, where other POPs reach this one and verify its certificate"


def _protocol(pop: Known) -> str:
    return "udp" if pop.transport == "udp" else "tcp"


def _lets_in(rule: Mapping[str, Any], pop: Known, address: str) -> bool:
    first, _, last = str(rule["ports"]).partition("-")
    if rule["proto"] != _protocol(pop) or not int(first) <= pop.port <= int(last or first):
        return False
    networks = rule.get("networks") or []
    return not networks or any(_within(address, network) for network in networks)


def _within(address: str, network: str) -> bool:
    """Whether an address is of a network; of names only the same is."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return address == network


def main() -> int:
    given = json.load(sys.stdin)
    pops = known(given)
    print(json.dumps(trunks(pops[given["host"]], pops)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
