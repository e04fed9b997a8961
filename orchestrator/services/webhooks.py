"""Webhooks: where events are sent to, with which secrets deliveries are signed, and what somebody wants sent again."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
from sqlalchemy import CursorResult, Result, func, select, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import DeliveryRow, WebhookRow
from orchestrator.adapters.webhook_target import Network, within
from orchestrator.domain.grants import Role, current
from orchestrator.domain.named import WebhookChange, WebhookSpec
from orchestrator.domain.problems import Conflict, NotFound, one
from orchestrator.domain.webhook_kinds import KINDS, TEST
from orchestrator.domain.webhook_pacing import GIVE_UP_S
from orchestrator.domain.webhook_signature import key_of, new_secret
from orchestrator.services import scope, units
from orchestrator.services.secret_box import SecretBox
from orchestrator.services.unit_of_work import UnitOfWork
from orchestrator.services.webhook_queue import delivery
from pbx.domain.ids import ulid
from pbx.domain.public_address import is_public

LISTENERS = frozenset({Role.ADMIN, Role.SUPERVISOR, Role.COMPLIANCE})
"""Who sees recordings and voicemails."""
PURGE_EVERY_S = 600.0


async def get(session: AsyncSession, webhook_id: str, *, to_change: bool = False) -> WebhookRow:
    row = await scope.get(session, WebhookRow, webhook_id, to_change=to_change)
    if row is None:
        raise NotFound("webhook", webhook_id)
    return row


def secret_of(row: WebhookRow, box: SecretBox) -> str:
    return box.open(row.secret, f"webhook {row.webhook_id}")


def keys_of(row: WebhookRow, box: SecretBox, now: float) -> list[bytes]:
    """What deliveries are signed with now, the newest first. Raises BadKey."""
    told = [secret_of(row, box)]
    if row.former_secret is not None and row.former_until is not None and now < row.former_until:
        told.append(box.open(row.former_secret, f"webhook {row.webhook_id}"))
    return [_key(secret) for secret in told]


def _key(secret: str) -> bytes:
    try:
        return key_of(secret)
    except ValueError:
        return secret.encode()  # made before there were deliveries, when any text would do


async def create(
    unit: UnitOfWork, spec: WebhookSpec, box: SecretBox, networks: Collection[Network]
) -> tuple[WebhookRow, str]:
    """The webhook and its secret."""
    await units.require(unit.session, spec.unit_id)
    webhook_id = ulid(unit.now, secrets.randbits(80))
    secret = spec.secret or new_secret()
    row = WebhookRow(
        webhook_id=webhook_id,
        **spec.model_dump(exclude={"secret"}),
        listens=_listens(spec),
        secret=box.seal(secret, f"webhook {webhook_id}"),
        created_at=unit.now,
    )
    _reachable(spec.url, networks)
    unit.session.add(row)
    return row, secret


async def change(unit: UnitOfWork, webhook_id: str, spec: WebhookChange, networks: Collection[Network]) -> WebhookRow:
    row = await get(unit.session, webhook_id, to_change=True)
    await units.require(unit.session, spec.unit_id)
    _reachable(spec.url, networks)
    for name, value in spec.model_dump().items():
        setattr(row, name, value)
    row.listens = _listens(spec)
    if row.active:
        row.stopped_at = row.stopped_why = None
    return row


def _reachable(url: str, networks: Collection[Network]) -> None:
    """Refuse what could never be delivered to. What a name stands for is asked at each delivery."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not networks:
        raise one("url", "must begin with https://: no setting names networks that may be reached without TLS")
    try:
        address = str(ipaddress.ip_address(parts.hostname or ""))
    except ValueError:
        return
    if not within(address, networks) and (parts.scheme == "http" or not is_public(address)):
        raise one("url", "is an address that webhooks may not reach")


def _listens(spec: WebhookChange) -> bool:
    """Whether the caller sees recordings and voicemails of whatever the webhook gets events of. Refuses kinds that the
    caller must not see."""
    caller = current()
    listens = any(
        grant.role in LISTENERS and grant.regions is None and grant.covers_unit(spec.unit_id)
        for grant in caller.held or caller.grants
    )
    lost = [name for name in spec.events if not listens and name in KINDS and KINDS[name].listened_to]
    if lost:
        raise one("events", f"names {lost[0]}, which is for roles that may listen to recordings")
    return listens


async def renew_secret(
    unit: UnitOfWork, webhook_id: str, box: SecretBox, keep_former_s: float
) -> tuple[WebhookRow, str]:
    row = await get(unit.session, webhook_id, to_change=True)
    secret = new_secret()
    row.former_secret, row.former_until = None, None
    if keep_former_s > 0:
        row.former_secret, row.former_until = row.secret, unit.now + keep_former_s
    row.secret = box.seal(secret, f"webhook {webhook_id}")
    return row, secret


