"""Erasures as they go: a pass looks for what there is of the number, does of it what can be done now, and is made again
until nothing is pending. Each thing has a step, whose state is written in the transaction that changes the thing, or
after the POP said that it is done, which may be asked again: whoever dies in between, the next pass goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import (
    ErasedNumberRow,
    ErasureRow,
    ErasureStepRow,
    HoldRow,
    MinorMarkRow,
    PopRow,
)
from orchestrator.domain.grants import CENTRE, Caller, Grant, calling
from orchestrator.domain.problems import PopRefused, PopTimeout, PopUnreachable
from orchestrator.services import commands, erasure_centre, erasure_certificates, holds, scope, subject_search
from orchestrator.services.erased_numbers import step
from orchestrator.services.erasure_requests import DONE, HELD, RUNNING
from orchestrator.services.holds import Holds
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.forgetting import Forgotten
from pbx.wire.messages import EraseRecording, ForgetNumber

log = logging.getLogger(__name__)

AGAIN_S = 5.0
"""How soon what is pending is tried again."""
FORGET_S = 60.0
"""How long a POP may take to go through its journal before it is asked again."""
LOST = "lost"
"""Its POP was removed from the configuration: nobody can be asked, and the certificate says so."""
AWAY = (PopUnreachable, PopTimeout, PopRefused)


@dataclass(frozen=True, slots=True)
class Erasure:
    """One that is running. ``number`` is None where all that may be found was found: only what came in later is left
    to be done."""

    erasure_id: str
    number: str | None
    digests: list[str]
    forgotten: Forgotten
    pseudonyms: list[str]
    """What POPs of strict regions call the number."""
    before: float
    caller: Caller
    """With the grants of who asked."""
    digest: str

    @property
    def limited(self) -> bool:
        """Not of every unit: only calls that are named."""
        return all(grant.units is not None for grant in self.caller.grants)


class Eraser:
    def __init__(self, database: Database, bus: Bus, keys: RightsKeys) -> None:
        self._database, self._bus, self._keys = database, bus, keys
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._database.overwrite_log()  # of a centre that was killed before it did
        while True:
            self._wanted.clear()
            async with self._database.read() as session:
                running = list(await session.scalars(select(ErasureRow.erasure_id).where(ErasureRow.state == RUNNING)))
            # One that fails keeps no other from its end.
            over = await asyncio.gather(*map(self.advance, running), return_exceptions=True)
            for error in over:
                if isinstance(error, BaseException):
                    raise error
            left = [one for one in over if not one]
            try:
                async with asyncio.timeout(AGAIN_S if left else None):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def advance(self, erasure_id: str) -> bool:
        """One pass. True when nothing is pending any more."""
        erasure = await self._read(erasure_id)
        if erasure is None:
            return True
        if await self._held_as_a_whole(erasure):
            return True
        with calling(CENTRE):
            await self._find(erasure)
            await self._forget_at_pops(erasure)
            await erasure_centre.calls(self._database, erasure)
            await erasure_centre.callbacks(self._database, erasure)
            await self._recordings(erasure)
            await erasure_centre.messages(self._database, erasure)
            return await self._finish(erasure)

    async def _read(self, erasure_id: str) -> Erasure | None:
        async with self._database.read() as session:
            row = await session.get(ErasureRow, erasure_id)
            if row is None or row.state != RUNNING:
                return None
            number, digests = None, list[str]()
            if row.number is not None:
                number = self._keys.box.open(row.number, f"erasure {erasure_id}")
                digests = self._keys.digests(number)
            else:
                kept = select(ErasedNumberRow.digest).where(ErasedNumberRow.erasure_id == erasure_id)
                digests = list(await session.scalars(kept))
            of = ErasureStepRow.erasure_id == erasure_id, ErasureStepRow.kind == "pop"
            details = await session.scalars(select(ErasureStepRow.detail).where(*of))
            pseudonyms = sorted({name for detail in details for name in detail.get("pseudonyms", [])})
        grants = tuple(Grant.from_json(value) for value in row.grants)
        caller = Caller(row.caller_id, row.requested_by, grants)
        forgotten = Forgotten(self._keys.numbers, digests, pseudonyms)
        return Erasure(erasure_id, number, digests, forgotten, pseudonyms, row.requested_at, caller, row.digest)

    # --- what there is ----------------------------------------------------------------------------------------------

    async def _held_as_a_whole(self, erasure: Erasure) -> bool:
        """A hold on the number keeps all of it, and the certificate says so."""
        async with self._database.write() as session:
            hold_id = (await holds.active(session, time.time())).numbers.get(erasure.digest)
            row = await session.get_one(ErasureRow, erasure.erasure_id)
            row.holds = [] if hold_id is None else [hold_id]
            if hold_id is None:
                return False
            row.state, row.completed_at = HELD, time.time()
            await erasure_certificates.issue(session, self._keys, row)
        return True

    async def _find(self, erasure: Erasure) -> None:
        if erasure.number is None:
            return
        async with self._database.read() as session:
            with calling(erasure.caller):
                found = await subject_search.search(
                    session, erasure.number, erasure.forgotten, erasure.before, erasure.pseudonyms
                )
                pops = list(await session.scalars(scope.limited(select(PopRow)).order_by(PopRow.pop_id)))
        named, late = list(found.calls.items()), erasure.limited
        async with self._database.write() as session:
            there = await self._steps(session, erasure)
            for call_id, pop_id in named:
                with_person = {"with": call_id in found.party}
                _want(session, there, erasure, "call", call_id, pop_id, call_id, with_person, seen=True)
            for callback_id, pop_id in found.callbacks.items():
                events = {"events": found.loose.pop(callback_id, [])}
                _want(session, there, erasure, "callback", callback_id, pop_id, None, events, seen=True)
            if loose := [event for events in found.loose.values() for event in events]:
                _want(session, there, erasure, "callback", "none", None, None, {"events": loose}, seen=True)
            for pop in pops:
                if not late or any(pop.pop_id == pop_id for _, pop_id in named):
                    digests = {"digests": self._keys.digests_at(pop.pop_id, erasure.number)}
                    _want(session, there, erasure, "pop", pop.pop_id, pop.pop_id, None, digests)
            for kind in ("deliveries", "batches") if not late else ("deliveries",):
                _want(session, there, erasure, kind, "all", None, None, {})

    async def _steps(self, session: AsyncSession, erasure: Erasure) -> dict[tuple[str, str], ErasureStepRow]:
        rows = await session.scalars(select(ErasureStepRow).where(ErasureStepRow.erasure_id == erasure.erasure_id))
        return {(row.kind, row.thing): row for row in rows}

    async def pending(self, erasure: Erasure, kind: str) -> tuple[list[ErasureStepRow], Holds]:
        of = ErasureStepRow.erasure_id == erasure.erasure_id, ErasureStepRow.kind == kind
        async with self._database.read() as session:
            rows = select(ErasureStepRow).where(*of, ErasureStepRow.state == "pending").order_by(ErasureStepRow.thing)
            return list(await session.scalars(rows)), await holds.active(session, time.time())

    # --- at the POPs ------------------------------------------------------------------------------------------------

    async def _forget_at_pops(self, erasure: Erasure) -> None:
        rows, active = await self.pending(erasure, "pop")
        if not rows:
            return
        calls = None
        if erasure.limited:
            async with self._database.read() as session:
                steps = await self._steps(session, erasure)
            calls = sorted(thing for kind, thing in steps if kind == "call")
        there = await self._pops()
        for row in rows:
            if row.thing not in there:
                await self._wait(erasure, row, "pop_removed", state=LOST)
        await asyncio.gather(*(self._forget_at(erasure, row, active, calls) for row in rows if row.thing in there))

    async def _pops(self) -> frozenset[str]:
        async with self._database.read() as session:
            return frozenset(await session.scalars(select(PopRow.pop_id)))

    async def _forget_at(self, erasure: Erasure, row: ErasureStepRow, active: Holds, calls: list[str] | None) -> None:
        command = ForgetNumber(
            erasure_id=erasure.erasure_id,
            key=self._keys.numbers_at(row.thing).hex(),
            digests=row.detail["digests"],
            before=erasure.before,
            call_ids=calls,
            spared=sorted({*active.calls, *active.records}),
        )
        try:
            said = (await commands.send(self._bus, row.thing, command, FORGET_S)).forgotten
        except AWAY as problem:
            await self._wait(erasure, row, problem.error_id)
            return
        if said is None:
            await self._wait(erasure, row, "pop_too_old")
            return
        async with self._database.write() as session:
            there = await self._steps(session, erasure)
            for call_id in said.calls:
                # The POP replaced the number before the centre had seen it: only the ids say whose calls these were.
                _want(session, there, erasure, "call", call_id, row.thing, call_id, {"with": True})
            mine = there[row.kind, row.thing]
            before: dict[str, Any] = mine.detail
            mine.detail = {
                **before,
                "changed": before.get("changed", 0) + said.events,
                "callbacks_cancelled": before.get("callbacks_cancelled", 0) + len(said.cancelled),
            }
            mine.detail = {**mine.detail, "pseudonyms": said.pseudonyms}
            if erasure.caller.whole:
                await self._late(session, erasure, said.pseudonyms)
            # What the centre knows under a pseudonym is looked for in the next pass.
            new_names = not set(said.pseudonyms) <= set(erasure.pseudonyms)
            why = "live" if said.live or said.busy else "pseudonyms" if new_names else None
            _mark(mine, "done" if why is None else "pending", why)

    async def _late(self, session: AsyncSession, erasure: Erasure, pseudonyms: list[str]) -> None:
        """What still comes in under a pseudonym is erased on its way, too."""
        for name in pseudonyms:
            key = erasure.erasure_id, self._keys.subject(name)
            if await session.get(ErasedNumberRow, key) is None:
                session.add(ErasedNumberRow(erasure_id=key[0], digest=key[1], before=erasure.before))

    async def _recordings(self, erasure: Erasure) -> None:
        rows, _ = await self.pending(erasure, "recording")
        there = await self._pops() if rows else frozenset()
        for row in rows:
            if row.pop_id not in there:
                await self._wait(erasure, row, "pop_removed", state=LOST)
                continue
            async with self._database.read() as session:  # asked anew for each: a hold may just have been placed
                hold_id = (await holds.active(session, time.time())).of_recording(row.thing, row.call_id or "")
            if hold_id is not None:
                await self._wait(erasure, row, hold_id, state=HELD)
                continue
            command = EraseRecording(recording_id=row.thing, call_id=row.call_id or "", surely=True)
            try:
                await commands.send(self._bus, row.pop_id or "", command)
            except AWAY as problem:
                await self._wait(erasure, row, problem.error_id)
                continue
            await self._wait(erasure, row, None, state="done")

    async def _wait(self, erasure: Erasure, row: ErasureStepRow, why: str | None, state: str = "pending") -> None:
        async with self._database.write() as session:
            mine = await session.get_one(ErasureStepRow, (erasure.erasure_id, row.kind, row.thing))
            if (mine.state, mine.why) != (state, why):
                _mark(mine, state, why)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def _finish(self, erasure: Erasure) -> bool:
        async with self._database.read() as session:
            if "pending" in {row.state for row in (await self._steps(session, erasure)).values()}:
                return False
        # Before anybody is told that it is done: who is killed in between has still said nothing that is not so.
        if not await self._database.overwrite_log():
            log.info("erasure %s waits for a long read: what was replaced still lies in the log", erasure.erasure_id)
            return False
        async with self._database.write() as session:
            states = {row.state for row in (await self._steps(session, erasure)).values()}
            if "pending" in states:
                return False
            row = await session.get_one(ErasureRow, erasure.erasure_id, with_for_update=True)
            row.state = HELD if HELD in states else DONE
            row.completed_at = time.time()
            await erasure_certificates.issue(session, self._keys, row)
            if row.state == DONE:
                row.number = None
                await session.execute(delete(MinorMarkRow).where(MinorMarkRow.digest == row.digest))
                over = HoldRow.digest == row.digest, ~holds.in_force(row.completed_at)
                await session.execute(update(HoldRow).where(*over).values(number=None))
        await self._database.overwrite_log()  # of what the row itself held, sealed
        log.info("erasure %s is %s", erasure.erasure_id, row.state)
        return True


def _mark(row: ErasureStepRow, state: str, why: str | None) -> None:
    row.state, row.why, row.at = state, why, time.time()


def _want(
    session: AsyncSession,
    there: dict[tuple[str, str], ErasureStepRow],
    erasure: Erasure,
    kind: str,
    thing: str,
    pop_id: str | None,
    call_id: str | None,
    detail: dict[str, Any],
    *,
    seen: bool = False,
) -> None:
    """A step for the thing; one that was done is done again where the number was ``seen`` there again."""
    row = there.get((kind, thing))
    if row is None:
        row = step(erasure.erasure_id, kind, thing, pop_id=pop_id, call_id=call_id, detail=detail)
        there[kind, thing] = row
        session.add(row)
        return
    with_person = bool(detail.get("with")) and not row.detail.get("with")
    events = sorted({*row.detail.get("events", []), *detail.get("events", [])})
    if with_person or (kind == "callback" and events != row.detail.get("events")):
        row.detail = {**row.detail, **detail, **({"events": events} if events else {})}
    if row.state == "done" and (seen or with_person):
        _mark(row, "pending", None)
