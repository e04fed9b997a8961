"""Which addresses are on the public Internet. Where users name what the program connects to, nothing else is reached
unless a setting says so."""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether the address is on the public Internet, and does not stand for one that is not."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return not address.is_site_local and all(is_public(str(one)) for one in inside if one is not None)
