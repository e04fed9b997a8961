"""The recorder. Its only way to start takes a ``RecordingGrant``, and only the consent core makes one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from pbx.domain.consent import RecordingGrant
from pbx.domain.errors import EngineError
from pbx.domain.events import RecordingEnded
from pbx.domain.ids import LegId, RecordingId
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.ports.vault import Stored, Vault

log = logging.getLogger(__name__)


class Recorder:
    """Captures into a memory-backed directory, then hands the whole recording to the vault."""

    def __init__(self, engine: MediaEngine, vault: Vault, directory: Path, clock: Clock) -> None:
        self._engine = engine
        self._vault = vault
        self._directory = directory
        self._clock = clock
        self._regions: dict[RecordingId, str] = {}

    def _raw(self, recording_id: RecordingId) -> Path:
        return self._directory / f"{recording_id}.raw"

    async def start(self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, region: str) -> None:
        """Raises EngineError when the media server does not record; then nothing is captured."""
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

    async def stop(self, recording_id: RecordingId, leg_id: LegId, discard: bool) -> RecordingEnded:
        """Ends the capture and places it, or destroys it. Never raises: a recording that could not be placed stays
        where it was captured, is reported as ``size_bytes`` 0 and logged as an error."""
        region = self._regions.pop(recording_id, "")
        raw = self._raw(recording_id)
        try:
            await self._engine.stop_recording(recording_id, leg_id)
        except EngineError as error:
            log.warning("recording %s: the media server did not confirm its end: %s", recording_id, error)
        try:
            return await asyncio.to_thread(self._finish, recording_id, region, raw, discard)
        except (OSError, ValueError) as error:
            log.error("recording %s could not be placed, it stays at %s: %s", recording_id, raw, error)
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
            return self._ended(recording_id, region, discarded=True)
        return self._stored(recording_id, region, self._vault.store(recording_id, region, raw))

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
