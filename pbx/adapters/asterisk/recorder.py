"""Recording by MixMonitor over AMI, and the proof that the media server has closed a file."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

from pbx.adapters.asterisk.ami import AmiLink
from pbx.domain.errors import EngineRefused, EngineUnknown, LegGone
from pbx.domain.ids import LegId, RecordingId

CLOSE_S = 5.0
"""A leg that hangs up takes its recorder with it, in its own time; longer than this it never took."""


def is_open_for_writing(path: Path) -> bool:
    """Whether any process has ``path`` open for writing.

    A read lease is given only on a file that nobody has open for writing (fcntl(2), F_SETLEASE); it is returned at
    once. Needs the file's owner or CAP_LEASE. Raises FileNotFoundError, PermissionError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def _exists(path: Path) -> bool:
    # Memory-backed: looking costs a system call and no wait.
    return path.is_symlink() or path.exists()


class Recorder:
    def __init__(self, ami: AmiLink) -> None:
        self._ami = ami
        self._paths: dict[RecordingId, Path] = {}

    async def start(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        """Option D: interleaved stereo, what the leg says left, what it hears right; only ever as ``.raw``."""
        if path.suffix != ".raw" or not path.is_absolute():
            raise EngineRefused("a stereo recording is written to an absolute path that ends in .raw")
        if any(character in str(path) for character in ",|\r\n\"'`$&;"):
            raise EngineRefused("the path of the recording holds a character that would end an argument")
        # The server answers before it has made the file, so what was started counts as well.
        if _exists(path) or path in self._paths.values():
            raise EngineRefused("the file of the recording exists already; nothing is written over")
        self._paths[recording_id] = path
        try:
            await self._ami.action("MixMonitor", Channel=leg_id, File=str(path), options="D")
        except EngineRefused as error:
            del self._paths[recording_id]
            raise _gone(error) from error

    def adopt(self, recording_id: RecordingId, path: Path) -> None:
        self._paths[recording_id] = path

    async def stop(self, recording_id: RecordingId, leg_id: LegId) -> None:
        """The server closes the file before it answers. If the leg is gone, its recorder is just closing: that is
        waited for. Raises LegGone when the leg is gone and this recording is not known here."""
        path = self._paths.get(recording_id)
        try:
            await self._ami.action("StopMixMonitor", Channel=leg_id)
        except EngineRefused as error:
            if path is None:
                raise _gone(error) from error
        if path is not None:
            await self._closed(path)
            del self._paths[recording_id]

    async def pause(self, leg_id: LegId, paused: bool) -> None:
        """Every recording of the leg writes silence while it is paused. Raises LegGone when the leg is gone."""
        try:
            await self._ami.action("MixMonitorMute", Channel=leg_id, Direction="both", State=str(int(paused)))
        except EngineRefused as error:
            raise _gone(error) from error

    async def _closed(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_S
        while True:
            try:
                if not is_open_for_writing(path):
                    return
            except FileNotFoundError:
                return
            except PermissionError as error:
                raise EngineUnknown(
                    "no right to see whether the recording is closed (same user or CAP_LEASE)"
                ) from error
            if loop.time() > deadline:
                raise EngineUnknown(f"the media server has not closed the recording within {CLOSE_S} s")
            await asyncio.sleep(0.01)


def _gone(error: EngineRefused) -> EngineRefused | LegGone:
    return LegGone("the media server has no such leg") if "No such channel" in str(error) else error
