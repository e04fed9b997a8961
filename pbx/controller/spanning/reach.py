"""Which POPs this one does not reach over its trunks, as its offers to their agents show.

The bus may reach a POP that no call does: a certificate has run out, a port is closed. An owner that hears of an offer
answers in time, whatever the agent does. Where nothing comes, or offers fail one after the other, callers of this POP
are not proposed to agents there for a while: they would hold up other POPs' callers, who came later.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pbx.domain import events as ev
from pbx.domain.ids import OfferId, PopId
from pbx.ports.media_engine import Clock

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""After so long it is tried again; each time in vain doubles it."""
LONGEST_S = 60.0
TRIES = 2
"""So many offers fail one after the other: one agent's phone can be out of order."""
_AT_ITS_LIMIT_S = 0.25
_SAYS_NOTHING = (ev.OfferOutcome.CALLER_GONE, ev.OfferOutcome.WITHDRAWN)


@dataclass(slots=True)
class _Vain:
    offers: int = 0
    """Since the last that was answered in any way, or since it was given up."""
    times: int = 0
    until: float = 0.0


class Reach:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[OfferId, tuple[PopId, float]] = {}
        self._vain: dict[PopId, _Vain] = {}

    def made(self, offer: ev.OfferMade, owner: PopId) -> None:
        """This POP ends it when nothing is heard within its ``ring_timeout_s``."""
        self._under_way[offer.offer_id] = owner, self._clock() + offer.ring_timeout_s

    def over(self, offer_id: OfferId, outcome: ev.OfferOutcome) -> None:
        """Offers to agents of this POP are not known here, and do not count."""
        owner, limit = self._under_way.pop(offer_id, (None, 0.0))
        if owner is None or outcome in _SAYS_NOTHING:
            return
        now = self._clock()
        silent = outcome is ev.OfferOutcome.NO_ANSWER and now > limit - _AT_ITS_LIMIT_S
        if not silent and outcome is not ev.OfferOutcome.FAILED:
            self._vain.pop(owner, None)
            return
        vain = self._vain.setdefault(owner, _Vain())
        vain.offers += TRIES if silent else 1
        if vain.offers >= TRIES and now >= vain.until:
            again_s = min(AGAIN_S * 2**vain.times, LONGEST_S)
            vain.offers, vain.times, vain.until = 0, vain.times + 1, now + again_s
            log.warning("POP %s is not reached: no caller of this POP is offered there for %g s", owner, again_s)

    def unreached(self) -> list[PopId]:
        now = self._clock()
        return sorted(pop_id for pop_id, vain in self._vain.items() if now < vain.until)
