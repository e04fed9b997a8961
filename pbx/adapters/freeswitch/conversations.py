"""Bridges, hold, mute and supervision.

The server joins two channels and no more, and knows no name for it: the bridge's id is written on both legs
(``callplane_bridge``), which also lets the next controller find it. A held leg is parked with music and its bridge
taken apart; the other side parks by itself (``park_after_bridge``). Supervision is ``eavesdrop`` on the supervisor's
leg, steered by events to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.sounds import Sounds, word
from pbx.adapters.freeswitch.tracker import Bridge, Tracker
from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.ids import BridgeId, LegId
from pbx.ports.media_engine import Supervision

_STEER = {Supervision.LISTEN: "0", Supervision.WHISPER: "2", Supervision.BARGE: "3"}
_START = {
    Supervision.LISTEN: ("false", "false"),
    Supervision.WHISPER: ("false", "true"),
    Supervision.BARGE: ("true", "true"),
}
"""Whether what the supervisor says is mixed into what the watched leg says, and into what it hears."""


class Conversations:
    def __init__(self, link: EslLink, tracker: Tracker, sounds: Sounds) -> None:
        self._link, self._tracker, self._sounds = link, tracker, sounds

    # --- bridges ------------------------------------------------------------------------------------------------------

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        word(bridge_id, "bridge_id")
        tracker = self._tracker
        legs = [tracker.legs[leg_id] for leg_id in leg_ids]
        if bridge_id in tracker.bridges:
            raise EngineRefused("a bridge has this id already")
        if not all(leg.answered and leg.taken for leg in legs) or leg_ids[0] == leg_ids[1]:
            raise EngineRefused("a bridge takes two answered legs")
        commands = []
        held = [leg.held for leg in legs]
        for leg_id, leg in zip(leg_ids, legs, strict=True):
            if leg.bridge is not None:
                commands += self._leave(leg.bridge, leg_ids)
            if leg.watching is not None:
                commands.append(self._end_supervision(leg_id))
            self._sounds.clear(leg_id)
            leg.held = False
            leg.bridge = bridge_id
        tracker.bridges[bridge_id] = Bridge(leg_ids, joined=True)
        commands += [
            f"api uuid_setvar_multi {leg_id} callplane_bridge={bridge_id};callplane_held="
            if was_held
            else f"api uuid_setvar {leg_id} callplane_bridge {bridge_id}"
            for leg_id, was_held in zip(leg_ids, held, strict=True)
        ]
        commands.append(f"api uuid_bridge {leg_ids[0]} {leg_ids[1]}")
        try:
            await self._all(commands)
        except (LegGone, EngineRefused):
            tracker.end_bridge(bridge_id)
            raise

    def _leave(self, bridge_id: str, moving: Iterable[str]) -> list[str]:
        """The bridge ends because a leg moves to another: the one left behind parks by itself."""
        left = [leg_id for leg_id in self._tracker.bridges[bridge_id].legs if leg_id not in moving]
        self._tracker.end_bridge(bridge_id)
        return [f"api uuid_setvar {leg_id} callplane_bridge" for leg_id in left]

    async def destroy(self, bridge_id: BridgeId) -> None:
        bridge = self._tracker.bridges.get(bridge_id)
        if bridge is None:
            raise LegGone("the bridge is over")
        commands = [f"api uuid_setvar_multi {leg} callplane_bridge=;callplane_held=" for leg in bridge.legs]
        if bridge.joined:
            commands.append(f"api uuid_park {bridge.legs[0]}")
        self._tracker.end_bridge(bridge_id)
        for leg_id in bridge.legs:
            if self._tracker.legs[leg_id].held:
                self._sounds.clear(LegId(leg_id))
        await self._all(commands)

    async def _all(self, lines: Iterable[str]) -> None:
        """Sends all before the first is answered; the server takes them in their order. Raises the first error."""
        replies = [self._link.send(line) for line in lines]
        errors = [error_of(text) for text in await asyncio.gather(*replies)]
        for error in errors:
            if error is not None:
                raise error

    # --- hold and mute ------------------------------------------------------------------------------------------------

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        word(music_class, "music_class")
        leg = self._tracker.legs[leg_id]
        if leg.bridge is None or leg.held:
            raise EngineRefused("the leg is in no conversation, or held already")
        bridge = self._tracker.bridges[leg.bridge]
        commands = [f"api uuid_setvar {leg_id} callplane_held true"]
        if bridge.joined:
            commands.append(f"api uuid_park {leg_id}")
        leg.held, bridge.joined = True, False
        await self._all(commands)
        await self._sounds.start_music(leg_id, music_class)

    async def unhold(self, leg_id: LegId) -> None:
        leg = self._tracker.legs[leg_id]
        if not leg.held:
            raise EngineRefused("the leg is not held")
        if leg.bridge is None:
            raise LegGone("the conversation is over")
        bridge = self._tracker.bridges[leg.bridge]
        self._sounds.clear(leg_id)
        leg.held = False
        commands = [f"api uuid_setvar {leg_id} callplane_held"]
        if not any(self._tracker.legs[other].held for other in bridge.legs):
            bridge.joined = True
            commands.append(f"api uuid_bridge {bridge.legs[0]} {bridge.legs[1]}")
        await self._all(commands)

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        await self._link.api(f"uuid_audio {leg_id} start read mute {1 if muted else 0}")

    # --- supervision --------------------------------------------------------------------------------------------------

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        leg, other = self._tracker.legs[leg_id], self._tracker.legs[watched]
        if not leg.answered or leg.bridge is not None or leg_id == watched:
            raise EngineRefused("the supervisor's leg is not answered, or it is in a bridge")
        if other.bridge is None:
            raise EngineRefused("the watched leg is in no bridge")
        if leg.watching == watched:
            await self._steer(leg_id, _STEER[mode])
            return
        if leg.watching is not None:
            await self._steer(leg_id, "*")
        self._sounds.clear(leg_id)
        self._tracker.watch(leg_id, watched)
        into_said, into_heard = _START[mode]
        variables = (
            f"eavesdrop_whisper_aleg={into_said};eavesdrop_whisper_bleg={into_heard};callplane_watching={watched}"
        )
        try:
            await self._link.api(f"uuid_setvar_multi {leg_id} {variables}")
            await self._link.request(
                f"sendmsg {leg_id}",
                {"call-command": "execute", "execute-app-name": "eavesdrop", "execute-app-arg": watched},
            )
        except (LegGone, EngineRefused):
            if leg_id in self._tracker.legs:
                self._tracker.watch(leg_id, None)
            raise

    async def stop_supervising(self, leg_id: LegId) -> None:
        if self._tracker.legs[leg_id].watching is None:
            raise EngineRefused("the leg supervises nobody")
        await self._all([self._end_supervision(leg_id)])
        await self._steer(leg_id, "*")

    def _end_supervision(self, leg_id: str) -> str:
        self._tracker.watch(leg_id, None)
        return f"api uuid_setvar {leg_id} callplane_watching"

    async def _steer(self, leg_id: str, command: str) -> None:
        """``eavesdrop`` reads its commands from events sent to the supervisor's leg."""
        await self._link.request("sendevent MESSAGE", {"unique-id": leg_id, "eavesdrop-command": command})
