"""Tables of the centre. Times are seconds since the epoch, UTC, as everywhere between POP and centre.

Events are kept as they came; ``calls`` and ``recordings`` are projections of them and can be made again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import SERIAL
from orchestrator.adapters.db.base import Base as Base
from orchestrator.adapters.db.minor_models import MinorMarkRow as MinorMarkRow
from orchestrator.adapters.db.minor_models import ProtectedRecordingRow as ProtectedRecordingRow
from orchestrator.adapters.db.report_models import AgentNowRow as AgentNowRow
from orchestrator.adapters.db.report_models import AgentStateRow as AgentStateRow
from orchestrator.adapters.db.retention_models import ClearedCallRow as ClearedCallRow
from orchestrator.adapters.db.retention_models import RetentionPolicyRow as RetentionPolicyRow
from orchestrator.adapters.db.retention_models import RetentionRunRow as RetentionRunRow
from orchestrator.adapters.db.rights_models import CorrectionRow as CorrectionRow
from orchestrator.adapters.db.rights_models import ErasedNumberRow as ErasedNumberRow
from orchestrator.adapters.db.rights_models import ErasureRow as ErasureRow
from orchestrator.adapters.db.rights_models import ErasureStepRow as ErasureStepRow
from orchestrator.adapters.db.rights_models import HoldRow as HoldRow
from orchestrator.adapters.db.webhook_models import DeliveryRow as DeliveryRow
from orchestrator.adapters.db.webhook_models import WebhookRow as WebhookRow


class PopRow(Base):
    __tablename__ = "pops"

    pop_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    country: Mapped[str] = mapped_column(String(2))
    region: Mapped[str | None] = mapped_column(String(31))
    """What grants for regions go by."""
    nkey: Mapped[str] = mapped_column(String(60), unique=True)
    """Public half of the POP's key."""
    config_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    """The newest revision written for this POP; counted in the transaction that writes the change."""
    created_at: Mapped[float] = mapped_column(Double)
    heartbeat: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """The last one that was kept (at most a few seconds old), so that a restarted centre knows who was there."""
    last_seen_at: Mapped[float | None] = mapped_column(Double)
    draining_since: Mapped[float | None] = mapped_column(Double)
    """None: it takes calls."""
    state: Mapped[str | None] = mapped_column(String(31))
    """A value of ``presence.State``, as it was last noted; None: it was never heard of."""
    state_since: Mapped[float | None] = mapped_column(Double)
    backup_pop_id: Mapped[str | None] = mapped_column(String(31), index=True)
    """Which POP has this one's DIDs and agents too, beforehand."""


