"""The port to a media server: what a POP's controller asks of Asterisk, FreeSWITCH or the simulated engine.

One semantics, whatever carries the calls. Methods return when the media server has accepted the command; what
becomes of it arrives as events. They raise ``LegGone`` (usual when both sides hang up at once), ``EngineRefused``,
``EngineGone`` (not sent, may be tried again), ``EngineUnknown`` (never to be sent again; settled by snapshot).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pbx.domain.commands import OriginateLeg, Prompt
from pbx.domain.consent import RecordingGrant
from pbx.domain.events import Event
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId, RecordingId


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do; code asks this, never the class of the engine."""

    name: str
    version: str
    early_media: bool = True
    stereo_recording: bool = True
    queues_events_while_away: bool = False
    """Events of a time without controller are delivered later (they may be doubled; the adapter drops doubles)."""


@dataclass(frozen=True, slots=True)
class LegSnapshot:
    leg_id: LegId
    answered: bool
    bridge_id: BridgeId | None
    in_control: bool
    """The leg is handed to the controller (in Stasis, parked) and not in the dialplan."""


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    legs: tuple[LegSnapshot, ...]
    bridges: tuple[BridgeId, ...]
    reachable_phones: frozenset[PhoneId]


@dataclass(frozen=True, slots=True)
class PhoneAccount:
    """An agent's SIP account. ``ha1``: hex MD5 of ``user:realm:password`` (RFC 2617, 3.2.2.2); the realm is
    ``callplane``. Clear passwords never reach a POP."""

    phone_id: PhoneId
    ha1: str
    display_name: str = ""


class EngineListener(Protocol):
    """Who receives the engine's events. Called from the event loop, must not block and must not raise."""

    def engine_event(self, event: Event) -> None: ...

    def engine_up(self, snapshot: EngineSnapshot) -> None:
        """(Re)connected, subscribed, and ``snapshot`` taken: events after this call can be trusted."""

    def engine_down(self, reason: str) -> None: ...


class MediaEngine(Protocol):
    @property
    def capabilities(self) -> EngineCapabilities: ...

    async def start(self, listener: EngineListener) -> None:
        """Connect (or listen) and keep connected until ``stop``. Returns at once; ``engine_up`` says when it works."""

    async def stop(self) -> None: ...

    async def answer(self, leg_id: LegId) -> None: ...

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None: ...

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None: ...

    async def stop_play(self, play_id: PlayId) -> None: ...

    async def start_music(self, leg_id: LegId, music_class: str) -> None: ...

    async def stop_music(self, leg_id: LegId) -> None: ...

    async def originate(self, leg: OriginateLeg) -> None: ...

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None: ...

    async def destroy_bridge(self, bridge_id: BridgeId) -> None: ...

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        """Write the conversation of ``leg_id`` to ``path`` as interleaved stereo, signed 16-bit little-endian,
        8000 Hz, no header: left what the leg says, right what it hears."""

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        """Returns when the media server writes no more to the file."""

    async def put_phone(self, account: PhoneAccount) -> None:
        """Create or replace the account under which an agent's phone registers."""

    async def remove_phone(self, phone_id: PhoneId) -> None: ...

    async def snapshot(self) -> EngineSnapshot: ...


Clock = Callable[[], float]
"""Seconds since the epoch, UTC."""
