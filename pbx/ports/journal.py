"""The port to the journal: every event of this POP, written before it is acted on, kept until the centre has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pbx.domain.decisions import Remembered
from pbx.domain.events import AgentChanged, CallbackEvent, Event
from pbx.domain.ids import AgentId, CallId, LegId, PopId, RecordingId
from pbx.domain.kept_places import KeptPlace
from pbx.wire.messages import ConfigEntry, EventEnvelope, ForgetNumber, NameNumbers, NumbersNamed
from pbx.wire.telemetry.counts import Histogram


@dataclass(slots=True)
class JournalMeter:
    """What the journal counts."""

    commits: Histogram = field(default_factory=Histogram)
    """Seconds that one took."""
    refused: int = 0
    """Commits that the disk refused."""


@dataclass(frozen=True, slots=True)
class LiveCall:
    """A call of the last run that has not ended."""

    call_id: CallId
    seq: int
    """Of its first event."""
    events: Sequence[Event | None]
    """All of them in the order of their writing; None: one of another version."""


@dataclass(frozen=True, slots=True)
class Forgot:
    """``numbers``: as they were written here; for the memory only."""

    events: int
    calls: Sequence[CallId]
    """With the person."""
    live: Sequence[CallId]
    numbers: frozenset[str]
    called: Sequence[str]
    """What they are called outside, of this and former times it was asked."""


class Journal(Protocol):
    @property
    def journal_id(self) -> str:
        """A ULID, made with the journal's file, and anew by a standby that takes over: of what is written now."""

    @property
    def sending(self) -> str:
        """``journal_id``, and another one each time that events are sent again: the bus passes over a batch that it has
        had lately under the same one."""

    def on_written(self, heard: Callable[[], None]) -> None:
        """``heard`` is called after every commit of events, in the event loop: there is something to send."""

    def on_events(self, told: Callable[[CallId | None, Sequence[Event]], None]) -> None:
        """``told`` is called with all events that are handed over, in order, before they are written; it must be quick
        and must not raise."""

    def append(self, call_id: CallId | None, events: Sequence[Event]) -> Awaitable[None]:
        """Write ``events``; the awaitable is done when they are committed. Nothing may be acted on before.
        It raises JournalError when the disk refuses; then none of them is written yet. They are written, before all
        later ones, when the disk takes them again; only if this process ends first are they lost."""

    def note(self, call_id: CallId | None, events: Sequence[Event]) -> None:
        """Write ``events``, on which nobody outside this process acts, in their order with the next ``append`` or
        within 25 ms. A refusal by the disk is logged here; they are owed as those of ``append`` are."""

    def read_call(self, call_id: CallId) -> list[EventEnvelope]:
        """All events of one call in the order of their writing."""

    def live_calls(self) -> list[LiveCall]:
        """The calls that have begun and not ended, the oldest first."""

    def changed_after(self, seq: int) -> int | None:
        """The number of the first change of a DID, flow or queue after that event of a live call; None: none since."""

    def config_before(self, change: int) -> dict[str, ConfigEntry]:
        """What was in force before that change."""

    def call_of_recording(self, recording_id: RecordingId) -> CallId | None:
        """Whose events say that it began; None: no call's. Reads all events."""

    def knows_leg(self, leg_id: LegId) -> bool:
        """Whether a call began with this leg of a caller's, or of an agent's phone. Reads all beginnings of calls."""

    def erased_recordings(self) -> list[RecordingId]:
        """All that were erased here, as far as the journal goes back."""

    async def forget(self, asked: ForgetNumber, called: Callable[[str], str] | None = None) -> Forgot:
        """Take a number out of all events, but for those of live calls, and of what was made of them here. Overwritten
        on the disk, not only changed; other events are written meanwhile. ``called``: what a number is called outside.
        Raises JournalError when the disk refuses: then it is done in part, and may be asked again."""

    async def name(self, asked: NameNumbers, called: Callable[[str], str]) -> NumbersNamed:
        """What the numbers that are asked for are called outside, of those that stand in this part of the events.
        Changes nothing. Raises JournalError when the disk refuses."""

    def agents(self) -> list[AgentChanged]:
        """The last known status and state of every agent."""

    def keep_tenure(self, agent_id: AgentId, ours: bool, number: int, claimant: PopId) -> None:
        """At which POP an agent is, on disk when it returns (``pbx.domain.spanning.tenure``). Raises JournalError."""

    def tenures(self) -> list[tuple[AgentId, bool, int, PopId]]:
        """What was kept."""

    def secret(self) -> bytes:
        """Made with the journal's file: for hashes of what must not stand in it."""

    def remember(self, served: Remembered) -> None:
        """Keep who served a caller last, or forget it; on disk within 5 s of the next event."""

    def remembered(self) -> list[Remembered]:
        """What was kept, oldest first."""

    def kept_places(self, since: float) -> list[KeptPlace]:
        """The places of callers who were cut off since then, and who had none given back; oldest first."""

    def callbacks(self) -> list[CallbackEvent]:
        """All events of every callback that is still owed, in the order of their writing."""

    def unsent(self, limit: int) -> list[EventEnvelope]:
        """The oldest events that the centre has not acknowledged, at most ``limit``, in order of seq, all of one
        ``origin``. Where a standby follows, only what it has, too: what the centre knows is never lost with a host."""

    def origin(self, seq: int) -> str:
        """The ``journal_id`` under which the centre knows that event: the one that was in force when it was written."""

    def mark_sent(self, up_to_seq: int) -> None: ...

    def unsent_count(self) -> int: ...

    def writable(self) -> bool:
        """Whether the disk takes what is written now. Writes."""

    @property
    def meter(self) -> JournalMeter: ...

    def note_config(self, at: float, key: str, entry: ConfigEntry | None) -> None:
        """Keep, in order with the events, that the centre set this key (None: deleted it), for a replay. Only what
        routing reads is kept, and no agent's name or password."""

    def put_config(self, key: str, entry: ConfigEntry) -> None:
        """Keep the last configuration on this disk: a POP starts from it when the centre is away."""

    def delete_config(self, key: str) -> None: ...

    def config(self) -> dict[str, ConfigEntry]: ...

    def close(self) -> None: ...
