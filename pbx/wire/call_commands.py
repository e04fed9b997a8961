"""Commands of the centre to a POP about calls, their recordings and callbacks."""

from __future__ import annotations

import msgspec

from pbx.wire.base import Wire


class HangUpCall(Wire, frozen=True, tag="hang_up_call"):
    call_id: str


class StopCallRecording(Wire, frozen=True, tag="stop_call_recording"):
    call_id: str
    by: str


class ReadRecording(Wire, frozen=True, tag="read_recording"):
    recording_id: str
    offset: int
    length: int
    """At most 512 KiB are sent."""
    minors: bool = False
    """Who asks may open recordings of minors."""


class ProtectRecording(Wire, frozen=True, tag="protect_recording"):
    """It is of a minor: held under a key of its own kind from now on."""

    recording_id: str


class EraseRecording(Wire, frozen=True, tag="erase_recording"):
    """Destroy it at this POP. ``call_id``: whose record is to say so."""

    recording_id: str
    call_id: str
    surely: bool = False
    """Also where it is not there, or not any more: it is never to be stored, and the record says again that it is
    erased."""


class ForgetNumber(Wire, frozen=True, tag="forget_number"):
    """Take a person's number out of what this POP keeps of calls that are over, and cancel what it has promised to
    that number. May be asked again, until the reply says that nothing is left."""

    erasure_id: str
    key: str
    """Of the keyed hashes (``pbx.domain.forgetting``), 64 hexadecimal digits; of this POP alone."""
    digests: list[str]
    """Of every way to write the number."""
    before: float
    """Facts up to this time (seconds since the epoch) are concerned; later ones are another processing."""
    call_ids: list[str] | None = None
    """Only of these calls; None: of all."""
    spared: list[str] = msgspec.field(default_factory=list)
    """Calls under a legal hold, of which nothing is touched."""
    whole: bool = False
    """Of ``call_ids`` goes whatever is of a person: each number but the dialled one, what was keyed in and looked up,
    whoever called, also without a number."""
    callback_ids: list[str] = msgspec.field(default_factory=list)
    """Callbacks that are closed, and lose their numbers."""


class NumberForgotten(Wire, frozen=True):
    """What came of it."""

    events: int = 0
    """Facts that were changed this time."""
    calls: list[str] = msgspec.field(default_factory=list)
    """Calls with the person, among them those of which the centre may not know yet."""
    live: list[str] = msgspec.field(default_factory=list)
    """Calls that are not over, of which nothing was changed: ask again."""
    cancelled: list[str] = msgspec.field(default_factory=list)
    """Callbacks that were cancelled."""
    pseudonyms: list[str] = msgspec.field(default_factory=list)
    """What this POP calls the number towards the centre, where it may not tell it."""
    busy: list[str] = msgspec.field(default_factory=list)
    """Callbacks whose number is being called: ask again."""


class NameNumbers(Wire, frozen=True, tag="name_numbers"):
    """Asks what this POP calls numbers towards the centre, where it may not tell them. Changes nothing. Each answer is
    of a part of the journal: asked with its ``upto`` as ``after`` the next one goes on."""

    key: str
    """Of the keyed hashes, as in ``ForgetNumber``."""
    digests: list[str]
    """Of every way to write each number."""
    journal_id: str = ""
    """Of which ``after`` was told; another one is gone through from its beginning."""
    after: int = 0


class NumbersNamed(Wire, frozen=True):
    journal_id: str
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """Digest -> pseudonym, of those that were found."""
    upto: int = 0
    more: bool = False
    """The journal goes on after ``upto``."""


class SuperviseCall(Wire, frozen=True, tag="supervise_call"):
    """Ring the agent as a supervisor of the call, or change the mode of the one who is."""

    call_id: str
    agent_id: str
    mode: str
    """``listen``, ``whisper``, ``barge``."""
    take_over: bool = False
    """As soon as the supervisor has answered."""


class EndSupervision(Wire, frozen=True, tag="end_supervision"):
    call_id: str


class TakeOverCall(Wire, frozen=True, tag="take_over_call"):
    """The supervisor becomes the agent."""

    call_id: str


class HoldCall(Wire, frozen=True, tag="hold_call"):
    call_id: str


class ResumeCall(Wire, frozen=True, tag="resume_call"):
    call_id: str


class PauseRecording(Wire, frozen=True, tag="pause_recording"):
    """Nothing of the conversation is captured for a while; ``paused`` false: captured again."""

    call_id: str
    paused: bool


class MuteAgent(Wire, frozen=True, tag="mute_agent"):
    call_id: str
    muted: bool


class TransferCall(Wire, frozen=True, tag="transfer_call"):
    """To another queue, to an agent of the present one, to an outside number in E.164, or to where the flow goes on
    after the conversation: exactly one is given."""

    call_id: str
    queue_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    after: bool = False


class ConsultAgent(Wire, frozen=True, tag="consult_agent"):
    """The caller goes on hold, and one of them is rung: this agent, whomever the queue offers, or the outside number in
    E.164; exactly one is given."""

    call_id: str
    agent_id: str | None = None
    queue_id: str | None = None
    number: str | None = None


class StepConsultation(Wire, frozen=True, tag="step_consultation"):
    call_id: str
    step: str
    """``swap``, ``complete``, ``cancel``, ``conference``."""


class PlaceCall(Wire, frozen=True, tag="place_call"):
    """Ring the agent's phone, then call ``number``, E.164. ``queue_id``: whose recording and wrap-up hold; None: as for
    calls from the phone. The reply has the call's id."""

    agent_id: str
    number: str
    queue_id: str | None = None


class ParkCall(Wire, frozen=True, tag="park_call"):
    """The reply says in which slot; any that is free where none is asked for."""

    call_id: str
    slot: int | None = None


class RetrieveCall(Wire, frozen=True, tag="retrieve_call"):
    """Ring the agent for a parked call."""

    call_id: str
    agent_id: str


class ScheduleCallback(Wire, frozen=True, tag="schedule_callback"):
    """Promise ``number`` a callback with ``did`` as its CLI, its place being that of a call that comes now, or at
    ``not_before``. Answered with ``callback_id``; ``existing`` where this number had one open in this queue."""

    did: str
    queue_id: str
    number: str
    not_before: float | None = None
    language: str | None = None
    priority: int = 0


class CancelCallback(Wire, frozen=True, tag="cancel_callback"):
    callback_id: str
    by: str


RecordingCommand = StopCallRecording | ReadRecording | EraseRecording | ForgetNumber | NameNumbers | ProtectRecording
CallbackCommand = ScheduleCallback | CancelCallback
TalkCommand = (
    SuperviseCall
    | EndSupervision
    | TakeOverCall
    | HoldCall
    | ResumeCall
    | MuteAgent
    | PauseRecording
    | TransferCall
    | ConsultAgent
    | StepConsultation
    | RetrieveCall
)
"""What changes a conversation: answered when it has been done, or with the reason why not."""
