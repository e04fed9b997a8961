"""A POP's calls to itself: a media server is up when such a call carries audio both ways, not when it answers requests.

The leg that calls says ``LOCAL_HZ``, the one that answers ``FAR_HZ``, for ``FOR_S`` seconds; what each hears is written
to ``file_name`` in the directory of running recordings.
"""

from __future__ import annotations

import ipaddress

from dialplans.schema import Pop

LOCAL_HZ, FAR_HZ = 700, 1100
"""No harmonic of one is the other."""
FOR_S = 1.5


def file_name(check_id: int, side: str) -> str:
    """``side``: ``local`` or ``far``."""
    return f"self-{check_id}-{side}.wav"


def made_of(pop: Pop) -> dict[str, object] | None:
    """For the templates; None where a carrier has the POP's own address, for the call would be taken for that
    carrier's."""
    try:
        own = ipaddress.ip_address(pop.sip_address)
    except ValueError:
        return None
    carriers = (ipaddress.ip_network(address, strict=False) for trunk in pop.trunks for address in trunk.addresses)
    if any(own.version == network.version and own in network for network in carriers):
        return None
    return {"local_hz": LOCAL_HZ, "far_hz": FAR_HZ, "for_s": FOR_S}