class PopRevisionRow(Base):
    """When a POP's revisions were written, one row for each transaction, until the POP has reported them as applied."""

    __tablename__ = "pop_revisions"

    pop_id: Mapped[str] = mapped_column(ForeignKey("pops.pop_id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[float] = mapped_column(Double)


class QueueRow(Base):
    __tablename__ = "queues"

    queue_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The fields of ``pbx.wire.messages.QueueConfig``."""
    unit_id: Mapped[str | None] = mapped_column(String(31))
    created_at: Mapped[float] = mapped_column(Double)


class FlowRow(Base):
    __tablename__ = "flows"

    flow_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    published_version: Mapped[int] = mapped_column(Integer)
    unit_id: Mapped[str | None] = mapped_column(String(31))
    created_at: Mapped[float] = mapped_column(Double)


class FlowVersionRow(Base):
    __tablename__ = "flow_versions"

    flow_id: Mapped[str] = mapped_column(ForeignKey("flows.flow_id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    graph: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Double)
    created_by: Mapped[str | None] = mapped_column(String(200))
    """Name of the token that published it."""
    copy_of: Mapped[int | None] = mapped_column(Integer)
    """The earlier version that this one put back."""
    unit_id: Mapped[str | None] = mapped_column(String(31))
    """The flow's when it was published."""


class FlowDraftRow(Base):
    """A flow being written; no POP gets it. The flow itself may not exist yet. The row stays when the draft is
    published or thrown away, with ``graph`` NULL, so that no revision is given twice."""

    __tablename__ = "flow_drafts"

    flow_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer)
    base_version: Mapped[int] = mapped_column(Integer)
    """What was published when the draft was saved; 0: nothing."""
    graph: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    saved_at: Mapped[float] = mapped_column(Double)
    saved_by: Mapped[str] = mapped_column(String(200))
    unit_id: Mapped[str | None] = mapped_column(String(31))


class DidRow(Base):
    __tablename__ = "dids"

    number: Mapped[str] = mapped_column(String(16), primary_key=True)
    pop_id: Mapped[str] = mapped_column(ForeignKey("pops.pop_id"), index=True)
    flow_id: Mapped[str] = mapped_column(ForeignKey("flows.flow_id"), index=True)
    country: Mapped[str] = mapped_column(String(2))
    language: Mapped[str] = mapped_column(String(35))
    time_zone: Mapped[str] = mapped_column(String(64))
    region: Mapped[str] = mapped_column(String(31))
    unit_id: Mapped[str | None] = mapped_column(String(31))
    created_at: Mapped[float] = mapped_column(Double)


class AgentRow(Base):
    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("pop_id", "extension"),)

    agent_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    pop_id: Mapped[str] = mapped_column(ForeignKey("pops.pop_id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    phone_id: Mapped[str] = mapped_column(String(63), unique=True)
    ha1: Mapped[str] = mapped_column(String(32))
    skills: Mapped[dict[str, int]] = mapped_column(JSON)
    country: Mapped[str] = mapped_column(String(2))
    cost: Mapped[float] = mapped_column(Double, server_default="0")
    weight: Mapped[float] = mapped_column(Double, server_default="1")
    extension: Mapped[str | None] = mapped_column(String(6))
    supervises: Mapped[bool] = mapped_column(Boolean, server_default=false())
    shifts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    shifts_id: Mapped[str | None] = mapped_column(String(31))
    """Named shifts; ``shifts`` is what they say now."""
    site: Mapped[str | None] = mapped_column(String(31))
    phone_class: Mapped[str | None] = mapped_column(String(31))
    capacity: Mapped[dict[str, int]] = mapped_column(JSON, server_default='{"voice": 1}')
    unit_id: Mapped[str | None] = mapped_column(String(31))
    created_at: Mapped[float] = mapped_column(Double)


class RegionRow(Base):
    __tablename__ = "regions"

    region_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[float] = mapped_column(Double)


class SkillRow(Base):
    __tablename__ = "skills"

    skill_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[float] = mapped_column(Double)


class ScheduleRow(Base):
    """Hours, shifts or holidays that agents and queues refer to by name."""

    __tablename__ = "schedules"

    kind: Mapped[str] = mapped_column(String(15), primary_key=True)
    """``hours``, ``shifts``, ``holidays``."""
    schedule_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Double)


class ConsentPolicyRow(Base):
    """What queues ask before a call may be recorded, besides the law."""

    __tablename__ = "consent_policies"

    consent_policy_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Double)


class TrunkRow(Base):
    __tablename__ = "trunks"

    pop_id: Mapped[str] = mapped_column(ForeignKey("pops.pop_id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(31), primary_key=True)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The fields of ``dialplans.schema.Trunk`` but for name and password."""
    password: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed under the centre's key: the media server's files need it as it is."""
    created_at: Mapped[float] = mapped_column(Double)


class PromptRow(Base):
    """A prompt that was uploaded; it counts instead of the packaged one of the same name."""

    __tablename__ = "prompts"

    prompt_key: Mapped[str] = mapped_column(String(100), primary_key=True)
    """``de/hello``"""
    language: Mapped[str] = mapped_column(String(35), index=True)
    prompt_id: Mapped[str] = mapped_column(String(31), index=True)
    version: Mapped[int] = mapped_column(Integer)
    """The one in force."""
    created_at: Mapped[float] = mapped_column(Double)


class PromptVersionRow(Base):
    __tablename__ = "prompt_versions"

    prompt_key: Mapped[str] = mapped_column(ForeignKey("prompts.prompt_key", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    """Of ``alaw``."""
    duration_ms: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(String(2000))
    alaw: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float] = mapped_column(Double)
    created_by: Mapped[str] = mapped_column(String(200))
    """Name of the token that uploaded it."""


class TokenRow(Base):
    __tablename__ = "tokens"

    token_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(31))
    grants: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    """``orchestrator.domain.grants.Grant``; NULL: the role on everything."""
    user_id: Mapped[str | None] = mapped_column(String(26), index=True)
    """Of a session: its grants are the user's at the time."""
    expires_at: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[float] = mapped_column(Double)


ERASED = text("kind = 'RecordingErased'")


class EventRow(Base):
    """``id`` is the cursor of the live stream; (pop_id, journal_id, seq) is the event's identity."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("pop_id", "journal_id", "seq"),
        Index(None, "call_id", "pop_id", "seq"),
        Index("ix_events_erased", "pop_id", "id", postgresql_where=ERASED, sqlite_where=ERASED),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31))
    journal_id: Mapped[str] = mapped_column(String(26))
    seq: Mapped[int] = mapped_column(BigInteger)
    call_id: Mapped[str | None] = mapped_column(String(26))
    kind: Mapped[str] = mapped_column(String(63))
    at: Mapped[float] = mapped_column(Double)
    data: Mapped[str] = mapped_column(Text)
    """The event's fields, the JSON text as it came."""


class RejectedBatchRow(Base):
    """What a POP sent and nobody could read: kept for a human, never dropped."""

    __tablename__ = "rejected_batches"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True)
    subject: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[float] = mapped_column(Double)


class CallRow(Base):
    """``cdr`` is ``pbx.domain.cdr.Cdr`` as JSON; the columns beside it are for searching."""

    __tablename__ = "calls"
    # A page of the calls of one queue is in the order of their ids.
    __table_args__ = (
        Index(None, "did", "call_id"),
        Index(None, "queue_id", "call_id"),
        Index(None, "agent_id", "call_id"),
    )

    call_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31), index=True)
    did: Mapped[str | None] = mapped_column(String(16))
    queue_id: Mapped[str | None] = mapped_column(String(63))
    agent_id: Mapped[str | None] = mapped_column(String(26))
    offered_at: Mapped[float | None] = mapped_column(Double, index=True)
    ended_at: Mapped[float | None] = mapped_column(Double)
    cdr: Mapped[dict[str, Any]] = mapped_column(JSON)


