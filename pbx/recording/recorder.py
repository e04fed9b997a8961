"""The recorder. Its only way to start takes a ``RecordingGrant``, and only the consent core makes one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from pbx.domain.consent import RecordingGrant
from pbx.domain.errors import EngineError, EngineRefused
from pbx.domain.events import RecordingEnded
from pbx.domain.ids import LegId, RecordingId
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.ports.vault import Erased, Stored, Vault
from pbx.recording.silence import SilenceMeter

LOOK_S = 0.5
"""How often a capture that is watched is read."""
LATE_S = 3.0
"""By how much what was captured comes late to its file, at most: servers write it in pieces of a second or so."""

log = logging.getLogger(__name__)


class Recorder:
    """Captures into a memory-backed directory, then hands the whole recording to the vault."""

    def __init__(
        self, engine: MediaEngine, vault: Vault, directory: Path, clock: Clock, reserve_bytes: int = 0
    ) -> None:
        """``reserve_bytes``: with less room than that in ``directory`` nothing begins."""
        self._engine = engine
        self._reserve = reserve_bytes
        self._vault = vault
        self._directory = directory
        self._clock = clock
        self._regions: dict[RecordingId, str] = {}
        self._watches: dict[RecordingId, asyncio.Task[None]] = {}

    @property
    def directory(self) -> Path:
        """Where the media server writes while something is recorded."""
        return self._directory

    @property
    def running(self) -> int:
        """How many captures are under way."""
        return len(self._regions)

    def _raw(self, recording_id: RecordingId) -> Path:
        return self._directory / f"{recording_id}.raw"

    def has_room(self) -> bool:
        """Whether the directory takes more. A directory that cannot be asked has none."""
        try:
            found = os.statvfs(self._directory)
        except OSError as error:
            log.error("ALARM the directory of recordings under way cannot be looked at: %s", error)
            return False
        return found.f_bavail * found.f_frsize >= self._reserve

    async def start(self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, region: str) -> None:
        """Raises EngineError when the media server does not record, or recordings of the region must not rest here;
        then nothing is captured."""
        if not self._vault.takes(region):
            log.error("ALARM recording %s is not made: those of region %r must not rest here", recording_id, region)
            raise EngineRefused("recordings of this region must not rest at this POP")
        if not self.has_room():
            log.error("ALARM recording %s is not made: the disk of recordings under way is full", recording_id)
            raise EngineRefused("the disk of recordings under way is full")
        self._regions[recording_id] = region
        try:
            await self._engine.start_recording(recording_id, leg_id, grant, self._raw(recording_id))
        except EngineError:
            del self._regions[recording_id]
            raise

    def adopt(self, recording_id: RecordingId, leg_id: LegId, region: str) -> None:
        """Another controller has started it, under a grant."""
        self._regions[recording_id] = region
        self._engine.adopt_recording(recording_id, leg_id, self._raw(recording_id))

    def captured(self) -> frozenset[RecordingId]:
        """Those that have a file here: under way, or not placed."""
        return frozenset(RecordingId(path.stem) for path in self._directory.glob("*.raw"))

    def destroy(self, recording_id: RecordingId) -> None:
        """What was captured under no grant. Whoever still writes to it writes to nothing."""
        self._raw(recording_id).unlink(missing_ok=True)

    async def place(self, recording_id: RecordingId, region: str, discard: bool) -> RecordingEnded:
        """What an earlier controller has captured and nobody writes to any more: placed or destroyed, like ``stop``."""
        return await self._end(recording_id, region, discard)

    async def erase(self, recording_id: RecordingId) -> None:
        """Destroy one that was placed; one that is gone already is. Raises OSError."""
        with contextlib.suppress(KeyError):
            await asyncio.to_thread(self._vault.erase, recording_id)

    def watch(self, recording_id: RecordingId, silence_s: float, silent: Callable[[float], None]) -> None:
        """Calls ``silent`` once, with the seconds that were spoken, when nothing was said for ``silence_s`` seconds of
        a recording that has started; not after ``stop``."""
        watching = self._until_silent(SilenceMeter(self._raw(recording_id)), silence_s, silent)
        self._watches[recording_id] = asyncio.get_running_loop().create_task(watching, name=f"silence-{recording_id}")

    async def _until_silent(self, meter: SilenceMeter, silence_s: float, silent: Callable[[float], None]) -> None:
        loop = asyncio.get_running_loop()
        grew_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                # Memory-backed: a look costs no wait.
                grew = meter.look()
            except FileNotFoundError:
                grew = False  # not made yet
            except OSError as error:
                log.warning("a message will not end by silence: its capture cannot be read: %s", error)
                return
            if grew:
                grew_at = loop.time()
            # A far end that sends nothing while nobody speaks may leave nothing to capture.
            if meter.silent_s >= silence_s or loop.time() - grew_at >= silence_s + LATE_S:
                silent(meter.said_s)
                return

    async def stop(self, recording_id: RecordingId, leg_id: LegId, discard: bool) -> RecordingEnded:
        """Ends the capture and places it, or destroys it. Never raises: a recording that could not be placed stays
        where it was captured, is reported as ``size_bytes`` 0 and logged as an error."""
        watch = self._watches.pop(recording_id, None)
        if watch is not None:
            watch.cancel()
        region = self._regions.pop(recording_id, "")
        try:
            await self._engine.stop_recording(recording_id, leg_id)
        except EngineError as error:
            log.warning("recording %s: the media server did not confirm its end: %s", recording_id, error)
        return await self._end(recording_id, region, discard)

    async def _end(self, recording_id: RecordingId, region: str, discard: bool) -> RecordingEnded:
        raw = self._raw(recording_id)
        try:
            return await asyncio.to_thread(self._finish, recording_id, region, raw, discard)
        except (OSError, ValueError) as error:
            log.error("ALARM recording %s could not be placed, it stays at %s: %s", recording_id, raw, error)
            return self._ended(recording_id, region)

    def _finish(self, recording_id: RecordingId, region: str, raw: Path, discard: bool) -> RecordingEnded:
        if not raw.exists():
            # Destroyed, never begun, or placed by a controller that died before it could say so.
            placed = None if discard else self._vault.find(recording_id)
            return (
                self._ended(recording_id, region, discarded=True)
                if placed is None
                else self._stored(recording_id, region, placed)
            )
        if discard or raw.stat().st_size == 0:
            raw.unlink()
            with contextlib.suppress(KeyError):  # of a controller that died while it placed it
                self._vault.erase(recording_id)
            return self._ended(recording_id, region, discarded=True)
        try:
            return self._stored(recording_id, region, self._vault.store(recording_id, region, raw))
        except Erased as erased:
            log.info("recording %s: %s", recording_id, erased)
            return self._ended(recording_id, region, discarded=True)

    def _stored(self, recording_id: RecordingId, region: str, stored: Stored) -> RecordingEnded:
        return RecordingEnded(
            at=self._clock(),
            recording_id=recording_id,
            region=region,
            duration_ms=stored.duration_ms,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )

    def _ended(self, recording_id: RecordingId, region: str, discarded: bool = False) -> RecordingEnded:
        return RecordingEnded(
            at=self._clock(),
            recording_id=recording_id,
            region=region,
            duration_ms=0,
            size_bytes=0,
            sha256="",
            discarded=discarded,
        )
