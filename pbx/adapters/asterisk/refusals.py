"""What AMI says of refused passwords: the security events of Asterisk (manager class ``security``).

They come the moment a request was refused. The same events in a log, read by fail2ban 1.1, led to a ban after 0.77 s:
it looks for news of a file every 0.3 s and bans twice a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from pbx.domain.guessing import Address

REFUSALS = frozenset(
    (
        "ChallengeResponseFailed",
        "InvalidAccountID",
        "InvalidPassword",
        "FailedACL",
        "InvalidTransport",
        "AuthMethodNotAllowed",
    )
)
"""Names of events. One that tells no more than that a challenge was sent, is none: it begins every registration."""


def refused_address(event: Mapping[str, str]) -> Address | None:
    """Whom the event says to be refused; None: nobody. ``RemoteAddress`` is ``IPV4/TLS/198.51.100.7/5061``."""
    if event.get("Event") not in REFUSALS:
        return None
    parts = event.get("RemoteAddress", "").split("/")
    if len(parts) != 4:
        return None
    try:
        return ip_address(parts[2])
    except ValueError:
        return None