class RecordingRow(Base):
    __tablename__ = "recordings"

    recording_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    call_id: Mapped[str] = mapped_column(String(26), index=True)
    pop_id: Mapped[str] = mapped_column(String(31))
    started_at: Mapped[float] = mapped_column(Double)
    region: Mapped[str | None] = mapped_column(String(31))
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    discarded: Mapped[bool] = mapped_column()
    kind: Mapped[str] = mapped_column(String(15), server_default="conversation")
    """Or ``voicemail``."""


class VoicemailRow(Base):
    """A message that was left: a projection, but for who has heard it and what was deleted, which the events of the
    call do not say and which outlast a new projection."""

    __tablename__ = "voicemails"

    voicemail_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    """That of its recording."""
    call_id: Mapped[str] = mapped_column(String(26), index=True)
    pop_id: Mapped[str] = mapped_column(String(31))
    mailbox: Mapped[str] = mapped_column(String(63), index=True)
    did: Mapped[str | None] = mapped_column(String(16))
    cli: Mapped[str | None] = mapped_column(String(16))
    left_at: Mapped[float] = mapped_column(Double)
    ended_by: Mapped[str] = mapped_column(String(31))
    region: Mapped[str | None] = mapped_column(String(31))
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    heard_at: Mapped[float | None] = mapped_column(Double)
    deleted_at: Mapped[float | None] = mapped_column(Double)
    """Until the POP's own word that it is erased arrives, which takes the row away."""


class CallbackRow(Base):
    """A projection of the callback's events, made as they come: ``seq`` of ``journal_id`` is the last one in it."""

    __tablename__ = "callbacks"

    callback_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31), index=True)
    queue_id: Mapped[str] = mapped_column(String(63), index=True)
    did: Mapped[str] = mapped_column(String(16))
    number: Mapped[str] = mapped_column(String(16), index=True)
    state: Mapped[str] = mapped_column(String(15), index=True)
    requested_by: Mapped[str] = mapped_column(String(15))
    requested_at: Mapped[float] = mapped_column(Double)
    not_before: Mapped[float | None] = mapped_column(Double)
    """Before this nobody calls: as scheduled, or because the last attempt was missed."""
    asked_in: Mapped[str | None] = mapped_column(String(26))
    call_id: Mapped[str | None] = mapped_column(String(26))
    """The call of the last attempt."""
    attempts: Mapped[int] = mapped_column(Integer)
    agent_id: Mapped[str | None] = mapped_column(String(26))
    reason: Mapped[str | None] = mapped_column(String(31))
    ended_at: Mapped[float | None] = mapped_column(Double)
    journal_id: Mapped[str] = mapped_column(String(26))
    seq: Mapped[int] = mapped_column(BigInteger)


class OutboxRow(Base):
    """A change on its way to a POP's bucket; deleted when the bus has acknowledged it."""

    __tablename__ = "config_outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)
    """An id is never used again: a publisher deletes by id what it has sent."""

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31), index=True)
    key: Mapped[str] = mapped_column(String(100))
    """Empty: the POP is gone, drop its bucket."""
    revision: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    """A ``ConfigEntry``; None deletes the key."""


class IdempotentRow(Base):
    """What was asked under an Idempotency-Key, and the answer, for a day."""

    __tablename__ = "idempotent_requests"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the bearer token and the key."""
    attempt: Mapped[str] = mapped_column(String(16))
    """Who carries it out."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(15))
    """``running``, ``committed`` (carried out, no answer yet), ``done``."""
    started_at: Mapped[float] = mapped_column(Double, index=True)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed under the bearer token."""


class SettingRow(Base):
    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
