"""Whether the media server carries audio: the POP calls itself and listens on both sides.

A media server that takes requests and moves no sound is worse than one that is gone: callers are answered and hear
nothing. Two calls in a row in which a side did not hear the other mean down; one in which both did, up again. The
calls are nobody's: no leg of them is in the controller's hands, none is in a record or a figure.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

from dialplans import self_call
from pbx.domain.errors import EngineError
from pbx.domain.events import MediaChecked
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.recording.tone import carries

log = logging.getLogger(__name__)

LOOK_S = 0.25
WITHIN_S = 6.0
"""From the start of a call until both sides must have heard a tone: three times what it takes."""
FAILURES = 2
AGAIN_S = 1.0
"""After a failed call the next one is not put off."""
FACING = {"local": self_call.FAR_HZ, "far": self_call.LOCAL_HZ}
"""What each side must hear."""


class SelfCalls:
    """``told`` hears of each change, first of all whether it works at all. ``every_s``: 0 means never."""

    def __init__(
        self, engine: MediaEngine, directory: Path, clock: Clock, every_s: float, told: Callable[[MediaChecked], None]
    ) -> None:
        self._engine, self._directory, self._clock, self._told = engine, directory, clock, told
        self._every_s = every_s
        self._ids = itertools.count(1)
        self._failed = 0
        self.carries_audio: bool | None = None
        """None: not known (yet, or not while the media server is not connected)."""
        self.reason = ""
        """Why it does not."""
        self.checked_at: float | None = None

    async def run(self, connected: Callable[[], bool]) -> None:
        """Until cancelled."""
        if self._every_s <= 0:
            return
        while True:
            if connected():
                reason = await self._checked()
                if connected():
                    self._judge(reason)
            else:
                self.carries_audio, self._failed = None, 0
            await asyncio.sleep(AGAIN_S if self._failed or self.carries_audio is None else self._every_s)

    async def _checked(self) -> str:
        """Empty: both sides heard the other."""
        check_id = int(self._clock()) * 1000 + next(self._ids) % 1000
        files = {side: self._directory / self_call.file_name(check_id, side) for side in FACING}
        try:
            await self._engine.call_itself(check_id, self._directory)
            loop = asyncio.get_running_loop()
            end = loop.time() + WITHIN_S
            while deaf := [side for side, path in files.items() if not carries(path, FACING[side])]:
                if loop.time() > end:
                    return _reason(deaf, {side for side, path in files.items() if path.exists()})
                await asyncio.sleep(LOOK_S)
        except EngineError as error:
            return f"the call was not begun: {type(error).__name__}"
        except OSError as error:
            return f"what was heard cannot be read in CALLPLANE_POP_RECORDING_DIR: {error.strerror}"
        finally:
            self._tidy()
        return ""

    def _tidy(self) -> None:
        """Files of calls that are over, those of former runs too. Whoever still writes to one writes to nothing."""
        for path in self._directory.glob("self-*.wav"):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("a file of a call to itself was not removed: %s", error.strerror)

    def _judge(self, reason: str) -> None:
        self.checked_at = self._clock()
        self._failed = self._failed + 1 if reason else 0
        if self._failed and (self._failed < FAILURES or self.carries_audio is False):
            self.reason = reason if self.carries_audio is False else self.reason
            return
        was, self.carries_audio, self.reason = self.carries_audio, not reason, reason
        if was is self.carries_audio:
            return
        if reason:
            log.error("ALARM the media server does not carry audio: %s. It counts as down", reason)
        elif was is False:
            log.info("the media server carries audio again")
        self._told(MediaChecked(at=self.checked_at, carries_audio=not reason, reason=reason))


def _reason(deaf: list[str], there: set[str]) -> str:
    if not there:
        return "its call to itself was not answered"
    names = {"local": "the calling side", "far": "the called side"}
    return "in its call to itself " + " and ".join(names[side] for side in deaf) + " heard nothing"
