"""Who guesses passwords: refusals of a media server, counted by the address that they were said to. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_ADDRESSES = 20_000
"""Of so many addresses refusals are kept; then the one that was quiet for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class BanRule:
    tries: int = 5
    """So many refusals ..."""
    window_s: float = 600.0
    """... within that time are guessing."""
    never: Sequence[Network] = ()
    """Who is in these may guess."""


class Guessing:
    def __init__(self, rule: BanRule) -> None:
        self._rule = rule
        self._refused: OrderedDict[Address, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refused)

    def refused(self, address: Address, at: float) -> bool:
        """A password of ``address`` was wrong, or its account is none. True: with this one it is guessing, and its
        count begins anew. ``at``: seconds of a clock that is never set back."""
        if any(address in network for network in self._rule.never):
            return False
        times = self._refused.setdefault(address, deque(maxlen=self._rule.tries))
        self._refused.move_to_end(address)
        times.append(at)
        if len(times) == self._rule.tries and times[0] > at - self._rule.window_s:
            del self._refused[address]
            return True
        if len(self._refused) > MOST_ADDRESSES:
            self._refused.popitem(last=False)
        return False
