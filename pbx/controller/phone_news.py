"""Which phones can be rung, as the media server tells it: by snapshot, and by word of each change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine

from pbx.controller.router import Router
from pbx.controller.spanning.moving import Moving
from pbx.domain.errors import EngineError
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import EngineSnapshot, MediaEngine

log = logging.getLogger(__name__)


class PhoneNews:
    def __init__(
        self,
        engine: MediaEngine,
        router: Router,
        moving: Moving | None,
        spawn: Callable[[Coroutine[None, None, None], str], None],
    ) -> None:
        """``moving``: where POPs share agents; it tells the router."""
        self._engine, self._router, self._moving, self._spawn = engine, router, moving, spawn
        self._early: dict[PhoneId, bool] = {}
        """What was heard before the snapshot."""

    def heard(self, phone_id: PhoneId, reachable: bool, *, connected: bool) -> None:
        """A word before the snapshot (``connected`` is false) counts afterwards: the router would make an offer to a
        call that has not been taken up, which would never come back."""
        if connected:
            self._tell(phone_id, reachable, came=True)
        else:
            self._early[phone_id] = reachable

    def seen(self, snapshot: EngineSnapshot) -> None:
        """Calls have been taken up. Where a word and the snapshot differ nobody knows which is newer: it is asked."""
        self._take(snapshot)
        if self._moving is not None:
            self._moving.phones_seen()
        early, self._early = self._early, {}
        if any(reachable is not (phone_id in snapshot.reachable_phones) for phone_id, reachable in early.items()):
            self._spawn(self._again(), "phones-again")

    def _take(self, snapshot: EngineSnapshot) -> None:
        for agent in list(self._router.acd.agents.values()):
            self._tell(agent.phone_id, agent.phone_id in snapshot.reachable_phones, came=False)

    def _tell(self, phone_id: PhoneId, reachable: bool, *, came: bool) -> None:
        if self._moving is None:
            self._router.phone_reachable(phone_id, reachable)
        else:
            self._moving.phone(phone_id, reachable, came=came)

    async def _again(self) -> None:
        try:
            self._take(await self._engine.snapshot())
        except EngineError as error:
            log.info("phones are compared when the media server is back: %s", error)
