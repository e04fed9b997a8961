"""Call detail record: one row per call, derived from its events and nothing else.

POP and centre run the same projection over the same events, so that their records are equal by construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pbx.domain import events as ev
from pbx.domain.e164 import CliKind
from pbx.domain.ids import CallId


@dataclass(slots=True)
class OfferRecord:
    offer_id: str
    agent_id: str
    offered_at: float
    outcome: str | None = None
    ended_at: float | None = None


@dataclass(slots=True)
class ConsentRecord:
    """Evidence for one call; ``granted`` says which way it went, ``reason`` why it was refused."""

    granted: bool
    regime: str
    jurisdictions: tuple[str, ...]
    at: float
    reason: str | None = None
    prompt_id: str | None = None
    prompt_sha256: str | None = None
    language: str | None = None
    played_ms: int = 0
    digit: str | None = None


@dataclass(slots=True)
class RecordingRecord:
    recording_id: str
    started_at: float
    region: str | None = None
    duration_ms: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    discarded: bool = False
    kind: str = "conversation"
    """Or ``voicemail``."""
    pauses: int = 0
    """How often an agent had it paused."""


@dataclass(slots=True)
class VoicemailRecord:
    """A message and its evidence. ``left_at`` is None when there is none; ``failed`` says why, as far as known."""

    mailbox: str
    recording_id: str | None = None
    granted_at: float | None = None
    regime: str | None = None
    jurisdictions: tuple[str, ...] = ()
    prompt_ids: tuple[str, ...] = ()
    prompt_sha256s: tuple[str, ...] = ()
    language: str | None = None
    played_ms: int = 0
    digit: str | None = None
    left_at: float | None = None
    ended_by: str | None = None
    failed: str | None = None


@dataclass(slots=True)
class SurveyRecord:
    """One answer. ``agent_id``: who talked to the caller last."""

    node: str
    question: str
    digit: str
    at: float
    agent_id: str | None = None


@dataclass(slots=True)
class TalkRecord:
    """One agent's part of the conversation. ``ended``: ``taken_over``, ``transferred``, ``parked``;
    ``agent_hung_up`` or ``handed_to_flow`` where the flow went on; or None: with the call."""

    agent_id: str
    queue_id: str
    started_at: float
    ended_at: float | None = None
    ended: str | None = None


@dataclass(slots=True)
class SupervisionRecord:
    """A supervisor with the call. ``modes`` in the order in which they were taken; none: nobody answered."""

    agent_id: str
    modes: list[str] = field(default_factory=list)
    started_at: float | None = None
    ended_at: float | None = None
    ended: str | None = None


@dataclass(slots=True)
class ConsultationRecord:
    """Whom the agent asked: another one, whomever ``queue_id`` offered, or an outside number, E.164. ``started_at``:
    when that one answered; ``agent_id`` is None for a number, and while nobody of a queue has answered."""

    agent_id: str | None
    queue_id: str | None = None
    number: str | None = None
    started_at: float | None = None
    conference_at: float | None = None
    ended_at: float | None = None
    ended: str | None = None


@dataclass(slots=True)
class ForwardRecord:
    """An outside number that was rung, or refused. Personal data, as ``cli`` is."""

    why: str
    """``flow``, ``queue``, ``transfer``; ``consultation``: an agent talked to it, ``answered_at`` if the caller did
    at last."""
    started_at: float
    number: str | None = None
    """E.164; None for one that was refused."""
    kind: str | None = None
    leg_id: str | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    outcome: str | None = None
    """A value of ``OfferOutcome``, or ``refused``."""
    reason: str | None = None
    """Why it was refused."""


@dataclass(slots=True)
class ParkRecord:
    slot: int
    parked_by: str
    started_at: float
    ended_at: float | None = None
    ended: str | None = None
    """``retrieved``, ``timed_out``, ``call_ended``."""
    retrieved_by: str | None = None


@dataclass(slots=True)
class Cdr:
    """Times are seconds since the epoch, UTC; None where it did not come to it."""

    call_id: str
    direction: str = "inbound"
    """``outbound``: a callback, or a call that an agent placed; ``cli`` is the number called."""
    callback_id: str | None = None
    """Inbound: what the caller was promised; outbound: the promise that this call keeps."""
    callback_of: str | None = None
    """The call in which the callback was asked for."""
    placed_by: str | None = None
    """The agent who placed it."""
    number_kind: str | None = None
    """Of the number that an agent called: ``fixed``, ``mobile``, ``premium`` and the like."""
    number_leg_id: str | None = None
    """Of the number that an agent called: before it, the agent's own phone is answered."""
    allowed_by: str | None = None
    """The beginning on the POP's list by which a number was called that is barred otherwise."""
    did: str | None = None
    cli: str | None = None
    """E.164, ``withheld`` or ``unknown``."""
    caller_country: str | None = None
    trunk: str | None = None
    offered_at: float | None = None
    answered_at: float | None = None
    flow_id: str | None = None
    flow_version: int | None = None
    language: str | None = None
    nodes: list[str] = field(default_factory=list)
    queue_id: str | None = None
    entered_queue_id: str | None = None
    """The first queue in which it waited: where reports count it. ``queue_id`` is that of the last."""
    entered_at: float | None = None
    refused_by: str | None = None
    """The queue that did not take it, before it waited in any."""
    queued_at: float | None = None
    agent_id: str | None = None
    talk_started_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    cause: int | None = None
    offers: list[OfferRecord] = field(default_factory=list)
    consents: list[ConsentRecord] = field(default_factory=list)
    recordings: list[RecordingRecord] = field(default_factory=list)
    talks: list[TalkRecord] = field(default_factory=list)
    """One for each agent who had the caller, in order; ``agent_id`` and ``queue_id`` above are those of the last."""
    supervisions: list[SupervisionRecord] = field(default_factory=list)
    consultations: list[ConsultationRecord] = field(default_factory=list)
    forwards: list[ForwardRecord] = field(default_factory=list)
    parks: list[ParkRecord] = field(default_factory=list)
    voicemails: list[VoicemailRecord] = field(default_factory=list)
    survey: list[SurveyRecord] = field(default_factory=list)

    @property
    def wait_s(self) -> float | None:
        """From entering the queue to the first agent or outside number who answered, or to the end of a call that never
        reached one."""
        if self.queued_at is None:
            return None
        answered = (self.talk_started_at, *(forward.answered_at for forward in self.forwards))
        until = next((at for at in answered if at is not None), self.ended_at)
        return None if until is None else until - self.queued_at

    @property
    def talk_s(self) -> float | None:
        """With all agents; what a caller who was handed on waited in between is no talk."""
        if self.talk_started_at is None or self.ended_at is None:
            return None
        ends = (talk.ended_at if talk.ended_at is not None else self.ended_at for talk in self.talks)
        return sum(end - talk.started_at for end, talk in zip(ends, self.talks, strict=True))

    @property
    def abandoned(self) -> bool:
        """The caller hung up while waiting in a queue, the first time or after a transfer, or while an outside number
        was rung instead; not in a parking slot, nor with a callback promised or a message left."""
        left = self.talks[-1].ended if self.talks else "transferred"
        if left == "parked" and self.parks and self.parks[-1].ended == "timed_out":
            left = "transferred"
        answered = any(forward.answered_at is not None for forward in self.forwards)
        waited = self.queued_at is not None and left == "transferred" and not answered
        promised = self.direction == "inbound" and self.callback_id is not None
        spoke = any(message.left_at is not None for message in self.voicemails)
        return waited and not promised and not spoke and self.end_reason == ev.EndReason.CALLER_HUNG_UP.value


