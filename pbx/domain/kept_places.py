"""Places of callers who were cut off, through no act of theirs, for when they dial again.

A place is that of one number in one queue, is given back once, and only within the time that the queue sets. Who shows
no number has none. In memory only: after a restart it is worked out from the journal again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pbx.domain.e164 import E164
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import QueueId

CUT_OFF = frozenset((HangupCause.NETWORK_OUT_OF_ORDER, HangupCause.TEMPORARY_FAILURE))
"""How a leg ends that the media server, or the network, lost."""
MAX_KEPT = 10_000
"""Of more, those are dropped that were kept first."""
LONGEST_S = 3600.0
"""Longer than that no queue keeps a place."""


@dataclass(frozen=True, slots=True)
class KeptPlace:
    queue_id: QueueId
    """The queue that the flow asked for; the call may have overflowed from it."""
    caller: E164 = field(repr=False)
    entered_at: float
    """What its order among waiting calls goes by."""
    at: float
    """When it was cut off."""


class KeptPlaces:
    def __init__(self, known: Iterable[KeptPlace] = ()) -> None:
        """``known``: of former runs, oldest first."""
        self._kept: dict[tuple[QueueId, str], KeptPlace] = {}
        for one in known:
            self.keep(one)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, place: KeptPlace) -> None:
        key = (place.queue_id, place.caller)
        self._kept.pop(key, None)
        self._kept[key] = place
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def take(self, queue_id: QueueId, caller: str, within_s: float, now: float) -> float | None:
        """Since when this caller counts as waiting; None where no place is kept, or not any longer. Once."""
        place = self._kept.pop((queue_id, caller), None)
        return place.entered_at if place is not None and now - place.at <= within_s else None

    def forget(self, callers: Iterable[str]) -> None:
        """No place is kept for these numbers."""
        wanted = frozenset(callers)
        for key in [key for key in self._kept if key[1] in wanted]:
            del self._kept[key]
