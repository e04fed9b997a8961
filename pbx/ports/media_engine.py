"""The port to a media server: what a POP's controller asks of Asterisk, FreeSWITCH or the simulated engine.

One semantics, whatever carries the calls. Methods return when the media server has accepted the command; what
becomes of it arrives as events. They raise ``LegGone`` (usual when both sides hang up at once), ``EngineRefused``,
``EngineGone`` (not sent, may be tried again), ``EngineUnknown`` (never to be sent again; settled by snapshot).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pbx.domain.commands import OriginateLeg, Prompt, Tone
from pbx.domain.consent import RecordingGrant
from pbx.domain.errors import BadValue
from pbx.domain.events import Event, Supervision
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId, RecordingId
from pbx.wire.telemetry.counts import Histogram


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do; code asks this, never the class of the engine."""

    name: str
    version: str
    early_media: bool = True
    """Prompts and music reach a leg that is not answered yet (SIP 183)."""
    stereo_recording: bool = True
    pausing: bool = True
    """A recording can be paused and resumed."""
    supervision: bool = True
    """Listen, whisper and barge."""
    queues_events_while_away: bool = False
    """Events of a time without controller are delivered later (they may be doubled; the adapter drops doubles)."""


@dataclass(slots=True)
class EngineMeter:
    """What an adapter counts."""

    requests: Histogram = field(default_factory=Histogram)
    """Seconds until the media server answered."""
    unanswered: int = 0
    """Requests whose deadline passed, or whose connection dropped."""
    lease_renewed_at: float | None = None
    """When the media server last took a renewal, seconds since the epoch; None: it is not held."""
    lease_s: float = 4.0
    """For how long each renewal holds."""


__all__ = [
    "LEG_VARIABLES",
    "Clock",
    "EngineCapabilities",
    "EngineListener",
    "EngineMeter",
    "EngineSnapshot",
    "LegSnapshot",
    "MediaEngine",
    "PhoneAccount",
    "Supervision",
    "check_variables",
]

LEG_VARIABLES = ("CALLPLANE_CALL", "CALLPLANE_ROLE")
"""What may be written on a leg: which call it belongs to and as what. Values: up to 128 printable ASCII characters
without quotes, commas and braces."""
_UNFIT = re.compile(r"""[^ -~]|["'`,{}]""")


def check_variables(variables: Mapping[str, str]) -> None:
    """Raises ``BadValue`` naming the variable that is not one of ``LEG_VARIABLES`` or whose value is unfit."""
    for name, value in variables.items():
        if name not in LEG_VARIABLES:
            raise BadValue("variables", f"may only be {' and '.join(LEG_VARIABLES)}")
        if len(value) > 128 or _UNFIT.search(value):
            raise BadValue(name, "is not up to 128 printable ASCII characters without quotes, commas and braces")


@dataclass(frozen=True, slots=True)
class LegSnapshot:
    leg_id: LegId
    answered: bool
    bridge_id: BridgeId | None
    in_control: bool
    """The leg is handed to the controller (in Stasis, parked) and not in the dialplan."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of ``LEG_VARIABLES`` that were set on the leg; they stay while the leg lives, whoever controls it."""
    supervises: LegId | None = None
    """The leg in whose conversation this one, a supervisor's, takes part."""


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
    site: str = ""
    """Where its agent sits, by which the dialplan chooses the trunk of an emergency call; letters, digits, ``_.-``."""
    phone_class: str = ""
    """The POP's class of phones that it is of; empty: the usual one."""


class EngineListener(Protocol):
    """Who receives the engine's events. Called from the event loop, must not block and must not raise."""

    def engine_event(self, event: Event) -> None: ...

    def engine_up(self, snapshot: EngineSnapshot) -> None:
        """(Re)connected, subscribed, and ``snapshot`` taken: events after this call can be trusted."""

    def engine_down(self, reason: str) -> None: ...


