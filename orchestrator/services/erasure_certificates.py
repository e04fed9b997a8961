"""The certificate of an erasure, from its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.access_models import AuditRow
from orchestrator.adapters.db.models import ErasureRow, ErasureStepRow
from orchestrator.domain import certificates, subject
from orchestrator.domain.subject import SUBJECT_HASH
from orchestrator.services import holds
from orchestrator.services.rights_keys import RightsKeys

RECORDS = "records of calls without the number, for accounting and for the reports (GDPR Art. 17(3)(b))"
EVIDENCE = "evidence of consents, by the call's id, without the number (GDPR Art. 7(1), 17(3)(e))"
LOST = "not reached: the POP was removed from the configuration; destroy its disks and region keys by hand"
AUDIT = "the audit log, which names no numbers but what callers wrote as purpose (GDPR Art. 5(2), 17(3)(b))"


async def issue(session: AsyncSession, keys: RightsKeys, row: ErasureRow) -> None:
    """Make and sign it, in the transaction that says that the erasure is over."""
    await session.flush()
    of = ErasureStepRow.erasure_id == row.erasure_id
    steps = list(await session.scalars(select(ErasureStepRow).where(of).order_by(ErasureStepRow.at)))
    row.issued += 1
    named = {step.why for step in steps if step.state == "held" and step.why} | set(row.holds)
    known = await holds.named(session, named)
    purposes = await _purposes(session, keys, row)
    body = {
        "version": certificates.VERSION,
        "erasure_id": row.erasure_id,
        "issue": row.issued,
        "subject": SUBJECT_HASH + row.digest,
        "requested_at": _time(row.requested_at),
        "requested_by": row.requested_by,
        "purpose": row.purpose,
        "scope": row.grants,
        "completed_at": _time(row.completed_at or row.requested_at),
        "result": "refused" if row.holds else "refused in part" if row.state == "held" else "erased",
        "destroyed": [*_recordings(steps), *_deliveries(steps)],
        "replaced": list(_replaced(steps)),
        "kept": [] if row.holds else list(_kept(steps, purposes)),
        "held": [
            *({"what": "everything of the number", **_hold(known.get(hold_id), hold_id)} for hold_id in row.holds),
            *(
                {"what": step.kind, "id": step.thing, **_hold(known.get(step.why or ""), step.why)}
                for step in steps
                if step.state == "held"
            ),
        ],
        "recipients": list(_recipients(steps)),
    }
    row.certificate = certificates.signed(keys.seed, body)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _hold(row: Any, hold_id: str | None) -> dict[str, Any]:
    if row is None:
        return {"hold": hold_id}
    return {"hold": hold_id, "authority": row.authority, "until": None if row.until is None else _time(row.until)}


def _recordings(steps: Iterable[ErasureStepRow]) -> Iterable[dict[str, Any]]:
    for step in steps:
        if step.kind == "recording" and step.state == "done":
            yield {
                "what": step.detail.get("kind") or "recording",
                "id": step.thing,
                "call": step.call_id,
                "pop": step.pop_id,
                "region": step.detail.get("region"),
                "at": _time(step.at),
                "how": "key destroyed, and the file",
            }


def _deliveries(steps: Iterable[ErasureStepRow]) -> Iterable[dict[str, Any]]:
    for step in steps:
        if step.kind == "deliveries" and step.detail.get("deleted"):
            count = step.detail["deleted"]
            yield {"what": "messages for webhooks", "count": count, "where": "centre", "at": _time(step.at)}


def _replaced(steps: Iterable[ErasureStepRow]) -> Iterable[dict[str, Any]]:
    for step in steps:
        if step.state != "done":
            continue
        at = _time(step.at)
        match step.kind:
            case "call":
                yield {"what": "call", "id": step.thing, "where": "centre", "facts": step.detail["changed"], "at": at}
            case "callback":
                changed = step.detail.get("changed", 0)
                yield {"what": "callback", "id": step.thing, "where": "centre", "facts": changed, "at": at}
            case "batches" if step.detail.get("changed"):
                yield {"what": "unreadable batches", "count": step.detail["changed"], "where": "centre", "at": at}
            case "pop":
                yield {
                    "what": "journal",
                    "where": f"POP {step.thing}",
                    "facts": step.detail.get("changed", 0),
                    "callbacks_cancelled": step.detail.get("callbacks_cancelled", 0),
                    "at": at,
                }


def _kept(steps: Iterable[ErasureStepRow], purposes: int) -> Iterable[dict[str, Any]]:
    for step in steps:
        if step.state == "lost":
            yield {"what": step.kind, "id": step.thing, "where": f"POP {step.pop_id}", "why": LOST}
    counted = Counter(step.kind for step in steps if step.state == "done")
    if counted["call"]:
        yield {"what": "records of calls", "count": counted["call"], "why": RECORDS}
        yield {"what": "consents", "why": EVIDENCE}
    yield {"what": "audit log", "why": AUDIT, "rows_that_name_the_number": purposes}


def _recipients(steps: Iterable[ErasureStepRow]) -> Iterable[dict[str, Any]]:
    for step in steps:
        if step.kind == "deliveries":
            for webhook_id, count in sorted(step.detail.get("sent", {}).items()):
                url = step.detail.get("urls", {}).get(webhook_id, "")
                yield {"webhook": webhook_id, "url": url, "messages": count}


async def _purposes(session: AsyncSession, keys: RightsKeys, row: ErasureRow) -> int:
    """Rows of the audit log whose purpose names the number: its chain cannot be changed."""
    if row.number is None:
        return 0
    number = keys.box.open(row.number, f"erasure {row.erasure_id}")
    found = select(func.count()).where(AuditRow.purpose.contains(subject.core(number), autoescape=True))
    return await session.scalar(found) or 0
