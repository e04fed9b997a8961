"""Recording by ``uuid_record``, and how we know that the server has closed a file.

``RECORD_STEREO`` makes left what the leg says and right what it hears; a file named ``.raw`` has no header and is
signed 16-bit in the machine's order. The reply to ``stop`` comes after the file was closed; when the leg has hung up,
the event ``RECORD_STOP`` says so.
"""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pbx.adapters.freeswitch.esl import EslLink
from pbx.domain.errors import EngineRefused, EngineUnknown, LegGone
from pbx.domain.ids import LegId, RecordingId

CLOSE_S = 5.0
"""A leg that hangs up takes its recording with it, in its own time; longer than this it never took."""
HOW = "{RECORD_STEREO=true,RECORD_MIN_SEC=0,record_sample_rate=8000,enable_file_write_buffering=8192}"
"""Both sides, however short, always 8000 Hz; written every 0.25 s, where the server would keep 4 s to itself, which
are lost when it is killed."""
NO_LIMIT = 0
_PATH = re.compile(r"/[A-Za-z0-9._/+-]*\.raw")
"""The command ends a path at a space, and takes brackets and braces for options."""


@dataclass(slots=True)
class _Recording:
    leg_id: LegId
    path: str
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    def __init__(self, link: EslLink) -> None:
        self._link = link
        self._recordings: dict[RecordingId, _Recording] = {}

    def stopped(self, path: str) -> None:
        """``RECORD_STOP``: the server has closed this file."""
        for recording in self._recordings.values():
            if recording.path == path:
                recording.closed.set()

    def lost(self) -> None:
        """The server is another one: it writes to no file that it did not open."""
        for recording in self._recordings.values():
            recording.closed.set()

    async def start(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        if sys.byteorder != "little":
            raise EngineRefused("the server would write samples in big-endian order")
        if not _PATH.fullmatch(str(path)) or ".." in path.parts:
            raise EngineRefused("a stereo recording is written to an absolute path of plain characters ending in .raw")
        # Memory-backed: looking costs a system call and no wait.
        if path.is_symlink() or path.exists() or any(r.path == str(path) for r in self._recordings.values()):  # noqa: ASYNC240
            raise EngineRefused("the file of the recording exists already; nothing is written over")
        self._recordings[recording_id] = _Recording(leg_id, str(path))
        try:
            await self._link.api(f"uuid_record {leg_id} start {path} {NO_LIMIT} {HOW}")
        except (LegGone, EngineRefused):
            del self._recordings[recording_id]
            raise

    def adopt(self, recording_id: RecordingId, leg_id: LegId, path: Path, *, there: bool) -> None:
        """``there``: the leg is; without it the server has closed the file, and nobody heard it say so."""
        recording = self._recordings[recording_id] = _Recording(leg_id, str(path))
        if not there:
            recording.closed.set()

    async def stop(self, recording_id: RecordingId, leg_id: LegId) -> None:
        """Returns when the file is closed. A recording of an earlier controller is not known by its path: all on the
        leg are stopped then. Raises LegGone when neither leg nor recording are known."""
        recording = self._recordings.get(recording_id)
        if recording is None:
            await self._link.api(f"uuid_record {leg_id} stop all")
            return
        try:
            await self._link.api(f"uuid_record {recording.leg_id} stop {recording.path}")
        except (LegGone, EngineRefused):
            # It ended with its leg, or is ending.
            try:
                async with asyncio.timeout(CLOSE_S):
                    await recording.closed.wait()
            except TimeoutError:
                raise EngineUnknown(f"the media server has not closed the recording within {CLOSE_S} s") from None
        self._recordings.pop(recording_id, None)

    async def pause(self, recording_id: RecordingId, leg_id: LegId, paused: bool) -> None:
        """Masked samples are written as silence; the length goes on."""
        recording = self._recordings.get(recording_id)
        if recording is None:
            raise LegGone("the recording is not under way")
        await self._link.api(f"uuid_record {recording.leg_id} {'mask' if paused else 'unmask'} {recording.path}")