def project(call_id: CallId, events: Iterable[ev.Event]) -> Cdr:
    """The record of one call from its events in the order of their writing."""
    cdr = Cdr(call_id)
    for event in events:
        _apply(cdr, event)
    return cdr


def _apply(cdr: Cdr, event: ev.Event) -> None:
    match event:
        case ev.LegOffered():
            cdr.did, cdr.trunk, cdr.caller_country = event.did, event.trunk, event.caller_country
            cdr.cli = event.cli.number if event.cli.kind is CliKind.NUMBER else event.cli.kind.value
            cdr.offered_at = event.at
        case ev.CallbackDialled():
            cdr.direction, cdr.callback_id, cdr.callback_of = "outbound", event.callback_id, event.asked_in
            cdr.did, cdr.trunk, cdr.caller_country = event.did, event.trunk, event.caller_country
            cdr.cli, cdr.offered_at = event.cli.number, event.at
            cdr.queue_id = cdr.entered_queue_id = event.queue_id
        case ev.CallPlaced():
            cdr.direction, cdr.placed_by, cdr.number_kind = "outbound", event.agent_id, event.kind
            cdr.did, cdr.trunk, cdr.caller_country = event.did, event.trunk, event.caller_country
            cdr.cli, cdr.offered_at, cdr.allowed_by = event.cli.number, event.at, event.allowed
            cdr.agent_id, cdr.number_leg_id = event.agent_id, event.leg_id
            cdr.queue_id = cdr.entered_queue_id = event.queue_id or None
        case ev.CallbackReached():
            cdr.queued_at = cdr.entered_at = event.at
        case ev.CallbackPromised():
            cdr.callback_id = event.callback_id
        case ev.FlowStarted():
            cdr.flow_id, cdr.flow_version, cdr.language = event.flow_id, event.version, event.language
        case ev.LegAnswered() if cdr.number_leg_id in (None, event.leg_id):
            cdr.answered_at = cdr.answered_at if cdr.answered_at is not None else event.at
        case ev.NodeEntered():
            cdr.nodes.append(event.node)
        case ev.LanguageChosen():
            cdr.language = event.language
        case ev.QueueJoined():
            if cdr.talks and cdr.talks[-1].ended_at is None:
                return  # a queue is consulted; the caller is with an agent
            cdr.queue_id = event.queue_id
            if cdr.entered_at is None:
                cdr.entered_queue_id, cdr.entered_at = event.queue_id, event.at
            if cdr.talk_started_at is None and not event.again:
                cdr.queued_at = event.at
        case ev.QueueRefused() if event.asked is not None and cdr.entered_queue_id is None:
            cdr.refused_by = event.queue_id
        case ev.OfferMade():
            cdr.offers.append(OfferRecord(event.offer_id, event.agent_id, event.at))
        case ev.OfferEnded():
            for offer in cdr.offers:
                if offer.offer_id == event.offer_id:
                    offer.outcome, offer.ended_at = event.outcome.value, event.at
        case ev.TalkStarted():
            cdr.agent_id, cdr.queue_id = event.agent_id, event.queue_id or cdr.queue_id
            cdr.talk_started_at = event.at if cdr.talk_started_at is None else cdr.talk_started_at
            cdr.talks.append(TalkRecord(event.agent_id, event.queue_id, event.at))
        case ev.TalkEnded():
            for talk in cdr.talks[-1:]:
                talk.ended_at, talk.ended = event.at, event.reason
        case ev.SupervisionStarted() | ev.SupervisionChanged() | ev.SupervisionEnded():
            _supervision(cdr, event)
        case ev.ConsultationStarted() | ev.ConferenceStarted() | ev.ConsultationEnded():
            _consultation(cdr, event)
        case ev.ForwardStarted() | ev.ForwardAnswered() | ev.ForwardEnded() | ev.ForwardRefused():
            _forward(cdr, event)
        case ev.CallParked():
            cdr.parks.append(ParkRecord(event.slot, event.agent_id, event.at))
        case ev.ParkEnded():
            for park in cdr.parks[-1:]:
                park.ended_at, park.ended, park.retrieved_by = event.at, event.reason, event.agent_id
        case ev.ConsentGranted() | ev.ConsentRefused():
            cdr.consents.append(_consent(event))
        case ev.RecordingStarted():
            message = any(one.recording_id == event.recording_id for one in cdr.voicemails)
            kind = "voicemail" if message else "conversation"
            cdr.recordings.append(RecordingRecord(event.recording_id, event.at, kind=kind))
        case ev.RecordingEnded():
            for recording in cdr.recordings:
                if recording.recording_id == event.recording_id:
                    recording.region, recording.sha256 = event.region, event.sha256
                    recording.duration_ms, recording.size_bytes = event.duration_ms, event.size_bytes
                    recording.discarded = event.discarded
        case ev.RecordingPaused():
            for recording in cdr.recordings:
                recording.pauses += recording.recording_id == event.recording_id
        case ev.RecordingErased():
            for recording in cdr.recordings:
                recording.discarded = recording.discarded or recording.recording_id == event.recording_id
        case ev.VoicemailGranted() | ev.VoicemailLeft() | ev.VoicemailFailed():
            _voicemail(cdr, event)
        case ev.SurveyAnswered():
            cdr.survey.append(SurveyRecord(event.node, event.question, event.digit, event.at, cdr.agent_id))
        case ev.CallEnded():
            cdr.ended_at, cdr.end_reason, cdr.cause = event.ended_at, event.reason.value, int(event.cause)
            if cdr.talks and cdr.talks[-1].ended_at is None:
                cdr.talks[-1].ended_at = event.ended_at
        case _:
            return


