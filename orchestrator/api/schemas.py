"""What the API answers. Times are RFC 3339 in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from orchestrator.adapters.db.models import (
    AgentRow,
    CallbackRow,
    DidRow,
    EventRow,
    PopRow,
    QueueRow,
    RecordingRow,
    VoicemailRow,
)
from orchestrator.api.answer import Answer
from orchestrator.domain.access import SIP_REALM
from orchestrator.domain.resources import AgentSpec, DidSpec, PopSpec, QueueSpec, Strict
from orchestrator.services.callbacks import CallbackState
from orchestrator.services.paging import Page, PageRequest
from orchestrator.services.presence import Presence, State
from orchestrator.services.scope import nothing_outside as seen_whole


def _time(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


At = Annotated[datetime, BeforeValidator(_time)]
Item = TypeVar("Item", bound=BaseModel)
Row = TypeVar("Row")


class PageQuery(Strict):
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=200)

    def page(self) -> PageRequest:
        return PageRequest(self.limit, self.cursor)


class PageOf(Answer, Generic[Item]):
    items: list[Item]
    next_cursor: str | None
    """Give it as ``cursor`` for the next page; null on the last one."""


def page_of(page: Page[Row], convert: Callable[[Row], Item]) -> PageOf[Item]:
    return PageOf[Item].model_construct(items=[convert(row) for row in page.items], next_cursor=page.next_cursor)


class Pop(PopSpec):
    volatile: ClassVar[frozenset[str]] = frozenset(
        {
            "connected",
            "last_seen_at",
            "config_revision",
            "applied_revision",
            "revision_lag",
            "seconds_behind",
            "engine_up",
            "state",
            "state_since",
            "carries_audio",
            "audio_reason",
            "clock_ahead_s",
            "phones_pending",
            "router_pop_id",
            "live_calls",
            "unsent_events",
            "config_errors",
            "drain",
        }
    )
    created_at: At
    connected: bool
    last_seen_at: At | None
    config_revision: int
    """The newest revision written for this POP."""
    applied_revision: int | None
    """The newest that it reported as applied; null while it was never heard of."""
    revision_lag: int | None
    seconds_behind: float | None
    """For how long the POP has been running something older than the newest; null while it was never heard of."""
    state: State | None
    """How the centre sees it now; null while it was never heard of. Each change is in the audit log."""
    state_since: At | None
    """Since when, as it was last noted."""
    engine_up: bool | None
    carries_audio: bool | None
    """Whether its media server, called by itself, carries audio both ways; null: not known."""
    audio_reason: str
    """Why it does not."""
    clock_ahead_s: float | None
    """By how many seconds the clock of its host is ahead of the centre's (negative: behind), as its last heartbeat
    tells; times in its records are off by that. null: not known."""
    phones_pending: int | None
    """How many agents' accounts its media server does not have yet: such a phone cannot register."""
    router_pop_id: str | None
    """The POP that is the router of the queues which this one shares with others, as it says; null: it shares none, or
    cannot reach the router and serves its callers with its own agents."""
    live_calls: int | None
    unsent_events: int | None
    config_errors: dict[str, str]
    """Configuration key -> why the POP could not apply it; shown to who may see all units and regions."""
    bus_nkey: str
    """Public half of the POP's key, its name on the bus."""
    draining_since: At | None
    """Since when it is to take no new calls; null: it takes them."""
    drain: Literal["asked", "draining", "drained"] | None
    """``asked``: the POP has not said yet that it drains; ``drained``: it does, and no call is live there."""


class PopCreated(Pop):
    key: str
    """Shown this once: the POP's CALLPLANE_POP_KEY."""


def pop_fields(row: PopRow, presence: Presence, behind_s: float | None) -> dict[str, Any]:
    beat = presence.heartbeat
    return {
        "pop_id": row.pop_id,
        "name": row.name,
        "country": row.country,
        "region": row.region,
        "backup_pop_id": row.backup_pop_id,
        "created_at": row.created_at,
        "connected": presence.connected,
        "last_seen_at": presence.last_seen_at,
        "config_revision": row.config_revision,
        "applied_revision": beat.revision if beat else None,
        "revision_lag": max(0, row.config_revision - beat.revision) if beat else None,
        "seconds_behind": behind_s,
        "state": presence.state,
        "state_since": row.state_since,
        "engine_up": beat.engine_up if beat else None,
        "carries_audio": beat.carries_audio if beat else None,
        "audio_reason": beat.audio_reason if beat else "",
        "clock_ahead_s": presence.clock_ahead_s,
        "phones_pending": beat.phones_pending if beat else None,
        "router_pop_id": beat.router_pop if beat else None,
        "live_calls": beat.live_calls if beat else None,
        "unsent_events": beat.unsent_events if beat else None,
        "config_errors": beat.config_errors if beat and seen_whole() else {},
        "bus_nkey": row.nkey,
        "draining_since": row.draining_since,
        "drain": _drain(row, presence),
    }


