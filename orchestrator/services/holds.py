"""Legal holds: what is under one is neither erased nor does its time run out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallRow, HoldRow, RecordingRow
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Conflict, NotFound, one
from orchestrator.domain.rights import HoldSpec
from orchestrator.services import scope
from orchestrator.services.named_subject import subject_of
from orchestrator.services.pop_names import MARK, PopNames
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.ids import ulid


class HeldProblem(Conflict):
    """A legal hold keeps it; nothing was erased."""

    def __init__(self, hold: HoldRow) -> None:
        until = "until it is lifted" if hold.until is None else "for a time"
        super().__init__("held", f"legal hold {hold.hold_id} ({hold.authority}) keeps it {until}: lift that first")


@dataclass(frozen=True, slots=True)
class Holds:
    """Those in force: id of what is held, or digest of a number -> id of the hold."""

    numbers: dict[str, str]
    calls: dict[str, str]
    """Held as a whole."""
    recordings: dict[str, str]
    records: dict[str, str]
    """Calls of which a recording is held, and so what is written of them; not their other recordings."""
    sealed: dict[str, bytes]
    """Hold -> its number."""
    pseudonyms: dict[tuple[str, str], str] = field(default_factory=dict)
    """POP and what it calls a number that is held -> hold. As far as ``with_pseudonyms`` heard."""
    silent: frozenset[str] = frozenset()
    """POPs that did not say what they call the numbers: a call there may be held."""

    def of_number(self, keys: RightsKeys, pop_id: str, number: str) -> str | None:
        """``number``: as the POP told it."""
        if number.startswith(MARK):
            return self.pseudonyms.get((pop_id, number))
        return self.numbers.get(keys.subject(number))

    def of_recording(self, recording_id: str, call_id: str) -> str | None:
        return self.recordings.get(recording_id) or self.calls.get(call_id)

    def of_call(self, call_id: str) -> str | None:
        return self.calls.get(call_id) or self.records.get(call_id)


def sealed_as(hold_id: str) -> str:
    return f"hold {hold_id}"


def in_force(now: float) -> ColumnElement[bool]:
    return and_(HoldRow.lifted_at.is_(None), or_(HoldRow.until.is_(None), HoldRow.until > now))


async def active(session: AsyncSession, now: float) -> Holds:
    found = Holds({}, {}, {}, {}, {})
    for row in await session.scalars(select(HoldRow).where(in_force(now)).order_by(HoldRow.hold_id)):
        match row.kind:
            case "number" if row.digest is not None:
                found.numbers.setdefault(row.digest, row.hold_id)
                if row.number is not None:
                    found.sealed[row.hold_id] = row.number
            case "call" if row.call_id is not None:
                found.calls.setdefault(row.call_id, row.hold_id)
            case "recording" if row.recording_id is not None and row.call_id is not None:
                found.recordings.setdefault(row.recording_id, row.hold_id)
                found.records.setdefault(row.call_id, row.hold_id)
    return found


async def with_pseudonyms(found: Holds, keys: RightsKeys, names: PopNames, pops: Collection[str]) -> Holds:
    """The same, and what these POPs call the numbers that are held."""
    if not found.numbers:
        return found
    numbers = {keys.box.open(sealed, sealed_as(hold_id)): hold_id for hold_id, sealed in found.sealed.items()}
    heard = await names.hear(pops, numbers)
    pseudonyms = {
        (pop_id, name): numbers[number]
        for pop_id, of in heard.names.items()
        for number, called in of.items()
        for name in called
    }
    return replace(found, pseudonyms=pseudonyms, silent=frozenset(heard.silent))


async def refuse_held(session: AsyncSession, keys: RightsKeys, names: PopNames, recording: RecordingRow) -> None:
    """Raises HeldProblem when a hold keeps the recording. Of a POP that hides numbers it is asked while numbers are
    held, and what ``PopNames.of`` raises is raised."""
    call = await session.get(CallRow, recording.call_id)
    number = None if call is None else call.cdr.get("cli")
    held = [
        HoldRow.recording_id == recording.recording_id,
        and_(HoldRow.kind == "call", HoldRow.call_id == recording.call_id),
    ]
    if isinstance(number, str) and number.startswith("+"):
        held.append(HoldRow.digest == keys.subject(number))
    hold = (await session.scalars(select(HoldRow).where(in_force(time.time()), or_(*held)).limit(1))).first()
    if hold is None and isinstance(number, str) and number.startswith(MARK):
        hold = await _under_pseudonym(session, keys, names, recording.pop_id, number)
    if hold is not None:
        raise HeldProblem(hold)


async def _under_pseudonym(
    session: AsyncSession, keys: RightsKeys, names: PopNames, pop_id: str, pseudonym: str
) -> HoldRow | None:
    of_numbers = in_force(time.time()), HoldRow.number.is_not(None)
    held = {
        keys.box.open(row.number, sealed_as(row.hold_id)): row
        for row in await session.scalars(select(HoldRow).where(*of_numbers))
        if row.number is not None
    }
    called = await names.of(pop_id, held)
    return next((held[number] for number, names_there in called.items() if pseudonym in names_there), None)


async def place(session: AsyncSession, keys: RightsKeys, spec: HoldSpec) -> HoldRow:
    now = time.time()
    if spec.until is not None and spec.until.timestamp() <= now:
        raise one("until", "is over already")
    row = HoldRow(
        hold_id=ulid(now, secrets.randbits(80)),
        reason=spec.reason,
        authority=spec.authority,
        until=None if spec.until is None else spec.until.timestamp(),
        created_at=now,
        created_by=current().name,
    )
    await subject_of(session, keys, row, spec, sealed_as(row.hold_id))
    session.add(row)
    await session.flush()
    return row


async def get(session: AsyncSession, hold_id: str, *, to_change: bool = False) -> HoldRow:
    row = await scope.get(session, HoldRow, hold_id, to_change=to_change)
    if row is None:
        raise NotFound("hold", hold_id)
    return row


async def lift(session: AsyncSession, hold_id: str, why: str) -> HoldRow:
    row = await get(session, hold_id, to_change=True)
    if row.lifted_at is not None:
        raise Conflict("lifted", "it was lifted before")
    row.lifted_at, row.lifted_by, row.lifted_why = time.time(), current().name, why
    return row


async def named(session: AsyncSession, hold_ids: Collection[str]) -> dict[str, HoldRow]:
    rows = await session.scalars(select(HoldRow).where(HoldRow.hold_id.in_(sorted(hold_ids))))
    return {row.hold_id: row for row in rows}