def _supervision(cdr: Cdr, event: ev.SupervisionStarted | ev.SupervisionChanged | ev.SupervisionEnded) -> None:
    open_ones = [one for one in cdr.supervisions if one.ended is None]
    if not open_ones:
        open_ones = [SupervisionRecord(event.agent_id)]
        cdr.supervisions += open_ones
    record = open_ones[-1]
    if isinstance(event, ev.SupervisionEnded):
        record.ended_at, record.ended = event.at, event.reason
    else:
        record.modes.append(event.mode.value)
        record.started_at = event.at if record.started_at is None else record.started_at


def _consultation(cdr: Cdr, event: ev.ConsultationStarted | ev.ConferenceStarted | ev.ConsultationEnded) -> None:
    if not cdr.consultations or cdr.consultations[-1].ended is not None:
        cdr.consultations.append(ConsultationRecord(event.agent_id))
    record = cdr.consultations[-1]
    record.agent_id, record.queue_id = event.agent_id, event.queue_id
    match event:
        case ev.ConsultationStarted():
            record.started_at = event.at
        case ev.ConferenceStarted():
            record.conference_at = event.at
        case ev.ConsultationEnded():
            record.ended_at, record.ended = event.at, event.reason


def _forward(cdr: Cdr, event: ev.ForwardStarted | ev.ForwardAnswered | ev.ForwardEnded | ev.ForwardRefused) -> None:
    match event:
        case ev.ForwardStarted():
            cdr.forwards.append(ForwardRecord(event.why, event.at, event.number, event.kind, event.leg_id))
            if event.why == "consultation":
                cdr.consultations.append(ConsultationRecord(None, number=event.number))
        case ev.ForwardRefused():
            refused = ForwardRecord(event.why, event.at, ended_at=event.at, outcome="refused", reason=event.reason)
            cdr.forwards.append(refused)
        case ev.ForwardAnswered():
            cdr.forwards[-1].answered_at = event.at
        case ev.ForwardEnded():
            cdr.forwards[-1].ended_at, cdr.forwards[-1].outcome = event.at, event.outcome


