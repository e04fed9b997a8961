"""Events of callbacks: what was promised, who was called back when, and what became of it. Part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain.e164 import E164, Cli
from pbx.domain.event_base import Event
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallbackId, CallId, LegId, QueueId
from pbx.domain.queue_rules import Need

__all__ = [
    "CallbackCancelled",
    "CallbackDialled",
    "CallbackDone",
    "CallbackEvent",
    "CallbackFailed",
    "CallbackMissed",
    "CallbackOffered",
    "CallbackPromised",
    "CallbackReached",
    "CallbackRefused",
    "CallbackRequested",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEvent(Event):
    """All that is known of a callback is in these; a restarted controller takes up the promises from them."""

    callback_id: CallbackId


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRequested(CallbackEvent):
    """``number`` was promised to be called. Its place in the queue is that of a call that entered at ``entered_at``."""

    queue_id: QueueId
    number: E164
    did: E164
    """What it will see as CLI, and whose flow and recording rules hold."""
    trunk: str
    language: str
    entered_at: float
    priority: int
    needs: tuple[Need, ...]
    by: str
    """``flow``, ``queue``, ``api``."""
    not_before: float | None = None
    call_id: CallId | None = None
    """The call in which it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDialled(CallbackEvent):
    """A fact, and the first of its call: an agent is reserved and the number is about to be called. Once this is
    written the attempt counts, whatever becomes of it."""

    attempt: int
    """From 1."""
    leg_id: LegId
    did: E164
    cli: Cli
    """The customer's number, as if the customer had called."""
    caller_country: str | None
    trunk: str
    language: str
    queue_id: QueueId
    entered_at: float
    priority: int
    needs: tuple[Need, ...]
    ring_s: float
    asked_in: CallId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReached(CallbackEvent):
    """The number answered: it is not called again for this promise."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMissed(CallbackEvent):
    """The number did not answer; it will be called again, not before ``retry_at``. ``cause`` is None for an attempt
    whose outcome nobody knows."""

    attempt: int
    cause: HangupCause | None
    retry_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDone(CallbackEvent):
    """The customer talks to an agent."""

    agent_id: AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFailed(CallbackEvent):
    """``reason``: ``not_reached`` after the last attempt; ``left``: answered, and hung up before an agent came;
    ``interrupted``: the leg was lost after the answer; ``unknown_queue``, ``unknown_did``, ``refused``."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackCancelled(CallbackEvent):
    by: str


# --- for the call in which it is asked for -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackOffered(Event):
    """A step of the queue: the caller may press ``digit`` to be called back, and is told so by ``prompt_id``."""

    queue_id: QueueId
    digit: str
    prompt_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPromised(Event):
    """``existing``: the number had been promised a callback by this queue before, and that one stands."""

    callback_id: CallbackId
    existing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRefused(Event):
    """``bad_number``: nothing that may be called; ``full``: the queue has promised too many."""

    reason: str


CLOSING: tuple[type[CallbackEvent], ...] = (CallbackDone, CallbackFailed, CallbackCancelled)
"""Nothing is owed after these."""
LEDGER: tuple[type[CallbackEvent], ...] = (
    CallbackRequested, CallbackDialled, CallbackReached, CallbackMissed, *CLOSING,
)  # fmt: skip
FACTS: tuple[type[Event], ...] = (CallbackDialled, CallbackOffered, CallbackPromised, CallbackRefused)
FINDINGS: tuple[type[Event], ...] = (CallbackRequested, CallbackReached, CallbackMissed, *CLOSING)