class MediaEngine(Protocol):
    @property
    def capabilities(self) -> EngineCapabilities: ...

    @property
    def meter(self) -> EngineMeter: ...

    def expect(self) -> None:
        """``start`` comes soon: a media server that dials may do so already. Raises OSError."""

    async def start(self, listener: EngineListener) -> None:
        """Connect (or listen) and keep connected until ``stop``. Returns at once; ``engine_up`` says when it works."""

    async def stop(self) -> None: ...

    async def answer(self, leg_id: LegId) -> None: ...

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None: ...

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        """Play the prompts one after the other, as early media when the leg is not answered. One play at a time:
        ``EngineRefused`` while another is under way on the leg (one for which ``stop_play`` has returned is not).
        Music on the leg ends with it. To say a number is to play its prompts: composed by the core, the same on every
        engine, and evidence like any other prompt."""

    async def stop_play(self, play_id: PlayId) -> None: ...

    async def start_music(self, leg_id: LegId, music_class: str) -> None: ...

    async def start_ringing(self, leg_id: LegId) -> None:
        """The leg, in a bridge alone or in none, hears the ringing tone of the POP's country instead of music, until
        ``stop_music``, ``start_music``, a play or a bridge."""

    async def start_tone(self, leg_id: LegId, tone: Tone) -> None:
        """Likewise, the tone of a number that is busy or cannot be reached."""

    async def stop_music(self, leg_id: LegId) -> None: ...

    async def originate(self, leg: OriginateLeg) -> None: ...

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        """Let two answered legs talk. Music and plays on them end. A leg that is in another bridge or held leaves it
        (this is what transfers are made of), and that bridge is over; the leg that is left behind hears silence and
        stays in control. A leg whose other side hangs up stays in control as well. The id must be new."""

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        """Both legs stay in control. Raises ``LegGone`` when the bridge is over already."""

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        """Take a bridged leg out of the conversation: it hears music, the other side hears silence. Raises
        ``EngineRefused`` when the leg is in no bridge or held already."""

    async def unhold(self, leg_id: LegId) -> None:
        """Back into the conversation. Raises ``LegGone`` when that is over (the music goes on until ``stop_music``),
        ``EngineRefused`` when the leg is not held."""

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        """What the leg says reaches nobody; it goes on hearing. Its digits still arrive."""

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        """Let the answered leg ``leg_id``, which is in no bridge, take part in the conversation of the bridged leg
        ``watched``. Called again it changes the mode. It ends with either leg, and with ``stop_supervising``; the
        supervisor's leg stays in control then."""

    async def stop_supervising(self, leg_id: LegId) -> None: ...

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        """Write the conversation of ``leg_id`` to ``path`` as interleaved stereo, signed 16-bit little-endian,
        8000 Hz, no header: left what the leg says, right what it hears. A leg in no bridge is recorded as well,
        and is sent silence meanwhile."""

    def adopt_recording(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        """A recording that an earlier controller started: stopped, paused and resumed like one of this controller's."""

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        """Returns when the media server writes no more to the file."""

    async def pause_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        """Silence on both sides is written until ``resume_recording``; the length stays that of the call."""

    async def resume_recording(self, recording_id: RecordingId, leg_id: LegId) -> None: ...

    async def set_variables(self, leg_id: LegId, variables: Mapping[str, str]) -> None:
        """Write some of ``LEG_VARIABLES`` on a leg. Raises ``BadValue`` for another name or an unfit value."""

    async def put_phone(self, account: PhoneAccount) -> None:
        """Create or replace the account under which an agent's phone registers."""

    async def remove_phone(self, phone_id: PhoneId) -> None:
        """Nobody can register as it or ring it any more; what had registered is no longer reachable.
        Its calls go on."""

    async def call_itself(self, check_id: int, directory: Path) -> None:
        """Call the server's own SIP address: two legs of its own, which are nobody's and of which no event tells. The
        two say what ``dialplans.self_call`` says; what each hears is in a file of its own in ``directory``, that of
        running recordings: 16 bit, 8 kHz, mono, behind a WAV header. Returns when the call has been begun; that it
        cannot be answered is no error."""

    async def snapshot(self) -> EngineSnapshot: ...


Clock = Callable[[], float]
"""Seconds since the epoch, UTC."""