def _voicemail(cdr: Cdr, event: ev.VoicemailGranted | ev.VoicemailLeft | ev.VoicemailFailed) -> None:
    if isinstance(event, ev.VoicemailGranted):
        cdr.voicemails.append(
            VoicemailRecord(
                mailbox=event.mailbox,
                recording_id=event.recording_id,
                granted_at=event.at,
                regime=event.regime,
                jurisdictions=event.jurisdictions,
                prompt_ids=event.prompt_ids,
                prompt_sha256s=event.prompt_sha256s,
                language=event.language,
                played_ms=event.played_ms,
                digit=event.digit,
            )
        )
        return
    granted = [one for one in cdr.voicemails if one.recording_id == event.recording_id]
    if event.recording_id is None or not granted:
        granted = [VoicemailRecord(event.mailbox, event.recording_id)]
        cdr.voicemails += granted
    record = granted[-1]
    if isinstance(event, ev.VoicemailLeft):
        record.left_at, record.ended_by = event.at, event.ended_by
    else:
        record.failed = event.reason


def _consent(event: ev.ConsentGranted | ev.ConsentRefused) -> ConsentRecord:
    return ConsentRecord(
        granted=isinstance(event, ev.ConsentGranted),
        regime=event.regime,
        jurisdictions=event.jurisdictions,
        at=event.at,
        reason=event.reason if isinstance(event, ev.ConsentRefused) else None,
        prompt_id=event.prompt_id,
        prompt_sha256=event.prompt_sha256,
        language=event.language,
        played_ms=event.played_ms,
        digit=event.digit,
    )
