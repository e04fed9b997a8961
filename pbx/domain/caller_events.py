"""Events of what a caller does without an agent: leaves a message, answers a survey. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.event_base import Event
from pbx.domain.ids import QueueId, RecordingId

__all__ = [
    "PlaceKept",
    "RecordingErased",
    "RecordingSilent",
    "SurveyAnswered",
    "VoicemailFailed",
    "VoicemailGranted",
    "VoicemailLeft",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailGranted(Event):
    """The caller was told and heard the tone: the evidence under which the message is recorded. ``digit`` cut the
    prompts short, of which ``played_ms`` had been sent."""

    mailbox: str
    recording_id: RecordingId
    regime: str
    jurisdictions: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    prompt_sha256s: tuple[str, ...]
    language: str
    played_ms: int
    digit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailLeft(Event):
    """The message is whole and in the vault. ``ended_by``: ``hang_up``, ``terminator``, ``max_s``, ``silence``,
    ``asked``."""

    mailbox: str
    recording_id: RecordingId
    ended_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailFailed(Event):
    """There is no message. ``reason``: ``prohibited``, ``prompt_cut`` (caller not told), ``not_recorded``,
    ``not_stored``, ``too_short``. Who hangs up before the tone leaves no event."""

    mailbox: str
    reason: str
    recording_id: RecordingId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSilent(Event):
    """The caller has said nothing for as long as was asked; ``said_s`` seconds of speech were captured before."""

    recording_id: RecordingId
    said_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingErased(Event):
    """The recording is destroyed on request."""

    recording_id: RecordingId


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyAnswered(Event):
    node: str
    question: str
    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceKept(Event):
    """The caller was cut off and may dial again: then the wait counts from ``entered_at``."""

    queue_id: QueueId
    entered_at: float


FACTS: tuple[type[Event], ...] = (RecordingErased, RecordingSilent)
FINDINGS: tuple[type[Event], ...] = (VoicemailGranted, VoicemailLeft, VoicemailFailed, SurveyAnswered, PlaceKept)