async def delete(unit: UnitOfWork, webhook_id: str) -> None:
    """With all that waits for it."""
    await unit.session.delete(await get(unit.session, webhook_id, to_change=True))


# --- deliveries -----------------------------------------------------------------------------------------------------


async def get_delivery(session: AsyncSession, delivery_id: str, *, to_change: bool = False) -> DeliveryRow:
    known = delivery_id.isascii() and delivery_id.isdigit() and len(delivery_id) < 19
    row = await scope.get(session, DeliveryRow, int(delivery_id), to_change=to_change) if known else None
    if row is None:
        raise NotFound("delivery", delivery_id)
    return row


async def send_again(session: AsyncSession, delivery_id: str) -> DeliveryRow:
    """Whatever became of it; with a day of attempts before it."""
    row = await get_delivery(session, delivery_id, to_change=True)
    await _active(session, row.webhook_id)
    row.state, row.ended_at = "waiting", None
    row.since = row.next_at = time.time()
    return row


async def send_dead_again(session: AsyncSession, webhook_id: str) -> int:
    """All dead letters of a webhook, in their order; how many."""
    await _active(session, webhook_id)
    now = time.time()
    dead = DeliveryRow.webhook_id == webhook_id, DeliveryRow.state == "dead"
    values = {"state": "waiting", "ended_at": None, "since": now, "next_at": now}
    return count(await session.execute(update(DeliveryRow).where(*dead).values(**values)))


async def test(session: AsyncSession, webhook_id: str) -> DeliveryRow:
    """Send a message that tells nothing, the same way as all others."""
    row, now = await _active(session, webhook_id), time.time()
    message = ulid(now, secrets.randbits(80))
    body = {"type": TEST, "timestamp": datetime.fromtimestamp(now, UTC), "data": {"webhook_id": row.webhook_id}}
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()
    made = DeliveryRow(**delivery(row.webhook_id, message, TEST, message, now, text, now))
    session.add(made)
    await session.flush()
    return made


async def _active(session: AsyncSession, webhook_id: str) -> WebhookRow:
    row = await get(session, webhook_id, to_change=True)
    if not row.active:
        raise Conflict("webhook_inactive", "the webhook is inactive, and nothing is sent to it")
    return row


async def backlog(session: AsyncSession, webhook_id: str) -> dict[str, Any]:
    """What waits, what is dead, and what was last heard of the target."""
    await get(session, webhook_id)
    of = DeliveryRow.webhook_id == webhook_id
    counted = select(DeliveryRow.state, func.count(), func.min(DeliveryRow.made_at), func.min(DeliveryRow.next_at))
    found = {row[0]: row for row in await session.execute(counted.where(of).group_by(DeliveryRow.state))}
    waiting, dead = found.get("waiting", (None, 0, None, None)), found.get("dead", (None, 0, None, None))
    tried = select(DeliveryRow).where(of, DeliveryRow.attempted_at.is_not(None))
    last = (await session.scalars(tried.order_by(DeliveryRow.attempted_at.desc()).limit(1))).first()
    return {
        "waiting": waiting[1],
        "oldest_waiting_at": waiting[2],
        "next_attempt_at": waiting[3],
        "dead": dead[1],
        "last_attempt_at": None if last is None else last.attempted_at,
        "last_status": None if last is None else last.status,
        "last_error": None if last is None else last.error,
    }


def count(result: Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount


async def purge(database: Database, delivered_s: float, dead_s: float, clock: Callable[[], float] = time.time) -> None:
    """Forget deliveries, and give up what waits for webhooks that have been inactive for a day; for ever."""
    while True:
        async with database.write() as session:
            await keep_house(session, delivered_s, dead_s, clock())
        await asyncio.sleep(PURGE_EVERY_S)


async def keep_house(session: AsyncSession, delivered_s: float, dead_s: float, now: float) -> None:
    inactive = select(WebhookRow.webhook_id).where(~WebhookRow.active)
    overdue = (DeliveryRow.state == "waiting", DeliveryRow.since <= now - GIVE_UP_S)
    given_up = update(DeliveryRow).where(*overdue, DeliveryRow.webhook_id.in_(inactive))
    await session.execute(given_up.values(state="dead", ended_at=now, next_at=None, error="inactive"))
    for state, kept_s in (("delivered", delivered_s), ("dead", dead_s)):
        old = DeliveryRow.state == state, DeliveryRow.ended_at <= now - kept_s
        await session.execute(delete_rows(DeliveryRow).where(*old))
