"""Room for captures. A media server that finds the disk full writes on into nothing and says nothing; so before that,
what is under way is stopped and placed, and nothing more begins until there is room again. The calls go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pbx.controller.call_actor import CallActor
from pbx.domain import events as ev
from pbx.domain.call import Call
from pbx.domain.ids import CallId
from pbx.ports.media_engine import Clock
from pbx.recording.recorder import Recorder

LOOK_S = 1.0
"""How often it is looked: a recording takes 32 kB a second."""

log = logging.getLogger(__name__)


def captures(call: Call) -> bool:
    """Whether something of this call is being captured."""
    return call.recording.running is not None or (call.voicemail is not None and call.voicemail.running is not None)


@dataclass(slots=True)
class DiskRoom:
    """``calls`` are the live ones."""

    recorder: Recorder
    calls: Mapping[CallId, CallActor]
    clock: Clock
    told: bool = False

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        if self.recorder.has_room():
            if self.told:
                log.info("there is room for recordings again")
            self.told = False
            return
        stopped = [actor for actor in self.calls.values() if captures(actor.call)]
        for actor in stopped:
            actor.post(ev.RecordingStopAsked(at=self.clock(), by="disk_full"))
        if stopped or not self.told:
            log.error(
                "ALARM the disk of recordings under way is full: %d were stopped, none begins; their calls go on. Make "
                "room in CALLPLANE_POP_RECORDING_DIR, or give it more for so many calls",
                len(stopped),
            )
        self.told = True
