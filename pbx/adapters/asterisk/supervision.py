"""Supervisors: a snooping channel on the watched leg, bridged with the supervisor's leg.

The server has no other memory of it than the ids of that channel and bridge, so these say everything a restarted
controller has to know.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from pbx.adapters.asterisk.ari import AriLink, error_of
from pbx.adapters.asterisk.tracker import MARK, SNOOP, Leg, Tracker
from pbx.domain.errors import EngineRefused, EngineUnknown, LegGone
from pbx.domain.ids import LegId
from pbx.ports.media_engine import Supervision

_WHISPER = {Supervision.LISTEN: "none", Supervision.WHISPER: "out", Supervision.BARGE: "both"}
"""``out`` is what the server sends to the watched leg, ``in`` what it passes on from it."""
_ARRIVAL_S = 5.0
"""A snooping channel is handed over by a thread of its own; longer than this it never took."""


def snoop_id(number: int, supervisor: str, watched: str) -> str:
    return MARK.join((SNOOP, str(number), supervisor, watched))


def bridge_id(supervisor: str) -> str:
    return f"{SNOOP}{MARK}{supervisor}"


@dataclass(slots=True)
class Watching:
    watched: str
    snoop: str


class Supervisions:
    """Which leg supervises which."""

    def __init__(self, ari: AriLink, tracker: Tracker, application: str) -> None:
        self._ari, self._tracker, self._application = ari, tracker, application
        self._watching: dict[str, Watching] = {}
        self._arriving: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)

    def adopt(self, channels: Iterable[str], bridges: Iterable[str]) -> None:
        """What a snapshot holds. A bridge that has lost its snooping channel is removed."""
        self._watching.clear()
        highest = 0
        for channel in channels:
            _, number, supervisor, watched = channel.split(MARK)
            highest = max(highest, int(number))
            if supervisor in self._tracker.legs:
                self._watching[supervisor] = Watching(watched, channel)
            else:
                self._ari.send_unattended("DELETE", f"channels/{channel}")
        self._numbers = itertools.count(highest + 1)
        for bridge in bridges:
            if bridge.partition(MARK)[2] not in self._watching:
                self._ari.send_unattended("DELETE", f"bridges/{bridge}")

    def snooped(self, channel: str, there: bool) -> None:
        """A snooping channel was handed over, or has ended: with it ends what it served."""
        arriving = self._arriving.pop(channel, None)
        if arriving is not None and not arriving.done():
            if there:
                arriving.set_result(None)
            else:
                arriving.set_exception(LegGone("the watched leg is over"))
        supervisor = channel.split(MARK)[2]
        watching = self._watching.get(supervisor)
        if not there and watching is not None and watching.snoop == channel:
            del self._watching[supervisor]
            self._ari.send_unattended("DELETE", f"bridges/{bridge_id(supervisor)}")

    def end(self, supervisor: str) -> bool:
        """The leg supervises no more, or is over. Returns whether it did."""
        watching = self._watching.pop(supervisor, None)
        if watching is None:
            return False
        self._ari.send_unattended("DELETE", f"channels/{watching.snoop}")
        self._ari.send_unattended("DELETE", f"bridges/{bridge_id(supervisor)}")
        return True

    def _leg(self, leg_id: LegId) -> Leg:
        leg = self._tracker.legs.get(leg_id)
        if leg is None:
            raise LegGone("the leg is over")
        return leg

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        leg, other = self._leg(leg_id), self._leg(watched)
        if not leg.answered or leg.bridge is not None:
            raise EngineRefused("the supervisor's leg is not answered, or it is in a bridge")
        if other.bridge is None or other.held:
            raise EngineRefused("the watched leg is in no conversation")
        snoop = snoop_id(next(self._numbers), leg_id, watched)
        arrived = self._arriving[snoop] = asyncio.get_running_loop().create_future()
        before = self._watching.get(leg_id)
        self._watching[leg_id] = Watching(watched, snoop)
        if leg.music:
            leg.music = False
            self._ari.send_unattended("DELETE", f"channels/{leg_id}/moh")
        try:
            query = (("spy", "both"), ("whisper", _WHISPER[mode]), ("app", self._application), ("appArgs", SNOOP))
            await self._ari.request("POST", f"channels/{watched}/snoop/{snoop}", query)
            if before is None:
                await self._ari.request("POST", f"bridges/{bridge_id(leg_id)}", (("type", "mixing"),))
            async with asyncio.timeout(_ARRIVAL_S):
                await arrived
            if before is not None:
                # Its mode cannot be changed: another takes its place.
                self._ari.send_unattended("DELETE", f"channels/{before.snoop}")
            channels = snoop if before is not None else f"{leg_id},{snoop}"
            response = await self._ari.send("POST", f"bridges/{bridge_id(leg_id)}/addChannel", (("channel", channels),))
            error = error_of(response)
            if error is not None:
                raise LegGone("one of the legs is over") if response.status_code in (400, 422) else error
        except TimeoutError:
            self.end(leg_id)
            raise EngineUnknown("the snooping channel was not handed over") from None
        except BaseException:
            self.end(leg_id)
            raise
        finally:
            self._arriving.pop(snoop, None)

    async def stop(self, leg_id: LegId) -> None:
        self._leg(leg_id)
        if not self.end(leg_id):
            raise EngineRefused("the leg supervises nobody")
