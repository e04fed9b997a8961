"""What the API answers about webhooks and deliveries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from orchestrator.adapters.db.models import DeliveryRow, WebhookRow
from orchestrator.api.schemas import At
from orchestrator.domain.resources import UnitId

DeliveryState = Literal["waiting", "delivered", "dead"]


class Webhook(BaseModel):
    webhook_id: str
    url: str
    events: list[str]
    description: str
    active: bool
    unit_id: UnitId
    listens: bool
    """Whether it gets events of recordings and voicemails: whoever configured it last may listen to them."""
    former_until: At | None
    """So long deliveries are signed with the former secret, too."""
    stopped_at: At | None
    """When the centre made it inactive."""
    stopped_why: str | None
    """``gone``: the target answered 410."""
    created_at: At


class WebhookCreated(Webhook):
    secret: str
    """Shown this once."""


def webhook_fields(row: WebhookRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Webhook.model_fields}


class Delivery(BaseModel):
    """One message for one webhook. What it says is not shown: the receiver has it, and a CDR is read as a call."""

    delivery_id: str
    webhook_id: str
    message_id: str
    """The header ``webhook-id``."""
    kind: str
    subject: str
    """Id of the call, callback or agent; of one subject each message waits for the one before."""
    at: At
    """When it happened."""
    state: DeliveryState
    made_at: At
    next_attempt_at: At | None
    attempts: int
    status: int | None
    """What the target answered the last time."""
    error: str | None
    """Of the last attempt: ``status``, ``redirected``, ``deadline``, ``unreachable``, ``certificate``, ``not_allowed``
    (not an address that webhooks may reach), ``secret_unreadable``, ``failed``; of one that nobody attempted any more
    ``gone``, ``inactive``, or what its target failed of."""
    attempted_at: At | None
    took_ms: int | None
    ended_at: At | None
    """When it was delivered, or given up."""


def delivery_of(row: DeliveryRow) -> Delivery:
    special = {"delivery_id": str(row.id), "next_attempt_at": row.next_at}
    same = {name: getattr(row, name) for name in Delivery.model_fields if name not in special}
    return Delivery.model_validate({**same, **special})


class Backlog(BaseModel):
    waiting: int
    oldest_waiting_at: At | None
    next_attempt_at: At | None
    dead: int
    last_attempt_at: At | None
    last_status: int | None
    last_error: str | None


class SentAgain(BaseModel):
    deliveries: int
    """How many dead letters wait again."""
