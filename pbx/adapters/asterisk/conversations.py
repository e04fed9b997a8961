"""Who talks to whom: bridges, hold, mute."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterable

from pbx.adapters.asterisk import models
from pbx.adapters.asterisk.ari import AriLink, error_of
from pbx.adapters.asterisk.supervision import Supervisions
from pbx.adapters.asterisk.tones import Tones
from pbx.adapters.asterisk.tracker import Bridge, Leg, Tracker, time_of
from pbx.domain.errors import EngineError, EngineRefused, LegGone
from pbx.domain.ids import BridgeId, LegId

HELD = "CALLPLANE_HELD"
"""Variable of a held leg: the bridge it was taken out of. What a restarted controller knows of it."""

BRIDGE = (("type", "mixing,dtmf_events"),)
"""Without ``dtmf_events`` two legs of one codec are bridged below the server's core, and their digits are not seen."""


class Conversations:
    def __init__(self, ari: AriLink, tracker: Tracker, supervisions: Supervisions, tones: Tones) -> None:
        self._ari, self._tracker, self._supervisions, self._tones = ari, tracker, supervisions, tones

    def _leg(self, leg_id: LegId) -> Leg:
        leg = self._tracker.legs.get(leg_id)
        if leg is None:
            raise LegGone("the leg is over")
        return leg

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        legs = {leg_id: self._leg(leg_id) for leg_id in leg_ids}
        if bridge_id in self._tracker.bridges:
            raise EngineRefused("a bridge has this id already")
        if not all(leg.answered for leg in legs.values()):
            raise EngineRefused("a leg of the bridge is not answered")
        for leg_id, leg in legs.items():
            self._make_quiet(leg_id, leg)
            self._supervisions.end(leg_id)
        left = {leg.bridge for leg in legs.values() if leg.bridge is not None}
        self._tracker.bridges[bridge_id] = Bridge(leg_ids)
        made = self._ari.send("POST", f"bridges/{bridge_id}", BRIDGE)
        joined = self._ari.send("POST", f"bridges/{bridge_id}/addChannel", (("channel", ",".join(leg_ids)),))
        error = error_of(await made)
        response = await joined
        if error is None:
            error = error_of(response)
            if error is not None:
                self._ari.send_unattended("DELETE", f"bridges/{bridge_id}")
                if response.status_code in (400, 422):
                    error = LegGone("a leg of the bridge is over")
        if error is not None:
            self._tracker.bridges.pop(bridge_id, None)
            raise error
        # The server answers when both are in it (seen; it waits for that in ast_bridge_impart). Its events say the
        # same twice, and were a tenth of what the controller read.
        self._tracker.bridged(bridge_id, time_of(response.timestamp))
        for leg_id, leg in legs.items():
            leg.bridge = bridge_id
            if leg.held:
                leg.held = False
                self._ari.send_unattended("POST", f"channels/{leg_id}/variable", (("variable", HELD), ("value", "")))
        for old in left:
            self._tracker.dissolve(old)
            self._ari.send_unattended("DELETE", f"bridges/{old}")

    def _make_quiet(self, leg_id: str, leg: Leg) -> None:
        """Music would go on inside the bridge, and a play would keep the leg out of it until its end."""
        self._tones.stop(leg_id, leg)
        if leg.music:
            leg.music = False
            self._ari.send_unattended("DELETE", f"channels/{leg_id}/moh")
        for play_id in leg.plays:
            self._tracker.plays[play_id].stopped = True
            self._ari.send_unattended("DELETE", f"playbacks/{play_id}")

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        self._tracker.dissolve(bridge_id)
        await self._ari.request("DELETE", f"bridges/{bridge_id}")

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        leg = self._leg(leg_id)
        bridge = leg.bridge
        if bridge is None or bridge not in self._tracker.bridges or leg.held:
            raise EngineRefused("the leg is in no bridge, or held already")
        leg.held = leg.music = True
        try:
            await self._all(
                (
                    self._ari.send("POST", f"channels/{leg_id}/variable", (("variable", HELD), ("value", bridge))),
                    self._ari.send("POST", f"bridges/{bridge}/removeChannel", (("channel", leg_id),)),
                    self._ari.send("POST", f"channels/{leg_id}/moh", (("mohClass", music_class),)),
                )
            )
        except EngineError:
            leg.held = False
            raise

    async def unhold(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        if not leg.held:
            raise EngineRefused("the leg is not held")
        forget = ("POST", f"channels/{leg_id}/variable", (("variable", HELD), ("value", "")))
        leg.held = False
        if leg.bridge is None or leg.bridge not in self._tracker.bridges:
            leg.bridge = None
            self._ari.send_unattended(*forget)
            raise LegGone("the conversation is over")
        leg.music = False
        await self._all(
            (
                self._ari.send("DELETE", f"channels/{leg_id}/moh"),
                self._ari.send("POST", f"bridges/{leg.bridge}/addChannel", (("channel", leg_id),)),
                self._ari.send(*forget),
            )
        )

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        """``in`` is what comes from the far end. Digits are no voice frames: they pass."""
        self._leg(leg_id)
        await self._ari.request("POST" if muted else "DELETE", f"channels/{leg_id}/mute", (("direction", "in"),))

    @staticmethod
    async def _all(sent: Iterable[Future[models.RESTResponse]]) -> None:
        """Raises the first error, once all are answered."""
        errors = []
        for future in sent:
            response = await future
            error = error_of(response)
            if error is not None:
                # 400, 422: no such channel, or not in this bridge.
                errors.append(LegGone("the leg is over") if response.status_code in (400, 422) else error)
        if errors:
            raise errors[0]
