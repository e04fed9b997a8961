"""Data of minors: calls, recordings and numbers that are marked. Their recordings are held under a key of their own at
the POP, and opened only by who may (a grant for compliance) and says why in so many words."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import replace

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import CallRow, MinorMarkRow, ProtectedRecordingRow, RecordingRow
from orchestrator.adapters.db.report_models import FACTS
from orchestrator.domain.grants import Role, calling, current
from orchestrator.domain.problems import Forbidden, NotFound, Problem, one
from orchestrator.domain.rights import MinorSpec
from orchestrator.services import commands, scope
from orchestrator.services.named_subject import subject_of
from orchestrator.services.pop_names import MARK, PopNames
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.ids import ulid
from pbx.wire.messages import ProtectRecording

log = logging.getLogger(__name__)

EVERY_S = 30.0
MAY = frozenset({Role.ADMIN, Role.COMPLIANCE})
WORDS = "; minor: "
"""In a purpose, before why the recording of a minor is opened."""


def sealed_as(mark_id: str) -> str:
    return f"minor {mark_id}"


async def mark(session: AsyncSession, keys: RightsKeys, spec: MinorSpec) -> MinorMarkRow:
    now = time.time()
    row = MinorMarkRow(mark_id=ulid(now, secrets.randbits(80)), why=spec.why, created_at=now, created_by=current().name)
    await subject_of(session, keys, row, spec, sealed_as(row.mark_id))
    session.add(row)
    await session.flush()
    return row


async def get(session: AsyncSession, mark_id: str) -> MinorMarkRow:
    row = await scope.get(session, MinorMarkRow, mark_id)
    if row is None:
        raise NotFound("minor_mark", mark_id)
    return row


async def is_of_one(session: AsyncSession, keys: RightsKeys, names: PopNames, recording: RecordingRow) -> bool:
    """Of a POP that hides numbers it is asked while numbers are marked, and what ``PopNames.of`` raises is raised."""
    call = await session.get(CallRow, recording.call_id)
    number = None if call is None else call.cdr.get("cli")
    marks = [
        MinorMarkRow.recording_id == recording.recording_id,
        and_(MinorMarkRow.kind == "call", MinorMarkRow.call_id == recording.call_id),
    ]
    if isinstance(number, str) and number.startswith("+"):
        marks.append(MinorMarkRow.digest == keys.subject(number))
    found = (await session.execute(select(MinorMarkRow.mark_id).where(or_(*marks)).limit(1))).first()
    # What was under the key once needs it, whatever became of the mark's number.
    if found is not None or await session.get(ProtectedRecordingRow, recording.recording_id) is not None:
        return True
    if not isinstance(number, str) or not number.startswith(MARK):
        return False
    called = await names.of(recording.pop_id, await _numbers(session, keys))
    return any(number in of for of in called.values())


async def _numbers(session: AsyncSession, keys: RightsKeys) -> list[str]:
    """Those that are marked."""
    rows = await session.scalars(select(MinorMarkRow).where(MinorMarkRow.number.is_not(None)))
    return [keys.box.open(row.number, sealed_as(row.mark_id)) for row in rows if row.number is not None]


async def require(
    session: AsyncSession, keys: RightsKeys, names: PopNames, recording: RecordingRow, why: str | None
) -> bool:
    """Whether it is of a minor. Raises Forbidden for who may not open such, Invalid where ``why`` is missing, and what
    ``is_of_one`` raises."""
    if not await is_of_one(session, keys, names, recording):
        return False
    caller = current()
    may = replace(caller, grants=tuple(grant for grant in caller.grants if grant.role in MAY))
    with calling(may):
        if not may.grants or not await scope.sees(session, RecordingRow, recording.recording_id):
            raise Forbidden("it is of a minor: only the roles admin and compliance open it")
    if caller.linked and WORDS in (caller.purpose or ""):
        return True
    if why is None or not why.strip() or len(why) > 500 or "\0" in why:
        raise one("X-Minor-Purpose", "is missing: the recording is of a minor, say why it must be this one")
    caller.purpose = f"{caller.purpose or ''}{WORDS}{why.strip()}"
    return True


class MinorsKeeper:
    """Has the POPs hold what is marked under the key of minors: soon after the mark, and of numbers each new one."""

    def __init__(self, database: Database, bus: Bus, keys: RightsKeys, names: PopNames) -> None:
        self._database, self._bus, self._keys, self._names = database, bus, keys, names
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wanted.clear()
            await self.once()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def once(self) -> None:
        for recording in await self._waiting():
            why: str | None = None
            try:
                command = ProtectRecording(recording_id=recording.recording_id)
                await commands.send(self._bus, recording.pop_id, command)
            except Problem as problem:
                why = problem.error_id
            async with self._database.write() as session:
                row = await session.get(ProtectedRecordingRow, recording.recording_id)
                if row is None:
                    row = ProtectedRecordingRow(recording_id=recording.recording_id)
                    session.add(row)
                row.at, row.why = (time.time() if why is None else None), why

    async def _waiting(self) -> list[RecordingRow]:
        async with self._database.read() as session:
            marks = list(await session.scalars(select(MinorMarkRow)))
            if not marks:
                return []
            recordings = [row.recording_id for row in marks if row.kind == "recording"]
            calls = [row.call_id for row in marks if row.kind == "call"]
            numbers = await _numbers(session, self._keys)
            hidden = await self._hidden(session) if numbers else []
        # Not within the transaction: a POP that is slow would keep it open. One that is away is asked again soon.
        heard = await self._names.hear(hidden, numbers)
        async with self._database.read() as session:
            of_numbers = select(FACTS.c.call_id).where(FACTS.c.number.in_([*numbers, *heard.all]))
            done = select(ProtectedRecordingRow.recording_id).where(ProtectedRecordingRow.at.is_not(None))
            wanted = or_(
                RecordingRow.recording_id.in_(recordings),
                RecordingRow.call_id.in_(calls),
                RecordingRow.call_id.in_(of_numbers),
            )
            whole = ~RecordingRow.discarded, RecordingRow.region.is_not(None)
            chosen = select(RecordingRow).where(wanted, *whole, RecordingRow.recording_id.not_in(done))
            return list(await session.scalars(chosen))

    async def _hidden(self, session: AsyncSession) -> list[str]:
        """The POPs that hide numbers and have recordings that are not protected."""
        done = select(ProtectedRecordingRow.recording_id).where(ProtectedRecordingRow.at.is_not(None))
        there = ~RecordingRow.discarded, RecordingRow.region.is_not(None), RecordingRow.recording_id.not_in(done)
        pops = select(RecordingRow.pop_id).distinct().join(FACTS, FACTS.c.call_id == RecordingRow.call_id)
        return list(await session.scalars(pops.where(FACTS.c.number.startswith(MARK), *there)))