def _drain(row: PopRow, presence: Presence) -> str | None:
    beat = presence.heartbeat
    if row.draining_since is None:
        return None
    if beat is None or not beat.draining:
        return "asked"
    return "draining" if beat.live_calls else "drained"


class Did(DidSpec):
    created_at: At


def did_of(row: DidRow) -> Did:
    return Did.model_validate({name: getattr(row, name) for name in Did.model_fields})


class Queue(QueueSpec):
    created_at: At


def queue_of(row: QueueRow) -> Queue:
    config = {name: value for name, value in row.config.items() if name != "consent_policy"}
    return Queue.model_validate(
        {"queue_id": row.queue_id, "created_at": row.created_at, "unit_id": row.unit_id, **config}
    )


class Agent(AgentSpec):
    agent_id: str
    phone_id: str
    created_at: At


class SipAccount(Answer):
    phone_id: str
    realm: str
    password: str
    """Shown this once; only its hash is kept."""


class AgentCreated(Agent):
    sip: SipAccount


def agent_fields(row: AgentRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Agent.model_fields}


def agent_created(row: AgentRow, password: str) -> AgentCreated:
    sip = SipAccount(phone_id=row.phone_id, realm=SIP_REALM, password=password)
    return AgentCreated.model_validate({**agent_fields(row), "sip": sip})


class Callback(Answer):
    """A promise to call back. ``state``: ``waiting`` for its turn or hour, ``calling``, ``reached``, and at the end
    ``done``, ``failed`` or ``cancelled``."""

    callback_id: str
    pop_id: str
    queue_id: str
    did: str
    number: str
    state: CallbackState
    requested_by: str
    """``flow``, ``queue`` or ``api``."""
    requested_at: At
    not_before: At | None
    asked_in: str | None
    """The call in which it was asked for."""
    call_id: str | None
    """The call of the last attempt."""
    attempts: int
    agent_id: str | None
    reason: str | None
    """Of a failure: ``not_reached``, ``left``, ``interrupted``, ``unknown_queue``, ``unknown_did``, ``refused``."""
    ended_at: At | None


def callback_of(row: CallbackRow) -> Callback:
    return Callback.model_validate(row, from_attributes=True)


class CallbackScheduled(Answer):
    callback_id: str
    existing: bool
    """The number had an open callback in this queue, which stands as it was."""


class Recording(Answer):
    recording_id: str
    call_id: str
    pop_id: str
    started_at: At
    region: str | None
    duration_ms: int | None
    size_bytes: int | None
    sha256: str | None
    discarded: bool
    kind: str


class RecordingLink(Answer):
    url: str
    """Path and query on this server; it says whose it is and why, sealed."""
    expires_at: At


class Voicemail(Answer):
    voicemail_id: str
    """Its recording's id, too."""
    call_id: str
    pop_id: str
    mailbox: str
    did: str | None
    cli: str | None
    """E.164, ``withheld`` or ``unknown``."""
    left_at: At
    ended_by: str
    region: str | None
    duration_ms: int | None
    heard_at: At | None
    """null: new."""


def voicemail_of(row: VoicemailRow) -> Voicemail:
    return Voicemail.model_validate({name: getattr(row, name) for name in Voicemail.model_fields})


def recording_of(row: RecordingRow) -> Recording:
    return Recording.model_validate({name: getattr(row, name) for name in Recording.model_fields})


class Event(Answer):
    id: int
    """Cursor of the live stream."""
    pop_id: str
    seq: int
    call_id: str | None
    kind: str
    at: At
    data: dict[str, Any]


def event_of(row: EventRow, data: dict[str, Any]) -> Event:
    return Event(
        id=row.id,
        pop_id=row.pop_id,
        seq=row.seq,
        call_id=row.call_id,
        kind=row.kind,
        at=row.at,  # type: ignore[arg-type]
        data=data,
    )


class Ready(Answer):
    status: str
    parts: dict[str, str]
    """``database``, ``migrations``, ``bus``, ``ingest``: each ``ok``."""


class Health(Answer):
    status: str
    """``ok`` or ``degraded``: the API works, but POPs are not heard."""
    bus: bool
    database: bool
