"""What FreeSWITCH says of refused passwords: the event ``sofia::register_failure``, for REGISTER and INVITE alike."""

from __future__ import annotations

from ipaddress import ip_address

from pbx.adapters.freeswitch.models import ServerEvent
from pbx.domain.guessing import Address

EVENT = "sofia::register_failure"


def refused_address(event: ServerEvent) -> Address | None:
    """Whom the event says to be refused; None: nobody."""
    if event.subclass != EVENT:
        return None
    try:
        return ip_address(event.network_ip)
    except ValueError:
        return None
