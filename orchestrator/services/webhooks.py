"""Webhooks: where events are sent to, and with which secret deliveries are signed. Nothing is delivered from here."""

from __future__ import annotations

import secrets

from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import WebhookRow
from orchestrator.domain.named import WebhookChange, WebhookSpec
from orchestrator.domain.problems import NotFound
from orchestrator.services.secret_box import SecretBox
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.domain.ids import ulid


async def get(session: AsyncSession, webhook_id: str) -> WebhookRow:
    row = await session.get(WebhookRow, webhook_id)
    if row is None:
        raise NotFound("webhook", webhook_id)
    return row


def secret_of(row: WebhookRow, box: SecretBox) -> str:
    return box.open(row.secret, f"webhook {row.webhook_id}")


async def create(unit: UnitOfWork, spec: WebhookSpec, box: SecretBox) -> tuple[WebhookRow, str]:
    """The webhook and its secret."""
    webhook_id = ulid(unit.now, secrets.randbits(80))
    secret = spec.secret or new_secret()
    row = WebhookRow(
        webhook_id=webhook_id,
        **spec.model_dump(exclude={"secret"}),
        secret=box.seal(secret, f"webhook {webhook_id}"),
        created_at=unit.now,
    )
    unit.session.add(row)
    return row, secret


def new_secret() -> str:
    return "whs_" + secrets.token_urlsafe(32)


async def change(unit: UnitOfWork, webhook_id: str, spec: WebhookChange) -> WebhookRow:
    row = await get(unit.session, webhook_id)
    for name, value in spec.model_dump().items():
        setattr(row, name, value)
    return row


async def renew_secret(unit: UnitOfWork, webhook_id: str, box: SecretBox) -> tuple[WebhookRow, str]:
    row = await get(unit.session, webhook_id)
    secret = new_secret()
    row.secret = box.seal(secret, f"webhook {webhook_id}")
    return row, secret


async def delete(unit: UnitOfWork, webhook_id: str) -> None:
    await unit.session.delete(await get(unit.session, webhook_id))
