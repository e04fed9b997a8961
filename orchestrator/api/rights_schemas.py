"""What the API answers about the rights of persons."""

from __future__ import annotations

from typing import Any

from orchestrator.adapters.db.models import CorrectionRow, ErasureRow, ErasureStepRow, HoldRow, MinorMarkRow
from orchestrator.api.answer import Answer
from orchestrator.api.call_schemas import Call
from orchestrator.api.schemas import At, Callback, Event, Recording, Voicemail


class ErasureStep(Answer):
    kind: str
    """``recording``, ``call``, ``callback``, ``pop`` (its journal), ``deliveries`` (to webhooks), ``batches``."""
    id: str
    pop_id: str | None
    state: str
    """``pending``, ``done``, ``held``; ``lost``: its POP was removed, and nobody can be asked."""
    why: str | None
    """What a pending one waits for: ``pop_unreachable`` (done when it is back), ``live``, ``open``...; of a held one
    the legal hold."""
    at: At


class Erasure(Answer):
    erasure_id: str
    subject: str
    """Keyed hash of the number."""
    requested_at: At
    requested_by: str
    purpose: str
    state: str
    """``running``; ``held``: a legal hold keeps some of it, the rest is done; ``done``."""
    steps: dict[str, int]
    """State -> how many things."""
    waits_for: list[ErasureStep]
    """Things that are pending, or held."""
    completed_at: At | None
    certified: bool


def erasure_of(row: ErasureRow, counts: dict[str, int], waiting: list[ErasureStepRow]) -> Erasure:
    steps = [
        ErasureStep(id=one.thing, **{name: getattr(one, name) for name in ("kind", "pop_id", "state", "why", "at")})
        for one in waiting
    ]
    fields = {name: getattr(row, name) for name in Erasure.model_fields if name in ErasureRow.__table__.columns}
    made = {**fields, "subject": row.digest, "steps": counts, "waits_for": steps}
    return Erasure.model_validate({**made, "certified": row.certificate is not None})


class Signature(Answer):
    algorithm: str
    key_id: str
    public_key: str
    value: str


class Certificate(Answer):
    """``callplane rights verify`` checks it without the centre."""

    certificate: dict[str, Any]
    signature: Signature


class RightsKey(Answer):
    algorithm: str
    key_id: str
    public_key: str
    """Base64 of 32 bytes: what certificates are verified with. Keep it apart from them."""


class Hold(Answer):
    hold_id: str
    kind: str
    """``number``, ``call``, ``recording``."""
    subject: str | None
    """Of a number, its keyed hash."""
    call_id: str | None
    recording_id: str | None
    reason: str
    authority: str
    until: At | None
    created_at: At
    created_by: str
    lifted_at: At | None
    lifted_by: str | None
    lifted_why: str | None


def hold_of(row: HoldRow) -> Hold:
    fields = {name: getattr(row, name) for name in Hold.model_fields if name != "subject"}
    return Hold.model_validate({**fields, "subject": row.digest})


class MinorMark(Answer):
    mark_id: str
    kind: str
    """``number``, ``call``, ``recording``."""
    subject: str | None
    """Of a number, its keyed hash."""
    call_id: str | None
    recording_id: str | None
    why: str
    created_at: At
    created_by: str


def minor_mark_of(row: MinorMarkRow) -> MinorMark:
    fields = {name: getattr(row, name) for name in MinorMark.model_fields if name != "subject"}
    return MinorMark.model_validate({**fields, "subject": row.digest})


class Correction(Answer):
    call_id: str
    number: str | None
    name: str | None
    note: str | None
    corrected_at: At | None
    corrected_by: str | None


def correction_of(row: CorrectionRow) -> Correction:
    return Correction.model_validate(row, from_attributes=True)


# --- the archive of an export ---------------------------------------------------------------------------------------


class ExportedFile(Answer):
    """A recording, as a file of the archive: WAV, caller left, agent right."""

    recording_id: str
    file: str | None
    """Null: it is not in the archive."""
    why_missing: str | None
    sha256: str | None


class ExportedMessage(Answer):
    """What was sent, or is to be, to a webhook: who else was told."""

    webhook_id: str
    kind: str
    at: At
    state: str
    body: str


class Pseudonym(Answer):
    """What a POP of a strict region calls the number, here too."""

    pop_id: str
    pseudonym: str


class PopNotHeard(Answer):
    """A POP that did not say what it calls the number: its calls are missing where it may tell no numbers, and so is
    what it has not sent yet."""

    pop_id: str
    why: str
    """``pop_unreachable``, ``pop_timeout``, ``pop_too_old``, or the POP's own reason."""


class SubjectExport(Answer):
    """``export.json``: all data of a number (GDPR Art. 15 and 20)."""

    schema_version: int
    number: str
    generated_at: At
    generated_by: str
    purpose: str
    scope: list[dict[str, Any]]
    """Units and regions that were looked through; null is all."""
    pseudonyms: list[Pseudonym]
    not_heard: list[PopNotHeard]
    """Empty: all POPs of the scope were."""
    calls: list[Call]
    """Of the person: records with waits, consents and their evidence, surveys, recordings."""
    corrections: list[Correction]
    """Names, notes and numbers that were noted of these calls."""
    events: list[Event]
    """All facts of these calls, and those of other calls and callbacks that name the number."""
    callbacks: list[Callback]
    voicemails: list[Voicemail]
    recordings: list[Recording]
    messages: list[ExportedMessage]
    """To webhooks."""


class ExportManifest(Answer):
    """``manifest.json``, the last file: what is in the archive, and what is not."""

    schema_version: int
    sha256_of_export: str
    recordings: list[ExportedFile]
    not_heard: list[PopNotHeard]
    complete: bool
    """Every recording that there is is here, and every POP was heard."""
