"""Which POPs the calls of another one do not reach, as the router sees it.

The bus may reach a POP that no call does: a certificate has run out, a port is closed. The caller's POP takes a
proposal then, and the owner of the agent never hears of it. After two of these its callers are not proposed to agents
there for a while: they would be in vain, and hold up other POPs' callers, who came later.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass

from pbx.domain.ids import PopId
from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""After so long it is tried again; each time in vain doubles it."""
LONGEST_S = 60.0
TRIES = 2
"""One may be lost otherwise: the owner's word, on a bus that is just cut."""


@dataclass(slots=True)
class _Vain:
    tries: int = 0
    times: int = 0
    until: float = 0.0


class Reach:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._vain: dict[tuple[PopId, PopId], _Vain] = {}

    def got_there(self, home: PopId, owner: PopId) -> None:
        """Something has happened to an agent of ``owner`` to whom a caller of ``home`` was proposed."""
        self._vain.pop((home, owner), None)

    def vain(self, home: PopId, owner: PopId) -> None:
        """``home`` has taken a proposal for an agent of ``owner``, who has not noticed."""
        vain, now = self._vain.setdefault((home, owner), _Vain()), self._clock()
        vain.tries += 1
        if vain.tries >= TRIES and now >= vain.until:
            again_s = min(AGAIN_S * 2**vain.times, LONGEST_S)
            vain.tries, vain.times, vain.until = 0, vain.times + 1, now + again_s
            log.warning("calls of POP %s do not reach POP %s: none is proposed for %g s", home, owner, again_s)

    def unreached(self) -> dict[PopId, frozenset[PopId]]:
        """Home -> the owners whom its calls do not reach."""
        now, found = self._clock(), defaultdict[PopId, set[PopId]](set)
        for (home, owner), vain in self._vain.items():
            if now < vain.until:
                found[home].add(owner)
        return {home: frozenset(owners) for home, owners in found.items()}
